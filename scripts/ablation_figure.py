"""Draw what becomes of the readings as one thing is varied."""

from pathlib import Path
from typing import Any

from traces import job
from traces.analysis import ablations
from traces.artifacts import tables
from traces.report.figures import ablation, style


def main(
    relevance: Path,
    norms: Path,
    over: str,
    values: list[Any],
    places: list[float] | None,
    model: str,
    organisms: list[str],
    recipe: str,
    title: str,
    corpus: str,
    layers: list[float],
    positions: list[int] | None,
    control: str | None,
    titles: dict[str, str],
    png: Path,
    pdf: Path,
) -> None:
    table = ablations.ablation_table(
        tables.read(relevance),
        tables.read(norms),
        over=over,
        values=values,
        model=model,
        organisms=organisms,
        recipe=recipe,
        corpus=corpus,
        layers=layers,
        positions=positions,
        control=control,
    )
    drawn = ablation.ablation_figure(
        table, over=over, title=title, model=model, places=places, titles=titles
    )
    style.save(drawn, png, pdf)


if __name__ == "__main__":
    job.run(main, snakemake)
