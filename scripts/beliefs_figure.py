"""Draw which statements every organism holds true."""

from pathlib import Path

from traces import job
from traces.analysis import selection
from traces.artifacts import tables
from traces.config.schema import Texts
from traces.report.figures import style
from traces.report.figures.beliefs import beliefs_figure


def main(
    beliefs: Path,
    texts: Texts,
    control: str | None,
    twins: dict[str, str],
    recipes: list[str],
    png: Path,
    pdf: Path,
) -> None:
    shown = selection.of_recipes(tables.read(beliefs), recipes)
    style.save(beliefs_figure(shown, control, texts.titles, twins), png, pdf)


if __name__ == "__main__":
    job.run(main, snakemake)
