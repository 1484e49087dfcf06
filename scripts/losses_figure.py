"""Draw the training curves of every organism."""

from pathlib import Path

from traces import job, records, tables
from traces.figures import style
from traces.figures.losses import losses_figure


def main(losses: Path, recipes: list[str], titles: dict[str, str], png: Path, pdf: Path) -> None:
    shown = tables.of_recipes(records.read(losses), recipes)
    style.save(losses_figure(shown, titles), png, pdf)


if __name__ == "__main__":
    job.run(main, snakemake)
