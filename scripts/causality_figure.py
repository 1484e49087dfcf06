"""Draw what taking the difference out does to the loss, beside other directions."""

from pathlib import Path

from traces import job
from traces.analysis import selection
from traces.artifacts import tables
from traces.config.schema import Texts
from traces.report.figures import style
from traces.report.figures.causality import causality_figure


def main(
    causality: Path,
    texts: Texts,
    corpus: str,
    recipes: list[str],
    png: Path,
    pdf: Path,
) -> None:
    found = selection.of_recipes(tables.read(causality), recipes)
    style.save(causality_figure(found[found["corpus"] == corpus], texts.titles), png, pdf)


if __name__ == "__main__":
    job.run(main, snakemake)
