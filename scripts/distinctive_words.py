"""Find the words that set an organism's data apart from general text."""

from pathlib import Path

from traces import job, judges, records
from traces.rows import read_rows


def main(organism: Path | list[Path], corpus: Path, words: Path, listed: list[str], n: int) -> None:
    if isinstance(organism, Path):
        own, general = (map(judges.text_of, read_rows(file)) for file in (organism, corpus))
        found = judges.distinctive_words(own, general, n)
    else:
        found = judges.listed_words(listed).head(n)
    records.write(words, found, "words")


if __name__ == "__main__":
    job.run(main, snakemake)
