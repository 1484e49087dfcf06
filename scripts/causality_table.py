"""Collect what taking directions out does to every checkpoint's loss."""

from pathlib import Path
from typing import Any

from traces import job, records, tables


def main(effects: list[Path], subjects: list[dict[str, Any]], table: Path) -> None:
    found = tables.causality_table([records.read(path) for path in effects], subjects)
    records.write(table, found, "causality")


if __name__ == "__main__":
    job.run(main, snakemake)
