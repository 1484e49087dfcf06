"""Draw the training curves of every organism."""

from pathlib import Path

from traces import job
from traces.analysis import selection
from traces.artifacts import tables
from traces.config.schema import Texts
from traces.report.figures import style
from traces.report.figures.losses import losses_figure


def main(losses: Path, texts: Texts, recipes: list[str], png: Path, pdf: Path) -> None:
    shown = selection.of_recipes(tables.read(losses), recipes)
    style.save(losses_figure(shown, texts.titles), png, pdf)


if __name__ == "__main__":
    job.run(main, snakemake)
