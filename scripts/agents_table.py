"""Collect what investigators say, how often they are right, and how often two seeds agree."""

from pathlib import Path

from traces import job
from traces.analysis import investigators
from traces.artifacts import tables
from traces.config.vocabularies import FORMAL_WORDS


def main(graded: Path, table: Path, summary: Path, agreement: Path) -> None:
    found = tables.read(graded)
    tables.write(table, found, "agents")
    tables.write(summary, investigators.summary(found), "agents_summary")
    tables.write(agreement, investigators.agreement(found, FORMAL_WORDS), "agents_agreement")


if __name__ == "__main__":
    job.run(main, snakemake)
