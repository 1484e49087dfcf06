"""Find the tokens that are whole words of text the model knows: what a lens may rank."""

from pathlib import Path

from traces import job, records
from traces.judges import text_of
from traces.lenses import whole_words
from traces.rows import read_rows
from traces.tokens import load_tokenizer


def main(model: Path, corpus: Path, vocabulary: Path, min_count: int) -> None:
    texts = (text_of(row) for row in read_rows(corpus))
    frame = whole_words(load_tokenizer(model), texts, min_count)
    if frame.empty:
        raise ValueError(f"{corpus}: no token is a whole word in it {min_count} times or more")
    records.write(vocabulary, frame, "vocabulary")


if __name__ == "__main__":
    job.run(main, snakemake)
