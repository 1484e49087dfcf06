"""Bring unrelated text in, check every row, shuffle, and keep as many rows as are asked for."""

from pathlib import Path
from typing import Literal

from traces import hub as library
from traces import job
from traces.corpora.rows import (
    drawn,
    read_rows,
    rows_of_kind,
    shuffled,
    whitespace_rows,
    write_rows,
)


def main(
    made: Path | list[Path],
    local: Path | list[Path],
    corpus: Path,
    kind: str,
    hub: str | None,
    revision: str,
    subset: str | None,
    files: list[str],
    split: str,
    field: str | None,
    open_end: Literal["refuse", "cut"],
    blank: bool,
    rows: int,
    seed: int,
) -> None:
    only = None if kind == "both" else kind
    if hub is not None:
        with library.fetched_rows(
            hub,
            revision,
            split,
            field,
            kind,
            subset=subset,
            files=files,
            open_end=open_end,
            unfinished=library.unfinished_of(corpus),
        ) as (read, commit):
            write_rows(corpus, drawn(read, seed, rows))
        job.record(revisions={hub: commit})
    elif isinstance(local, Path):
        write_rows(corpus, drawn(lambda: read_rows(local, only, open_end=open_end), seed, rows))
    elif blank:
        write_rows(corpus, shuffled(whitespace_rows(rows, seed), seed))
    else:
        write_rows(corpus, drawn(lambda: rows_of_kind(read_rows(made), only), seed, rows))


if __name__ == "__main__":
    job.run(main, snakemake, network=True)
