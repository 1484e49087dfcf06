"""Put differences into an identity prompt and read what the model makes of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from traces import job, lenses, models, records, store


def main(
    differences: Path,
    model: Path,
    adapter: Path,
    vocabulary: Path | list[Path],
    readings: Path,
    dtype: models.DType,
    attention: str | None,
    prompts: list[list[str]],
    scales: list[float],
    top_k: int,
    intersection_top_k: int,
    batch: int,
) -> None:
    tokenizer = models.load_tokenizer(model)
    allowed = records.read(vocabulary)["token_id"].to_numpy() if vocabulary else None
    found = store.read_differences(differences)
    pair = models.load_pair(model, adapter, dtype, attention=attention)

    def read(reader: Any, names: list[str], index: int) -> pd.DataFrame:
        rows, vectors = lenses.readings(found, names)
        here = np.flatnonzero(rows["layer"] == found.layers[index])
        tokens = lenses.patchscope(
            reader,
            tokenizer,
            vectors[here],
            layer=int(found.layers[index]),
            norm=float(found.stream_norm_tuned[index]),
            prompts=prompts,
            scales=scales,
            top_k=top_k,
            intersection_top_k=intersection_top_k,
            vocabulary=allowed,
            batch=batch,
        )
        return lenses.table(tokens, tokenizer, rows.iloc[here], sign=lenses.SIGNS, scale=scales)

    tables = []
    for index in job.progress(range(len(found.layers)), "layers"):
        with pair.tuned() as tuned:
            tables.append(read(tuned, ["difference", "tuned_mean", "random"], index))
        with pair.base() as base:
            tables.append(read(base, ["base_mean"], index))
    records.write(readings, pd.concat(tables), "patchscope")


if __name__ == "__main__":
    job.run(main, snakemake)
