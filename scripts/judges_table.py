"""Collect what models said of all checkpoints, and what it cost."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from traces import job
from traces.analysis.collect import SUBJECT, stacked
from traces.artifacts import tables

Subjects = list[dict[str, Any]]


def main(
    relevance: list[Path],
    coherence: list[Path],
    scales: list[Path],
    beliefs: list[Path],
    paid: list[Path],
    of_relevance: Subjects,
    of_coherence: Subjects,
    of_scales: Subjects,
    of_beliefs: Subjects,
    table: Path,
    coherence_table: Path,
    scales_table: Path,
    beliefs_table: Path,
    costs: Path,
) -> None:
    _write(table, "judged_relevance", relevance, of_relevance, SUBJECT)
    _write(coherence_table, "judged_coherence", coherence, of_coherence, SUBJECT)
    _write(scales_table, "judged_scales", scales, of_scales, SUBJECT)
    _write(beliefs_table, "judged_beliefs", beliefs, of_beliefs, SUBJECT[:-1])
    spent = pd.concat([tables.read(one) for one in paid], ignore_index=True)
    tables.write(costs, spent, "costs")


def _write(
    table: Path, schema: str, judged: list[Path], subjects: Subjects, names: Sequence[str]
) -> None:
    """Write one table of all checkpoints; without a row where the study does not ask for it."""
    found = stacked([tables.read(one) for one in judged], subjects, names)
    if not judged:
        found = pd.DataFrame(columns=list(tables.SCHEMAS[schema]))
    tables.write(table, found, schema)


if __name__ == "__main__":
    job.run(main, snakemake)
