"""Collect the size and shape of all mean differences in one table."""

from pathlib import Path
from typing import Any

from traces import job
from traces.analysis import collect
from traces.analysis.positions import averaged
from traces.artifacts import tables
from traces.artifacts.arrays import read_differences


def main(differences: list[Path], subjects: list[dict[str, Any]], sinks: bool, table: Path) -> None:
    found = collect.norms_table([read_differences(path) for path in differences], subjects)
    tables.write(table, found.assign(averaged=averaged(found, sinks=sinks)), "norms")


if __name__ == "__main__":
    job.run(main, snakemake)
