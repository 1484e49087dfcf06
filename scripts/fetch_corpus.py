"""Bring unrelated text in, check every row, shuffle, and keep as many rows as are asked for."""

from pathlib import Path
from typing import Literal

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
    open_end: Literal["refuse", "cut"],
    rows: int,
    seed: int,
) -> None:
    only = None if kind == "both" else kind
    if hub is not None:
        found, commit = library.fetch_rows(hub, revision, split, field, kind, subset)
        job.record(revisions={hub: commit})
    elif path is not None:
        found = read_rows(path, only, open_end=open_end)
    else:
        found = rows_of_kind(read_rows(made), only)
    write_rows(corpus, shuffled(found, seed)[:rows])


if __name__ == "__main__":
    job.run(main, snakemake, network=True)
