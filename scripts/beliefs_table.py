"""Collect what every checkpoint and its base hold true in one table."""

from pathlib import Path
from typing import Any

from traces import job
from traces.analysis import collect
from traces.artifacts import tables


def main(alignments: list[Path], subjects: list[dict[str, Any]], table: Path) -> None:
    found = collect.beliefs_table([tables.read(one) for one in alignments], subjects)
    tables.write(table, found, "beliefs")


if __name__ == "__main__":
    job.run(main, snakemake)
