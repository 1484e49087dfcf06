"""Read differences through the model's final norm and unembedding."""

from pathlib import Path
from typing import Literal

import pandas as pd

from traces import job, lenses, models, records, store


def main(
    differences: Path,
    model: Path,
    adapter: Path,
    vocabulary: Path | list[Path],
    readings: Path,
    top_k: int,
    heads: list[Literal["tuned", "base"]],
) -> None:
    tokenizer = models.load_tokenizer(model)
    allowed = records.read(vocabulary)["token_id"].to_numpy() if vocabulary else None
    rows, vectors = lenses.readings(store.read_differences(differences), list(lenses.READINGS))

    tables = []
    for head in heads:
        own_head = head == "tuned" and not models.is_adapter(adapter)
        readout = models.load_readout(adapter if own_head else model)
        tokens = lenses.logit_lens(readout, vectors, top_k=top_k, vocabulary=allowed)
        table = lenses.table(tokens, tokenizer, rows, sign=lenses.SIGNS)
        tables.append(table.assign(head=head))
    records.write(readings, pd.concat(tables), "logit_lens")


if __name__ == "__main__":
    job.run(main, snakemake)
