"""Draw the training curves of every organism."""

from pathlib import Path

from traces import job, records
from traces.figures import style
from traces.figures.losses import losses_figure


def main(losses: Path, titles: dict[str, str], png: Path, pdf: Path) -> None:
    style.save(losses_figure(records.read(losses), titles), png, pdf)


if __name__ == "__main__":
    job.run(main, snakemake)
