"""Draw how like the organism's data steered text is, beside a random direction and none."""

from pathlib import Path

from traces import job
from traces.analysis import selection
from traces.artifacts import tables
from traces.config.schema import Texts
from traces.report.figures import style
from traces.report.figures.steering import steering_figure


def main(
    steering: Path,
    texts: Texts,
    corpus: str,
    recipes: list[str],
    png: Path,
    pdf: Path,
) -> None:
    found = selection.of_recipes(tables.read(steering), recipes)
    style.save(steering_figure(found[found["corpus"] == corpus], texts.titles), png, pdf)


if __name__ == "__main__":
    job.run(main, snakemake)
