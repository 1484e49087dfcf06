"""Bring unrelated text in, check every row, shuffle, and keep as many rows as are asked for."""

from functools import partial
from pathlib import Path

from traces import job
from traces.config.registries import Drawn, Source
from traces.corpora.rows import (
    drawn,
    read_rows,
    rows_of_kind,
    shuffled,
    whitespace_rows,
    write_rows,
)
from traces.fetching import hub as library


def main(
    made: Path | list[Path],
    local: Path | list[Path],
    corpus: Path,
    source: Source,
    settings: Drawn,
    samples: int | None,
) -> None:
    kind, rows, seed = settings.kind, settings.rows, settings.seed
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
            kept = drawn(read, seed, rows)
        job.record(revisions={source.hub: commit})
    elif isinstance(local, Path):
        read = partial(read_rows, local, only, field=source.field, open_end=source.open_end)
        kept = drawn(read, seed, rows)
    elif settings.made == "whitespace":
        kept = shuffled(whitespace_rows(rows, seed), seed)
    else:
        kept = drawn(lambda: rows_of_kind(read_rows(made), only), seed, rows)
    if samples is not None and len(kept) < samples:
        raise ValueError(
            f"samples: found {samples}, expected at most {len(kept)}, the rows of {corpus.stem}"
        )
    write_rows(corpus, kept)


if __name__ == "__main__":
    job.run(main, snakemake, network=True)
