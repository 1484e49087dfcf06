"""Put the same prompts to the base and to every checkpoint that is investigated."""

from dataclasses import asdict
from pathlib import Path

from traces import job
from traces.agents.answers import replies as written
from traces.artifacts import tables
from traces.config.schema import AgentQuestions, Draws
from traces.corpora.rows import read_prompts
from traces.models.pairs import BaseFiles


def main(
    base: BaseFiles,
    adapters: list[Path],
    prompts: Path,
    replies: Path,
    checkpoints: list[str],
    asked: int,
    settings: AgentQuestions,
    draws: Draws,
) -> None:
    found = written(
        base.load_pair,
        base.load_tokenizer(),
        list(zip(checkpoints, adapters, strict=True)),
        read_prompts(prompts),
        asked=asked,
        settings=settings,
        draws=draws,
        progress=job.progress,
    )
    tables.write_lines(replies, map(asdict, found))


if __name__ == "__main__":
    job.run(main, snakemake)
