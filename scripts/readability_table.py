"""Judge for each organism and lens whether its training is readable, beside every control."""

from pathlib import Path

from traces import job
from traces.analysis import readability
from traces.artifacts import tables


def main(
    relevance: Path,
    words: list[Path],
    vocabularies: list[Path],
    organisms: list[dict[str, str]],
    models: list[str],
    control: str | None,
    table: Path,
) -> None:
    graded_by = zip(organisms, map(tables.read, words), strict=True)
    readable = dict(zip(models, map(tables.read, vocabularies), strict=True))
    found = readability.readability_table(
        tables.read(relevance),
        chance=readability.chance_table(graded_by, readable),
        control=control,
    )
    tables.write(table, found, "readability")


if __name__ == "__main__":
    job.run(main, snakemake)
