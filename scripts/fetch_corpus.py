"""Bring unrelated text in, check every row, shuffle, and keep as many rows as are asked for."""

from functools import partial
from pathlib import Path

from traces import hub as library
from traces import job
from traces.config.registries import Source
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
    source: Source,
    blank: bool,
    rows: int,
    seed: int,
) -> None:
    only = None if kind == "both" else kind
    if source.hub is not None:
        with library.fetched_rows(
            source.hub,
            source.revision,
            source.split,
            source.field,
            kind,
            subset=source.subset,
            files=source.files,
            open_end=source.open_end,
            unfinished=library.unfinished_of(corpus),
        ) as (read, commit):
            write_rows(corpus, drawn(read, seed, rows))
        job.record(revisions={source.hub: commit})
    elif isinstance(local, Path):
        read = partial(read_rows, local, only, field=source.field, open_end=source.open_end)
        write_rows(corpus, drawn(read, seed, rows))
    elif blank:
        write_rows(corpus, shuffled(whitespace_rows(rows, seed), seed))
    else:
        write_rows(corpus, drawn(lambda: rows_of_kind(read_rows(made), only), seed, rows))


if __name__ == "__main__":
    job.run(main, snakemake, network=True)
