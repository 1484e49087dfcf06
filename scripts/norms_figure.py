"""Draw the size and the static share of every difference by position and layer."""

from pathlib import Path

from traces import figures, job, records


def main(norms: Path, titles: dict[str, str], png: Path, pdf: Path) -> None:
    figures.save(figures.norms_figure(records.read(norms), titles), png, pdf)


if __name__ == "__main__":
    job.run(main, snakemake)
