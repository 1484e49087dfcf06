"""Draw every organism's relevance beside its controls."""

from pathlib import Path

from traces import figures, job, records, tables


def main(
    readability: Path,
    relevance: Path,
    corpus: str | None,
    layers: dict[str, int],
    positions: list[int] | None,
    control: str | None,
    titles: dict[str, str],
    png: Path,
    pdf: Path,
) -> None:
    seeds = tables.seed_table(records.read(relevance), positions, control)
    shown = tables.headline_rows(records.read(readability), corpus, layers)
    figures.save(figures.relevance_figure(shown, seeds, titles), png, pdf)


if __name__ == "__main__":
    job.run(main, snakemake)
