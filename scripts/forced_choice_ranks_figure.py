"""Draw the mean rank of the true word by every reader, beside chance and controls."""

from pathlib import Path

from traces import job
from traces.analysis import selection
from traces.artifacts import tables
from traces.config.schema import ChoiceHeadline, Shown
from traces.report.figures import style
from traces.report.figures.forced_choice import choice_ranks_figure


def main(summary: Path, headline: ChoiceHeadline, shown: Shown, png: Path, pdf: Path) -> None:
    found = tables.read(summary)
    blocks = selection.headline_layers(found, shown.corpus, shown.layers, headline.layer)
    # No row, and a picture that says so, where no secret is a token of its own.
    rows = found[(found["corpus"] == shown.corpus) & (found["layer"] == found["model"].map(blocks))]
    style.save(choice_ranks_figure(rows, shown.recipes, str(headline.position)), png, pdf)


if __name__ == "__main__":
    job.run(main, snakemake)
