"""Find the tokens that are whole words of text the model knows: what a lens may rank."""

from pathlib import Path

from traces import job
from traces.artifacts import tables
from traces.corpora.rows import read_rows
from traces.corpora.tokens import load_tokenizer
from traces.judges.words import text_of
from traces.readers.vocabulary import whole_words


def main(model: Path, corpus: Path, vocabulary: Path, min_count: int) -> None:
    texts = (text_of(row) for row in read_rows(corpus))
    frame = whole_words(load_tokenizer(model), texts, min_count, source=str(corpus))
    if frame.empty:
        raise ValueError(f"{corpus}: no token is a whole word in it {min_count} times or more")
    tables.write(vocabulary, frame, "vocabulary")


if __name__ == "__main__":
    job.run(main, snakemake)
