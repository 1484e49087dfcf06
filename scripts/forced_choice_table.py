"""Rank every candidate for every reading, and say how well readers name the secrets."""

from pathlib import Path
from typing import Any

from traces import job
from traces.analysis import collect, forced_choice, selection
from traces.analysis.positions import marked
from traces.artifacts import tables
from traces.config.schema import ChoiceHeadline, Shown


def main(
    candidates: list[Path],
    norms: Path,
    subjects: list[dict[str, Any]],
    secrets: dict[str, dict[str, str]],
    headline: ChoiceHeadline,
    shown: Shown,
    table: Path,
    summary: Path,
) -> None:
    scores = collect.candidates_table([tables.read(one) for one in candidates], subjects)
    sizes = tables.read(norms)
    found = forced_choice.choice_table(marked(scores, sizes), secrets)
    blocks = selection.headline_layers(sizes, shown.corpus, shown.layers, headline.layer)
    tables.write(table, found, "forced_choice")
    tables.write(
        summary,
        forced_choice.choice_summary(
            found,
            secrets,
            control=shown.control,
            headline=headline,
            blocks=blocks,
            recipes=shown.recipes,
            corpus=shown.corpus,
            seed=shown.seed,
        ),
        "forced_choice_summary",
    )


if __name__ == "__main__":
    job.run(main, snakemake)
