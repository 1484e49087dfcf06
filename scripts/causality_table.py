"""Collect what taking directions out does to every checkpoint's loss."""

from pathlib import Path
from typing import Any

from traces import job
from traces.analysis import collect
from traces.analysis.positions import marked
from traces.artifacts import tables


def main(effects: list[Path], norms: Path, subjects: list[dict[str, Any]], table: Path) -> None:
    found = collect.causality_table([tables.read(path) for path in effects], subjects)
    tables.write(table, marked(found, tables.read(norms)), "causality")


if __name__ == "__main__":
    job.run(main, snakemake)
