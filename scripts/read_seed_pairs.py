"""Read the differences between two seeds of each organism."""

from pathlib import Path

from traces import job
from traces.agents.seed_pairs import SeedPair, read_pairs
from traces.artifacts import tables
from traces.config.registries import Loading
from traces.corpora.tokens import load_tokenizer
from traces.models import weights
from traces.readers.reading import Settings


def main(
    model: Path,
    adapters: list[Path],
    after: list[Path],
    before: list[Path],
    vocabulary: Path | list[Path],
    readings: Path,
    checkpoints: list[tuple[str, str]],
    loading: Loading,
    settings: Settings,
    seed: int,
) -> None:
    columns = zip(checkpoints, adapters, after, before, strict=True)
    found = read_pairs(
        [SeedPair(*names, *paths) for names, *paths in columns],
        lambda adapter: weights.load_pair(model, adapter, loading.dtype, **loading.options),
        lambda adapter, head: weights.load_readout(
            model, checkpoint=adapter if head == "tuned" else None
        ),
        load_tokenizer(model),
        settings,
        tables.read(vocabulary)["token_id"].to_numpy() if vocabulary else None,
        seed,
    )
    tables.write(readings, found, "pair_readings")


if __name__ == "__main__":
    job.run(main, snakemake)
