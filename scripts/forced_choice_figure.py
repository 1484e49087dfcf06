"""Draw the ranks of all candidate words, organism by organism."""

from pathlib import Path

from traces import job
from traces.analysis import selection
from traces.analysis.forced_choice import Way
from traces.artifacts import tables
from traces.config.schema import ChoiceHeadline, Shown, Texts
from traces.report.figures import style
from traces.report.figures.forced_choice import choice_figure


def main(
    table: Path,
    summary: Path,
    secrets: dict[str, dict[str, str]],
    headline: ChoiceHeadline,
    shown: Shown,
    texts: Texts,
    png: Path,
    pdf: Path,
) -> None:
    found = selection.of_recipes(tables.read(table), shown.recipes)
    blocks = selection.headline_layers(found, shown.corpus, shown.layers, headline.layer)
    fixed = {model: Way.fixed(headline, block) for model, block in blocks.items()}
    told = tables.read(summary)
    figure = choice_figure(
        selection.headline_rows(found, shown.corpus),
        told[told["corpus"] == shown.corpus],
        {model: [way, way.as_published()] for model, way in fixed.items()},
        secrets=secrets,
        control=shown.control,
        titles=texts.titles,
    )
    style.save(figure, png, pdf)


if __name__ == "__main__":
    job.run(main, snakemake)
