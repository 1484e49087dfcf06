"""Draw every measure against the mixing ratio."""

from pathlib import Path

from traces import job
from traces.artifacts import tables
from traces.config.schema import Texts
from traces.report.figures import style
from traces.report.figures.mixing import mixing_figure


def main(mixing: Path, texts: Texts, corpus: str, unit: str, png: Path, pdf: Path) -> None:
    shown = tables.read(mixing)
    style.save(mixing_figure(shown[shown["corpus"] == corpus], texts.titles, unit), png, pdf)


if __name__ == "__main__":
    job.run(main, snakemake)
