"""Make a batch of organisms of the ladder and read each with every reader."""

import hashlib
import json
import shutil
from pathlib import Path

import pandas as pd

from traces import job
from traces.artifacts import tables
from traces.benchmark.adjusted import joined, read_held, write_held
from traces.benchmark.batch import Base, Batch, made_and_read
from traces.corpora.rows import read_prompts
from traces.readers.texts import Text
from traces.running.closure import digest
from traces.running.integrity import contents

# Beside the tables of an organism once all of them are written.
WHOLE = "whole"


def main(
    model: Path,
    vocabulary: Path,
    texts: Path,
    prompts: Path,
    made: list[Path],
    scores: Path,
    batch: Batch,
    name: str,
    state: Path,
) -> None:
    job.keep_freed_memory()
    # What a killed job has read is kept, each organism whole.
    kept = Path(state) / _key(batch, [model, vocabulary, texts, prompts])
    work = kept / "work"
    work.mkdir(parents=True, exist_ok=True)
    base = Base(
        batch,
        model,
        work,
        tables.read(vocabulary),
        [Text(**row) for row in tables.read_lines(texts)],
        read_prompts(prompts),
    )
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


def _key(batch: Batch, inputs: list[Path]) -> str:
    """Names what is kept of a killed job: other settings, code or inputs keep something else."""
    told = [batch.model_dump_json(), digest("scripts/benchmark_batch.py")]
    told += [json.dumps(contents(one), sort_keys=True) for one in inputs]
    return hashlib.sha256("\0".join(told).encode()).hexdigest()[:16]


if __name__ == "__main__":
    job.run(main, snakemake)
