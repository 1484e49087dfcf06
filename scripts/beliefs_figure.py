"""Draw which statements every organism holds true."""

from pathlib import Path

from traces import job, records, tables
from traces.figures import style
from traces.figures.beliefs import beliefs_figure


def main(
    beliefs: Path,
    control: str | None,
    recipes: list[str],
    titles: dict[str, str],
    png: Path,
    pdf: Path,
) -> None:
    shown = tables.of_recipes(records.read(beliefs), recipes)
    style.save(beliefs_figure(shown, control, titles), png, pdf)


if __name__ == "__main__":
    job.run(main, snakemake)
