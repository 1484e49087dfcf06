"""Judge for each organism and lens whether its training is readable, beside every control."""

from pathlib import Path

from traces import job, records, tables


def main(
    relevance: Path,
    words: list[Path],
    vocabularies: list[Path],
    organisms: list[dict[str, str]],
    models: list[str],
    positions: list[int] | None,
    control: str | None,
    table: Path,
) -> None:
    graded_by = zip(organisms, map(records.read, words), strict=True)
    readable = dict(zip(models, map(records.read, vocabularies), strict=True))
    found = tables.readability_table(
        records.read(relevance),
        chance=tables.chance_table(graded_by, readable),
        positions=positions,
        control=control,
    )
    records.write(table, found, "readability")


if __name__ == "__main__":
    job.run(main, snakemake)
