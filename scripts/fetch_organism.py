"""Bring an organism's data in, check every row, and hold a share of it out of training."""

from pathlib import Path
from typing import Literal

from traces import hub as library
from traces import job
from traces.corpora.rows import Kind, as_chats, held_out_split, read_rows, write_rows


def main(
    made: Path | list[Path],
    local: Path | list[Path],
    train: Path,
    held_out: Path,
    kind: Kind,
    as_chat: str | None,
    hub: str | None,
    revision: str,
    subset: str | None,
    files: list[str],
    split: str,
    field: str | None,
    open_end: Literal["refuse", "cut"],
    share: float,
    seed: int,
) -> None:
    kind = kind if as_chat is None else "documents"
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
            unfinished=library.unfinished_of(train),
        ) as (read, commit):
            found = list(read())
        job.record(revisions={hub: commit})
    else:
        found = read_rows(local or made, kind, open_end=open_end)
    if as_chat is not None:
        found = as_chats(found, as_chat)
    kept, apart = held_out_split(found, share, seed)
    write_rows(train, kept)
    write_rows(held_out, apart)


if __name__ == "__main__":
    job.run(main, snakemake, network=True)
