"""Bring unrelated text in, check every row, shuffle, and keep as many rows as are asked for."""

from pathlib import Path

from traces import hub as library
from traces import job
from traces.corpora import read_rows, rows_of_kind, shuffled, write_rows


def main(
    made: Path | list[Path],
    corpus: Path,
    kind: str,
    hub: str | None,
    revision: str,
    subset: str | None,
    split: str,
    field: str | None,
    path: str | None,
    rows: int,
    seed: int,
) -> None:
    if hub is not None:
        found, commit = library.fetch_rows(hub, revision, split, field, kind, subset)
        job.record(revisions={hub: commit})
    elif path is not None:
        found = read_rows(path, kind)
    else:
        found = rows_of_kind(read_rows(made), kind)
    write_rows(corpus, shuffled(found, seed)[:rows])


if __name__ == "__main__":
    job.run(main, snakemake, network=True)
