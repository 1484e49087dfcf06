"""Lay out what one training will see: organism rows and corpus rows, tokenised, in order."""

from pathlib import Path
from typing import Literal

from traces import corpora, job
from traces.tokens import load_tokenizer


def main(
    organism: Path,
    corpus: Path | list[Path],
    model: Path,
    kind: corpora.Kind,
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
    rows = corpora.read_rows(organism, kind)
    others = corpora.read_rows(corpus) if isinstance(corpus, Path) else iter(())
    examples = corpora.mix(
        list(corpora.tokenize_rows(tokenizer, rows, "organism")),
        corpora.tokenize_rows(tokenizer, others, "corpus"),
        ratio=ratio,
        unit=unit,
        epochs=epochs,
        seed=seed,
        matched=matched,
        limit=limit,
        max_length=max_length,
    )
    corpora.write_mixture(mixture, examples)


if __name__ == "__main__":
    job.run(main, snakemake)
