"""Bring an organism's data in, check every row, and hold a share of it out of training."""

from pathlib import Path
from typing import Literal

from traces import hub as library
from traces import job
from traces.corpora import held_out_split, read_rows, write_rows


def main(
    made: Path | list[Path],
    train: Path,
    held_out: Path,
    kind: str,
    hub: str | None,
    revision: str,
    split: str,
    field: str | None,
    path: str | None,
    open_end: Literal["refuse", "cut"],
    share: float,
    seed: int,
) -> None:
    if hub is not None:
        found, commit = library.fetch_rows(hub, revision, split, field, kind)
        job.record(revisions={hub: commit})
    else:
        found = read_rows(path or made, kind, open_end=open_end)
    kept, apart = held_out_split(found, share, seed)
    write_rows(train, kept)
    write_rows(held_out, apart)


if __name__ == "__main__":
    job.run(main, snakemake, network=True)
