"""Let the base write what the texts of all its organisms are compared with."""

from dataclasses import asdict
from pathlib import Path

from traces import job
from traces.artifacts import tables
from traces.config.registries import Loading
from traces.config.schema import Draws, Samples
from traces.corpora.rows import read_prompts
from traces.corpora.tokens import load_tokenizer
from traces.models import weights
from traces.readers.texts import written


def main(
    model: Path, prompts: Path, texts: Path, draws: Draws, loading: Loading, settings: Samples
) -> None:
    base = weights.load_base(model, loading.dtype, **loading.options)
    found = written(
        base,
        load_tokenizer(model),
        read_prompts(prompts),
        writer="base",
        series=(0, 1),
        settings=settings,
        draws=draws,
        progress=job.progress,
    )
    tables.write_lines(texts, map(asdict, found))


if __name__ == "__main__":
    job.run(main, snakemake)
