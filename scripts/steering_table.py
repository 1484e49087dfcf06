"""Collect what every checkpoint's difference makes models write in one table."""

from pathlib import Path
from typing import Any

from traces import job
from traces.analysis import collect
from traces.analysis.positions import marked
from traces.artifacts import tables


def main(
    similarities: list[Path], norms: Path, subjects: list[dict[str, Any]], table: Path
) -> None:
    found = collect.steering_table([tables.read(one) for one in similarities], subjects)
    tables.write(table, marked(found, tables.read(norms)), "steering")


if __name__ == "__main__":
    job.run(main, snakemake)
