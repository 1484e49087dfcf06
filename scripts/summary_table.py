"""Hold every headline against each of its controls, over organisms and seeds."""

from pathlib import Path

from traces import job
from traces.analysis import summary
from traces.artifacts import tables


def main(
    measures: list[Path],
    control: str | None,
    twins: dict[str, str],
    seed: int,
    headlines: Path,
    table: Path,
) -> None:
    found = summary.headlines(
        **{file.stem: tables.read(file) for file in measures},
        control=control,
        twins=twins,
    )
    tables.write(headlines, found, "headlines")
    tables.write(table, summary.summary_table(found, control, seed), "summary")


if __name__ == "__main__":
    job.run(main, snakemake)
