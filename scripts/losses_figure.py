"""Draw the training curves of every organism."""

from pathlib import Path

from traces import figures, job, records


def main(losses: Path, titles: dict[str, str], png: Path, pdf: Path) -> None:
    figures.save(figures.losses_figure(records.read(losses), titles), png, pdf)


if __name__ == "__main__":
    job.run(main, snakemake)
