"""Collect what models said of all checkpoints, and what it cost."""

from pathlib import Path
from typing import Any

import pandas as pd

from traces import job
from traces.analysis.collect import SUBJECT, stacked
from traces.artifacts import tables
from traces.config.vocabularies import Asks


def main(
    judged: list[Path],
    paid: list[Path],
    made: list[Path],
    costs: Path,
    questions: list[Asks],
    subjects: list[dict[str, Any]],
) -> None:
    for question, table in zip(questions, made, strict=True):
        own = [
            (tables.read(file), subject)
            for file, subject in zip(judged, subjects, strict=True)
            if subject["question"] == question
        ]
        # Beliefs are of a checkpoint, whatever text its difference is read on.
        names = SUBJECT[:-1] if question == "beliefs" else SUBJECT
        found = stacked([one for one, _ in own], [one for _, one in own], names)
        schema = f"judged_{question}"
        if not own:  # no row where the study does not ask for it
            found = pd.DataFrame(columns=list(tables.SCHEMAS[schema]))
        tables.write(table, found, schema)
    spent = pd.concat([tables.read(one) for one in paid], ignore_index=True)
    tables.write(costs, spent, "costs")


if __name__ == "__main__":
    job.run(main, snakemake)
