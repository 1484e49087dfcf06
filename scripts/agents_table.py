"""Collect what investigators say, how often they are right, and how often two seeds agree."""

from pathlib import Path

import pandas as pd

from traces import job
from traces.analysis import investigators
from traces.artifacts import tables
from traces.config.vocabularies import FORMAL_WORDS
from traces.judges.chat.costs import totals


def main(
    graded: list[Path],
    paid: list[Path],
    table: Path,
    summary: Path,
    agreement: Path,
    costs: Path,
) -> None:
    found = pd.concat([tables.read(one) for one in graded], ignore_index=True)
    tables.write(table, found, "agents")
    tables.write(summary, investigators.summary(found), "agents_summary")
    tables.write(agreement, investigators.agreement(found, FORMAL_WORDS), "agents_agreement")
    tables.write(costs, totals([tables.read(one) for one in paid]), "costs")


if __name__ == "__main__":
    job.run(main, snakemake)
