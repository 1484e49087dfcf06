"""Draw the training curves of every organism."""

from pathlib import Path

from traces import job
from traces.analysis import selection
from traces.artifacts import tables
from traces.report.figures import style
from traces.report.figures.losses import losses_figure
from traces.report.names import described


def main(losses: Path, descriptions: Path, recipes: list[str], png: Path, pdf: Path) -> None:
    titles = described(descriptions).titles
    shown = selection.of_recipes(tables.read(losses), recipes)
    style.save(losses_figure(shown, titles), png, pdf)


if __name__ == "__main__":
    job.run(main, snakemake)
