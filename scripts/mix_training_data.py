"""Lay out what one training will see: organism rows and corpus rows, tokenised, in order."""

from pathlib import Path
from typing import Literal

from traces import job
from traces.corpora import mixtures
from traces.corpora.rows import Kind, read_rows
from traces.corpora.tokens import load_tokenizer


def main(
    organism: Path,
    corpus: Path | list[Path],
    model: Path,
    kind: Kind,
    ratio: float,
    matched: bool,
    unit: Literal["tokens", "rows"],
    epochs: int,
    seed: int,
    limit: int | None,
    max_length: int,
    mixture: Path,
) -> None:
    tokenizer = load_tokenizer(model)
    rows = read_rows(organism, kind)
    others = read_rows(corpus) if isinstance(corpus, Path) else iter(())
    examples = mixtures.mix(
        list(mixtures.tokenize_rows(tokenizer, rows, "organism")),
        mixtures.tokenize_rows(tokenizer, others, "corpus"),
        ratio=ratio,
        unit=unit,
        epochs=epochs,
        seed=seed,
        matched=matched,
        limit=limit,
        max_length=max_length,
    )
    mixtures.write_mixture(mixture, examples)


if __name__ == "__main__":
    job.run(main, snakemake)
