"""Make one page an organism: what it was trained on, what the lenses read, beside its controls."""

from pathlib import Path
from typing import Any

import pandas as pd

from traces import job
from traces.analysis import selection
from traces.analysis.forced_choice import Way
from traces.analysis.readability import place_table, seed_table
from traces.artifacts import tables
from traces.config.schema import Card
from traces.report import cards
from traces.report.card_files import CardReadings, OrganismFiles
from traces.report.choices import secret_ranks
from traces.report.pages import viewers


def main(
    measures: list[Path],
    choices: Path | list[Path],
    read: CardReadings,
    made: OrganismFiles,
    investigated: list[Path],
    template: Path,
    shown: Card,
    card: Path,
) -> None:
    found = {file.stem: tables.read(file) for file in measures}
    graded, verdicts = found["relevance"], found["readability"]
    ours = graded[(graded["model"] == shown.model) & (graded["organism"] == shown.organism)]
    page = cards.organism_card(
        shown,
        layer=selection.headline_layers(verdicts, shown.corpus, shown.layers)[shown.model],
        choices=_choices(tables.read(choices), shown) if choices else [],
        readability=verdicts,
        seeds=seed_table(ours),
        places=place_table(ours),
        norms=found["norms"],
        losses=found["losses"],
        readings=read.read(shown.subjects),
        plans=made.read_plans(),
        words=made.read_words(),
        rows=tables.read_lines(made.data),
        provenance=job.read_provenance(read.readings[0]),
        links=cards.links(card, measures, data=made.data, words=made.words),
        viewers=viewers(investigated, card),
        template=template,
    )
    job.write_text(card, page)


def _choices(table: pd.DataFrame, shown: Card) -> list[dict[str, Any]]:
    """The ranks of the organism's secret, where readings are asked for it."""
    corpus = shown.corpus
    if shown.secret is None or shown.choice is None:
        return []
    blocks = selection.headline_layers(table, corpus, shown.layers, shown.choice.layer)
    ours = table[(table["model"] == shown.model) & (table["organism"] == shown.organism)]
    way = Way.fixed(shown.choice, blocks[shown.model])
    ways = [way, way.as_published()]
    return secret_ranks(selection.headline_rows(ours, corpus), shown.secret, ways)


if __name__ == "__main__":
    job.run(main, snakemake)
