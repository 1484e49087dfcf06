"""Draw the size and the static share of every difference by position and layer."""

from pathlib import Path

from traces import job
from traces.analysis import selection
from traces.artifacts import tables
from traces.config.schema import Texts
from traces.report.figures import style
from traces.report.figures.norms import norms_figure


def main(
    norms: Path,
    texts: Texts,
    corpus: str,
    layers: list[float],
    recipes: list[str],
    png: Path,
    pdf: Path,
) -> None:
    found = selection.of_recipes(tables.read(norms), recipes)
    shown = selection.around_the_headline(found, corpus, layers)
    style.save(norms_figure(shown, texts.titles), png, pdf)


if __name__ == "__main__":
    job.run(main, snakemake)
