"""Collect the size and shape of all mean differences in one table."""

from pathlib import Path
from typing import Any

from traces import job, records, tables
from traces.store import read_differences


def main(differences: list[Path], subjects: list[dict[str, Any]], table: Path) -> None:
    found = tables.norms_table([read_differences(path) for path in differences], subjects)
    records.write(table, found, "norms")


if __name__ == "__main__":
    job.run(main, snakemake)
