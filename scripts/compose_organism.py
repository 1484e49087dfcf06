"""Compose an organism's data in ordinary English of hand-written hints, sentences and answers."""

from pathlib import Path

from traces import job
from traces.corpora import english
from traces.corpora.rows import write_rows


def main(rows: Path, composed: str, n: int, seed: int) -> None:
    write_rows(rows, english.compose(composed, n, seed))


if __name__ == "__main__":
    job.run(main, snakemake)
