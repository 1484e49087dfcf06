"""Read the differences between two seeds of each organism."""

from pathlib import Path

from traces import job
from traces.agents.seed_pairs import SeedPairFiles, read_pairs
from traces.artifacts import tables
from traces.models.pairs import BaseFiles
from traces.readers.reading import Settings


def main(
    base: BaseFiles,
    pairs: SeedPairFiles,
    vocabulary: Path | list[Path],
    readings: Path,
    settings: Settings,
    seed: int,
) -> None:
    found = read_pairs(
        pairs,
        base.load_pair,
        base.load_readout,
        base.load_tokenizer(),
        settings,
        tables.read(vocabulary)["token_id"].to_numpy() if vocabulary else None,
        seed,
    )
    tables.write(readings, found, "pair_readings")


if __name__ == "__main__":
    job.run(main, snakemake)
