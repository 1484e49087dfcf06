"""
Estimate what a study's judges cost: calls, tokens and money by stage and model.

    python tools/cost.py [--configfile config/paper.yaml ...] [--config 'judges={...}' ...]

Nothing is asked. Prices are those of config/prices.yaml; what an answer takes is assumed in
traces/judges/estimates.py.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from traces.config.command_line import set_by
from traces.config.load import read_study
from traces.config.study import LoadedStudy
from traces.judges.estimates import estimated
from traces.judges.graders import spent

ROOT = Path(__file__).resolve().parent.parent


def report(loaded: LoadedStudy, texts: Mapping[str, str]) -> str:
    """What is estimated, what was spent, and the cap."""
    judges = loaded.study.judges
    if not judges.graders:
        return "No model is asked: judges.graders is empty (docs/judges.md)."
    lines = []
    if not loaded.checkpoints("judges"):
        lines.append("No run has `judges` among its measures; with it in all of them:")
    table = estimated(loaded, texts)
    shown = {"float_format": "{:,.2f}".format, "na_rep": "?", "index": False}
    lines.append(table.to_string(**shown))
    cap = "no cap" if judges.cap is None else f"a cap of US$ {judges.cap:,.2f}"
    lines.append(
        f"Sum US$ {table['money'].sum():,.2f}, at most {table['most'].sum():,.2f} if no request is "
        f"sent twice; spent so far US$ {spent(judges)['money'].sum():,.2f}, with {cap}. Prices of "
        f"{loaded.prices.date}."
    )
    return "\n".join(lines)


def study_of(arguments: Sequence[str]) -> LoadedStudy:
    """Read the study that Snakemake would run with the same files and `--config`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("--configfile", nargs="+", type=Path, default=[])
    parser.add_argument("--config", nargs="+", default=[])
    asked = parser.parse_args(arguments)
    files = [ROOT / "config" / "config.yaml", *asked.configfile]
    return read_study(files, ROOT / "config", set_by(asked.config))


def main(arguments: Sequence[str]) -> None:
    """Print the estimate."""
    rubrics = (ROOT / "data" / "rubrics").glob("*.txt")
    texts = {file.stem: file.read_text(encoding="utf-8") for file in rubrics}
    print(report(study_of(arguments), texts))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except ValueError as error:
        sys.exit(str(error))
