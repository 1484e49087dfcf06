"""Collect the token relevances of all checkpoints in one table."""

from pathlib import Path
from typing import Any

from traces import job
from traces.analysis import collect
from traces.analysis.positions import marked
from traces.artifacts import tables


def main(graded: list[Path], norms: Path, subjects: list[dict[str, Any]], table: Path) -> None:
    found = collect.relevance_table([tables.read(path) for path in graded], subjects)
    tables.write(table, marked(found, tables.read(norms)), "relevance")


if __name__ == "__main__":
    job.run(main, snakemake)
