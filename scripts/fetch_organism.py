"""Bring an organism's data in, check every row, and hold a share of it out of training."""

from pathlib import Path

from traces import job
from traces.config.registries import Prepared, Source
from traces.corpora.rows import as_chats, held_out_split, read_rows, write_rows
from traces.fetching import hub as library


def main(
    made: Path | list[Path],
    local: Path | list[Path],
    train: Path,
    held_out: Path,
    source: Source,
    settings: Prepared,
    seed: int,
) -> None:
    kind = settings.kind if settings.as_chat is None else "documents"
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
            unfinished=library.unfinished_of(train),
        ) as (read, commit):
            found = list(read())
        job.record(revisions={source.hub: commit})
    else:
        file = local if isinstance(local, Path) else made
        assert isinstance(file, Path)
        found = read_rows(file, kind, field=source.field, open_end=source.open_end)
    if settings.as_chat is not None:
        found = as_chats(found, settings.as_chat)
    kept, apart = held_out_split(
        found, settings.held_out, seed, source=str(source.hub or local or made)
    )
    write_rows(train, kept)
    write_rows(held_out, apart)


if __name__ == "__main__":
    job.run(main, snakemake, network=True)
