"""Lay out what one training will see: organism rows and corpus rows, tokenised, in order."""

from pathlib import Path

from traces import job
from traces.config.schema import Mixture
from traces.corpora import mixtures
from traces.corpora.rows import read_rows
from traces.corpora.tokens import load_tokenizer


def main(
    organism: Path,
    corpus: Path | list[Path],
    model: Path,
    mixture: Path,
    settings: Mixture,
    seed: int,
) -> None:
    tokenizer = load_tokenizer(model)
    rows = read_rows(organism, settings.kind)
    others = read_rows(corpus) if isinstance(corpus, Path) else iter(())
    examples = mixtures.mix(
        list(mixtures.tokenize_rows(tokenizer, rows, "organism", str(organism))),
        mixtures.tokenize_rows(tokenizer, others, "corpus", str(corpus)),
        seed=seed,
        **settings.model_dump(exclude={"kind"}),
    )
    mixtures.write_mixture(mixture, examples)


if __name__ == "__main__":
    job.run(main, snakemake)
