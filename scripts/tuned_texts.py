"""Let a finetuned model write as much, and weigh its texts and the base's by both models."""

from dataclasses import asdict
from pathlib import Path

from traces import job
from traces.artifacts import tables
from traces.config.schema import Draws, Samples
from traces.corpora.rows import read_prompts
from traces.models.pairs import PairFiles
from traces.readers.texts import Text, weighed, written


def main(
    pair: PairFiles,
    base: Path,
    prompts: Path,
    texts: Path,
    draws: Draws,
    settings: Samples,
) -> None:
    both, tokenizer = pair.load_pair(), pair.load_tokenizer()
    with both.tuned() as tuned:
        own = written(
            tuned,
            tokenizer,
            read_prompts(prompts),
            writer="tuned",
            series=(0,),
            settings=settings,
            draws=draws,
            progress=job.progress,
        )
        found = [*own, *(Text(**row) for row in tables.read_lines(base))]
    tables.write_lines(texts, map(asdict, weighed(both, tokenizer, found, settings)))


if __name__ == "__main__":
    job.run(main, snakemake)
