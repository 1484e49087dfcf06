"""Draw the size and the static share of every difference by position and layer."""

from pathlib import Path

from traces import job, records, tables
from traces.figures import style
from traces.figures.norms import norms_figure


def main(
    norms: Path,
    corpus: str,
    layers: list[float],
    recipes: list[str],
    titles: dict[str, str],
    png: Path,
    pdf: Path,
) -> None:
    found = tables.of_recipes(records.read(norms), recipes)
    shown = tables.around_the_headline(found, corpus, layers)
    style.save(norms_figure(shown, titles), png, pdf)


if __name__ == "__main__":
    job.run(main, snakemake)
