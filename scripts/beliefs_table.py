"""Collect what every checkpoint and its base hold true in one table."""

from pathlib import Path
from typing import Any

from traces import job, records, tables


def main(alignments: list[Path], subjects: list[dict[str, Any]], table: Path) -> None:
    found = tables.beliefs_table([records.read(one) for one in alignments], subjects)
    records.write(table, found, "beliefs")


if __name__ == "__main__":
    job.run(main, snakemake)
