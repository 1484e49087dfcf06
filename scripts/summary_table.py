"""Hold every headline against each of its controls, over organisms and seeds."""

from pathlib import Path

from traces import headlines, job, records


def main(
    relevance: Path,
    norms: Path,
    causality: Path | list[Path],
    beliefs: Path | list[Path],
    steering: Path | list[Path],
    positions: list[int] | None,
    control: str | None,
    seed: int,
    table: Path,
) -> None:
    found = headlines.headlines(
        records.read(relevance),
        records.read(norms),
        causality=records.read_optional(causality),
        beliefs=records.read_optional(beliefs),
        steering=records.read_optional(steering),
        benign=control,
        positions=positions,
    )
    records.write(table, headlines.summary_table(found, control, seed), "summary")


if __name__ == "__main__":
    job.run(main, snakemake)
