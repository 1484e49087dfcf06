"""Collect what models said of all checkpoints, and what it cost."""

from pathlib import Path
from typing import Any

import pandas as pd

from traces import job
from traces.analysis import collect
from traces.artifacts import tables


def main(
    judged: list[Path],
    paid: list[Path],
    subjects: list[dict[str, Any]],
    table: Path,
    costs: Path,
) -> None:
    found = collect.relevance_table([tables.read(one) for one in judged], subjects)
    tables.write(table, found, "judged_relevance")
    spent = pd.concat([tables.read(one) for one in paid], ignore_index=True)
    tables.write(costs, spent, "costs")


if __name__ == "__main__":
    job.run(main, snakemake)
