"""Collect the statistics that tell that something narrow was learned, in one table."""

from pathlib import Path
from typing import Any

from traces import job
from traces.analysis.detectors import detectors_table
from traces.artifacts import tables
from traces.artifacts.arrays import read_differences


def main(
    differences: list[Path], statistics: list[Path], subjects: list[dict[str, Any]], table: Path
) -> None:
    found = detectors_table(
        [read_differences(path) for path in differences],
        [tables.read(path) for path in statistics],
        subjects,
    )
    tables.write(table, found, "detectors")


if __name__ == "__main__":
    job.run(main, snakemake)
