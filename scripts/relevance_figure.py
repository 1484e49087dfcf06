"""Draw every organism's relevance beside its controls."""

from pathlib import Path

from traces import job
from traces.analysis import selection
from traces.analysis.positions import to_average
from traces.analysis.readability import seed_table
from traces.artifacts import tables
from traces.config.schema import Shown, Texts
from traces.report.figures import style
from traces.report.figures.relevance import relevance_figure


def main(
    readability: Path, relevance: Path, texts: Texts, shown: Shown, png: Path, pdf: Path
) -> None:
    graded = tables.read(relevance)
    seeds = seed_table(graded, shown.control)
    found = selection.of_recipes(tables.read(readability), shown.recipes)
    blocks = selection.headline_layers(found, shown.corpus, shown.layers)
    rows = selection.headline_rows(found, shown.corpus, blocks)
    positions = to_average(selection.headline_rows(graded, shown.corpus))["position"]
    style.save(relevance_figure(rows, seeds, texts.titles, positions.unique()), png, pdf)


if __name__ == "__main__":
    job.run(main, snakemake)
