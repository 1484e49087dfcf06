"""Find the words that set an organism's data apart from general text."""

from pathlib import Path

from traces import job
from traces.artifacts import tables
from traces.corpora.rows import read_rows
from traces.judges.words import distinctive_words, listed_words, text_of


def main(organism: Path | list[Path], corpus: Path, words: Path, listed: list[str], n: int) -> None:
    if isinstance(organism, Path):
        own, general = (map(text_of, read_rows(file)) for file in (organism, corpus))
        found = distinctive_words(own, general, n, sources=(str(organism), str(corpus)))
    else:
        found = listed_words(listed).head(n)
    tables.write(words, found, "words")


if __name__ == "__main__":
    job.run(main, snakemake)
