"""Draw which statements every organism holds true."""

from pathlib import Path

from traces import job
from traces.analysis import selection
from traces.artifacts import tables
from traces.report.figures import style
from traces.report.figures.beliefs import beliefs_figure
from traces.report.names import described


def main(
    beliefs: Path,
    descriptions: Path,
    control: str | None,
    recipes: list[str],
    png: Path,
    pdf: Path,
) -> None:
    titles = described(descriptions).titles
    shown = selection.of_recipes(tables.read(beliefs), recipes)
    style.save(beliefs_figure(shown, control, titles), png, pdf)


if __name__ == "__main__":
    job.run(main, snakemake)
