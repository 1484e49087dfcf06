"""
Estimate what a study's judges and investigators cost: calls, tokens and money by stage and model.

    python tools/cost.py [--configfile config/paper.yaml ...] [--config 'only=[sdf_released]' ...]

Nothing is asked. Prices are those of config/prices.yaml; what an answer takes is assumed in
traces/judges/estimates.py and traces/agents/estimates.py.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from traces.agents import estimates as agents
from traces.agents.plan import EMBEDDED, LEXICAL
from traces.config.command_line import set_by
from traces.config.load import read_study
from traces.config.study import LoadedStudy
from traces.config.vocabularies import Measure
from traces.judges import estimates as judges
from traces.judges.graders import spent

ROOT = Path(__file__).resolve().parent.parent


def report(loaded: LoadedStudy, rubrics: Mapping[str, str], texts: Mapping[str, str]) -> str:
    """What is estimated, what was spent, and the cap."""
    lines, found = [], []
    if loaded.study.judges.graders:
        found.append(judges.estimated(loaded, rubrics))
        if not loaded.checkpoints("judges"):
            lines.append("No run has `judges` among its measures; counted with it in all of them.")
    if asked_by_agents(loaded):
        found.append(agents.estimated(measuring(loaded, "agents"), texts, rubrics))
        if not loaded.checkpoints("agents"):
            lines.append("No run has `agents` among its measures; counted with it in all of them.")
    if not found:
        return "No model is asked: judges.graders and agents.models have none (docs/judges.md)."
    table = pd.concat(found, ignore_index=True)
    table[["money", "most"]] = table[["money", "most"]].astype(float)
    lines.append(table.to_string(float_format="{:,.2f}".format, na_rep="?", index=False))
    patient = loaded.study.judges
    cap = "no cap" if patient.cap is None else f"a cap of US$ {patient.cap:,.2f}"
    unpriced = table.loc[table["money"].isna(), "model_id"].unique()
    if len(unpriced):
        lines.append(
            f"Not in the sum, nor under the cap: {', '.join(unpriced)}, whose price is unknown."
        )
    lines.append(
        f"Sum US$ {table['money'].sum():,.2f}, at most {table['most'].sum():,.2f} if no request is "
        f"sent twice; spent so far US$ {spent(patient)['money'].sum():,.2f}, with {cap}. Prices of "
        f"{loaded.prices.date}."
    )
    return "\n".join(lines)


def asked_by_agents(loaded: LoadedStudy) -> bool:
    """Whether a model behind an API investigates, or grades hypotheses."""
    named = [*loaded.study.agents.models, *loaded.study.agents.graders]
    return any(one not in (EMBEDDED, LEXICAL) for one in named)


def measuring(loaded: LoadedStudy, measure: Measure) -> LoadedStudy:
    """The same study, with a measure in all runs where none has it."""
    if loaded.checkpoints(measure):
        return loaded
    runs = tuple(
        run.model_copy(update={"measures": (*run.measures, measure)}) for run in loaded.study.runs
    )
    return loaded._replace(study=loaded.study.model_copy(update={"runs": runs}))


def _texts(folder: str) -> dict[str, str]:
    return {
        file.stem: file.read_text(encoding="utf-8")
        for file in (ROOT / "data" / folder).glob("*.txt")
    }


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
    print(report(study_of(arguments), _texts("rubrics"), _texts("agents")))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except ValueError as error:
        sys.exit(str(error))
