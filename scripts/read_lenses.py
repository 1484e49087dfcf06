"""Read differences through a logit lens and a Patchscope, with the weights loaded once."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from traces import job
from traces.artifacts import arrays, tables
from traces.corpora.tokens import load_tokenizer
from traces.models import weights
from traces.readers import directions, ranking
from traces.readers.logit_lens import logit_lens as through_the_readout
from traces.readers.patchscope import patchscope as said_in_a_prompt


def main(
    differences: Path,
    model: Path,
    adapter: Path,
    vocabulary: Path | list[Path],
    logit_lens: Path,
    patchscope: Path,
    dtype: weights.DType,
    attention: str | None,
    names: list[str],
    heads: list[Literal["tuned", "base"]],
    top_k: int,
    prompts: list[list[str]],
    scales: list[float],
    intersection_top_k: int,
    batch: int,
) -> None:
    tokenizer = load_tokenizer(model)
    allowed = tables.read(vocabulary)["token_id"].to_numpy() if vocabulary else None
    found = arrays.read_differences(differences)

    def through(head: Literal["tuned", "base"]) -> pd.DataFrame:
        rows, vectors = directions.readings(found, names)
        readout = weights.load_readout(model, checkpoint=adapter if head == "tuned" else None)
        tokens = through_the_readout(readout, vectors, top_k=top_k, vocabulary=allowed)
        return ranking.table(tokens, tokenizer, rows, sign=ranking.SIGNS).assign(head=head)

    tables.write(logit_lens, pd.concat([through(head) for head in heads]), "logit_lens")

    def said_by(reader: Any, some: list[str], index: int) -> pd.DataFrame:
        rows, vectors = directions.readings(found, some)
        here = np.flatnonzero(rows["layer"] == found.layers[index])
        tokens = said_in_a_prompt(
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
        return ranking.table(tokens, tokenizer, rows.iloc[here], sign=ranking.SIGNS, scale=scales)

    pair = weights.load_pair(model, adapter, dtype, attention=attention)
    read = []
    for index in job.progress(range(len(found.layers)), "layers"):
        with pair.tuned() as tuned:
            read.append(said_by(tuned, [name for name in names if name != "base_mean"], index))
        with pair.base() as base:
            read.append(said_by(base, ["base_mean"], index))
    tables.write(patchscope, pd.concat(read), "patchscope")


if __name__ == "__main__":
    job.run(main, snakemake)
