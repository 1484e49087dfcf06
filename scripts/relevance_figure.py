"""Draw every organism's relevance beside its controls."""

from pathlib import Path

from traces import job, records, tables
from traces.figures import style
from traces.figures.relevance import relevance_figure


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
    seeds = tables.seed_table(records.read(relevance), positions, control)
    found = tables.of_recipes(records.read(readability), recipes)
    blocks = tables.headline_layers(found, corpus, layers)
    shown = tables.headline_rows(found, corpus, blocks)
    style.save(relevance_figure(shown, seeds, titles), png, pdf)


if __name__ == "__main__":
    job.run(main, snakemake)
