"""Collect what all batches of organisms say, one table of each kind."""

from pathlib import Path

import pandas as pd

from traces import job
from traces.artifacts import tables


def main(batches: list[Path], made: list[Path]) -> None:
    for path in made:
        parts = [tables.read(one) for one in batches if one.stem == path.stem]
        tables.write(path, pd.concat(parts, ignore_index=True), path.stem)


if __name__ == "__main__":
    job.run(main, snakemake)
