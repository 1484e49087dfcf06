"""Change the scale of a plain adapter, from the base (0) to what it was tuned to (1)."""

from pathlib import Path

from traces import job
from traces.models.scaling import scale_adapter


def main(plain: Path, adapter: Path, scale: float) -> None:
    scale_adapter(plain, scale, adapter)


if __name__ == "__main__":
    job.run(main, snakemake)
