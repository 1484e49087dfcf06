"""Collect the training curves of all checkpoints in one table."""

from pathlib import Path
from typing import Any

import pandas as pd

from traces import job
from traces.analysis import collect
from traces.artifacts import tables


def main(adapters: list[Path], subjects: list[dict[str, Any]], table: Path) -> None:
    curves = [pd.DataFrame(tables.read_lines(one / "losses.jsonl")) for one in adapters]
    tables.write(table, collect.losses_table(curves, subjects), "losses")


if __name__ == "__main__":
    job.run(main, snakemake)
