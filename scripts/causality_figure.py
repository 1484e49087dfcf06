"""Draw what taking the difference out does to the loss, beside other directions."""

from pathlib import Path

from traces import job
from traces.analysis import selection
from traces.artifacts import tables
from traces.report.figures import style
from traces.report.figures.causality import causality_figure
from traces.report.names import described


def main(
    causality: Path,
    descriptions: Path,
    corpus: str,
    recipes: list[str],
    png: Path,
    pdf: Path,
) -> None:
    titles = described(descriptions).titles
    found = selection.of_recipes(tables.read(causality), recipes)
    style.save(causality_figure(found[found["corpus"] == corpus], titles), png, pdf)


if __name__ == "__main__":
    job.run(main, snakemake)
