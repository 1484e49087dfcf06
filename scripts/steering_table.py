"""Collect what every checkpoint's difference makes models write in one table."""

from pathlib import Path
from typing import Any

from traces import job, records, tables


def main(similarities: list[Path], subjects: list[dict[str, Any]], table: Path) -> None:
    found = tables.steering_table([records.read(one) for one in similarities], subjects)
    records.write(table, found, "steering")


if __name__ == "__main__":
    job.run(main, snakemake)
