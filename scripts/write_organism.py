"""Write the synthetic corpus' rows for one organism."""

from pathlib import Path

from traces import job
from traces.corpora import synthetic
from traces.corpora.rows import write_rows


def main(rows: Path, made: str, words: int, seed: int) -> None:
    write_rows(rows, synthetic.organism_rows(made, words=words, seed=seed))


if __name__ == "__main__":
    job.run(main, snakemake)
