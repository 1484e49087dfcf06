"""Draw every organism's relevance beside its controls."""

from pathlib import Path

from traces import job
from traces.analysis import selection
from traces.analysis.readability import seed_table
from traces.artifacts import tables
from traces.report.figures import style
from traces.report.figures.relevance import relevance_figure


def main(
    readability: Path,
    relevance: Path,
    corpus: str | None,
    layers: list[float],
    positions: list[int] | None,
    control: str | None,
    recipes: list[str],
    titles: dict[str, str],
    png: Path,
    pdf: Path,
) -> None:
    seeds = seed_table(tables.read(relevance), positions, control)
    found = selection.of_recipes(tables.read(readability), recipes)
    blocks = selection.headline_layers(found, corpus, layers)
    shown = selection.headline_rows(found, corpus, blocks)
    style.save(relevance_figure(shown, seeds, titles), png, pdf)


if __name__ == "__main__":
    job.run(main, snakemake)
