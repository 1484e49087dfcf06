"""Draw every measure against the mixing ratio."""

from pathlib import Path

from traces import job
from traces.artifacts import tables
from traces.report.figures import style
from traces.report.figures.mixing import mixing_figure
from traces.report.names import described


def main(mixing: Path, descriptions: Path, corpus: str, unit: str, png: Path, pdf: Path) -> None:
    titles = described(descriptions).titles
    shown = tables.read(mixing)
    style.save(mixing_figure(shown[shown["corpus"] == corpus], titles, unit), png, pdf)


if __name__ == "__main__":
    job.run(main, snakemake)
