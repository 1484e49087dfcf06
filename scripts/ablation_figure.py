"""Draw what becomes of the readings as one thing is varied."""

from pathlib import Path
from typing import Any

from traces import ablations, job, records
from traces.figures import ablation, style


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
        records.read(relevance),
        records.read(norms),
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
