"""
Estimate what a study's judges cost: calls, tokens and money by stage and model.

    python tools/cost.py [--configfile config/paper.yaml ...]

Nothing is asked. Prices are those of config/prices.yaml; what an answer takes is assumed in
traces/judges/estimates.py.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from traces.config.files import local
from traces.config.load import read_study
from traces.config.study import LoadedStudy
from traces.judges.chat.costs import costs_table
from traces.judges.estimates import estimated
from traces.judges.graders import LEDGER

ROOT = Path(__file__).resolve().parent.parent


def report(loaded: LoadedStudy, instructions: str) -> str:
    """What is estimated, what was spent, and the cap."""
    judges = loaded.study.judges
    if not judges.graders:
        return "No model is asked: judges.graders is empty (docs/judges.md)."
    lines = []
    if not loaded.checkpoints("judges"):
        lines.append("No run has `judges` among its measures; with it in all of them:")
    table = estimated(loaded, instructions)
    shown = {"float_format": "{:,.2f}".format, "na_rep": "?", "index": False}
    lines.append(table.to_string(**shown))
    spent = costs_table(local(judges.folder) / LEDGER)["money"].sum()
    cap = "no cap" if judges.cap is None else f"a cap of US$ {judges.cap:,.2f}"
    lines.append(
        f"Sum US$ {table['money'].sum():,.2f}, at most {table['most'].sum():,.2f} if no request is "
        f"sent twice; spent so far US$ {spent:,.2f}, with {cap}. Prices of {loaded.prices.date}."
    )
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    files = [Path(one) for one in arguments if not one.startswith("--")]
    loaded = read_study([ROOT / "config" / "config.yaml", *files], ROOT / "config")
    instructions = (ROOT / "data" / "rubrics" / "judge_tokens.txt").read_text(encoding="utf-8")
    print(report(loaded, instructions))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except ValueError as error:
        sys.exit(str(error))
