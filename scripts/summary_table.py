"""Hold every headline against each of its controls, over organisms and seeds."""

from pathlib import Path

from traces import job
from traces.analysis import summary
from traces.artifacts import tables


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
    found = summary.headlines(
        tables.read(relevance),
        tables.read(norms),
        causality=tables.read_optional(causality),
        beliefs=tables.read_optional(beliefs),
        steering=tables.read_optional(steering),
        benign=control,
        positions=positions,
    )
    tables.write(table, summary.summary_table(found, control, seed), "summary")


if __name__ == "__main__":
    job.run(main, snakemake)
