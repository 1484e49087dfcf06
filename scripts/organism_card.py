"""Make one page an organism: what it was trained on, what the lenses read, beside its controls."""

import json
from pathlib import Path
from typing import Any

from traces import cards, job, records, tables


def main(
    readability: Path,
    relevance: Path,
    norms: Path,
    losses: Path,
    logit_lens: list[Path],
    patchscope: list[Path],
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
    graded, verdicts = records.read(relevance), records.read(readability)
    ours = graded[(graded["model"] == model) & (graded["organism"] == organism)]
    readings = [
        cards.Reading(*(subject[name] for name in cards.READ_IN), lens, records.read(path))
        for lens, paths in (("logit_lens", logit_lens), ("patchscope", patchscope))
        for path, subject in zip(paths, subjects, strict=True)
    ]
    page = cards.organism_card(
        model=model,
        organism=organism,
        title=title,
        family=family,
        description=description,
        facts=facts,
        corpus=corpus,
        layer=tables.headline_layers(verdicts, corpus, layers)[model],
        readability=verdicts,
        seeds=tables.seed_table(ours, positions),
        norms=records.read(norms),
        losses=records.read(losses),
        readings=readings,
        plans={path.stem: json.loads(path.read_text(encoding="utf-8")) for path in plans},
        words=list(records.read(words)["word"]),
        rows=records.read_lines(data),
        provenance=job.read_provenance(logit_lens[0]),
        links=links,
        template=template,
    )
    job.write_text(card, page)


if __name__ == "__main__":
    job.run(main, snakemake)
