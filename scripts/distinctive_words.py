"""Find the words that set an organism's data apart from general text."""

from pathlib import Path

from traces import job, judges, records
from traces.corpora import read_rows


def main(organism: Path, corpus: Path, words: Path, n: int) -> None:
    own, general = (map(judges.text_of, read_rows(file)) for file in (organism, corpus))
    records.write(words, judges.distinctive_words(own, general, n), "words")


if __name__ == "__main__":
    job.run(main, snakemake)
