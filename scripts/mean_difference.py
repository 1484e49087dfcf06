"""Average tuned minus base over samples, per layer and position."""

from pathlib import Path

from traces import job
from traces.activations import differences as library
from traces.artifacts.arrays import Activations, write_differences


def main(tuned: Path, base: Path, differences: Path, seed: int, singular: bool) -> None:
    stores = Activations(tuned), Activations(base)
    found = library.mean_difference(*stores, seed=seed, singular=singular)
    write_differences(differences, found)


if __name__ == "__main__":
    job.run(main, snakemake)
