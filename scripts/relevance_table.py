"""Collect the token relevances of all checkpoints in one table."""

from pathlib import Path
from typing import Any

from traces import job, records, tables


def main(graded: list[Path], subjects: list[dict[str, Any]], table: Path) -> None:
    found = tables.relevance_table([records.read(path) for path in graded], subjects)
    records.write(table, found, "relevance")


if __name__ == "__main__":
    job.run(main, snakemake)
