"""Make a batch of organisms of the ladder and read each with every reader."""

import shutil
from pathlib import Path

import pandas as pd

from traces import job
from traces.artifacts import tables
from traces.benchmark.adjusted import joined, read_held, write_held
from traces.benchmark.batch import Batch, made_and_read
from traces.benchmark.files import SharedFiles

# Beside the tables of an organism once all of them are written.
WHOLE = "whole"


def main(
    shared: SharedFiles, made: list[Path], scores: Path, batch: Batch, name: str, state: Path
) -> None:
    job.keep_freed_memory()
    # What a killed job has read is kept, each organism whole.
    kept = Path(state) / shared.key(batch)
    work = kept / "work"
    work.mkdir(parents=True, exist_ok=True)
    base = shared.base(batch, work)
    for specimen in job.progress(batch.specimens, "organisms"):
        folder = kept / specimen.checkpoint
        if not (folder / WHOLE).is_file():
            read, held = made_and_read(specimen, base)
            for table, rows in read.items():
                tables.write(folder / f"{table}.parquet", rows.assign(model=name), table)
            write_held(folder / scores.name, held)
            job.write_text(folder / WHOLE, "")
            for left in work.glob(f"{specimen.checkpoint}*"):
                shutil.rmtree(left) if left.is_dir() else left.unlink()
    for path in made:
        parts = [kept / one.checkpoint / path.name for one in batch.specimens]
        tables.write(path, pd.concat(map(tables.read, parts), ignore_index=True), path.stem)
    each = [read_held(kept / one.checkpoint / scores.name) for one in batch.specimens]
    write_held(scores, joined(each))
    shutil.rmtree(state)


if __name__ == "__main__":
    job.run(main, snakemake)
