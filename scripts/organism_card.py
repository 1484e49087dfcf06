"""Make one page an organism: what it was trained on, what the lenses read, beside its controls."""

import json
from pathlib import Path
from typing import Any

from traces import job
from traces.analysis import selection
from traces.analysis.readability import place_table, seed_table
from traces.artifacts import tables
from traces.report import cards


def main(
    readability: Path,
    relevance: Path,
    norms: Path,
    losses: Path,
    readings: list[Path],
    plans: list[Path],
    words: Path,
    data: Path,
    template: Path,
    model: str,
    organism: str,
    title: str,
    family: str,
    description: str,
    facts: list[str],
    subjects: list[dict[str, Any]],
    positions: list[int] | None,
    corpus: str | None,
    layers: list[float],
    links: dict[str, str],
    card: Path,
) -> None:
    graded, verdicts = tables.read(relevance), tables.read(readability)
    ours = graded[(graded["model"] == model) & (graded["organism"] == organism)]
    readers = dict.fromkeys(path.stem for path in readings)
    read = [
        cards.Reading(*(subject[name] for name in cards.READ_IN), reader, tables.read(path))
        for reader in readers
        for path, subject in zip(
            [path for path in readings if path.stem == reader], subjects, strict=True
        )
    ]
    page = cards.organism_card(
        model=model,
        organism=organism,
        title=title,
        family=family,
        description=description,
        facts=facts,
        corpus=corpus,
        layer=selection.headline_layers(verdicts, corpus, layers)[model],
        readability=verdicts,
        seeds=seed_table(ours, positions),
        places=place_table(ours),
        norms=tables.read(norms),
        losses=tables.read(losses),
        readings=read,
        plans={path.stem: json.loads(path.read_text(encoding="utf-8")) for path in plans},
        words=list(tables.read(words)["word"]),
        rows=tables.read_lines(data),
        provenance=job.read_provenance(readings[0]),
        links=links,
        template=template,
    )
    job.write_text(card, page)


if __name__ == "__main__":
    job.run(main, snakemake)
