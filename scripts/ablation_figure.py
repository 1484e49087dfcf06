"""Draw what becomes of the readings as one thing is varied."""

from pathlib import Path

from traces import job
from traces.analysis.ablations import ablation_table
from traces.artifacts import tables
from traces.config.schema import Ablated, Shown, Texts
from traces.report.figures import style
from traces.report.figures.ablation import ablation_figure

VARIED = {"over", "values", "model", "organisms", "recipe", "corpus", "layers"}


def main(
    relevance: Path,
    norms: Path,
    texts: Texts,
    ablation: Ablated,
    shown: Shown,
    png: Path,
    pdf: Path,
) -> None:
    table = ablation_table(
        tables.read(relevance),
        tables.read(norms),
        **ablation.model_dump(include=VARIED),
        control=shown.control,
    )
    drawn = ablation_figure(
        table,
        over=ablation.over,
        title=texts.title,
        model=ablation.model,
        places=ablation.places,
        titles=texts.titles,
    )
    style.save(drawn, png, pdf)


if __name__ == "__main__":
    job.run(main, snakemake)
