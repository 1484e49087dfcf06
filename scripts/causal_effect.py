"""Take directions out of a model, token by token, and measure what that does to its loss."""

from pathlib import Path

import pandas as pd

from traces import job
from traces.artifacts import arrays, tables
from traces.corpora.rows import Kind, read_rows
from traces.corpora.tokens import load_tokenizer
from traces.interventions import causality
from traces.models import weights


def main(
    differences: Path,
    base: Path,
    model: Path,
    reference: Path | list[Path],
    adapter: Path,
    own: Path,
    unrelated: Path,
    chat: Path,
    effects: Path,
    name: str,
    kind: Kind,
    dtype: weights.DType,
    attention: str | None,
    positions: list[int],
    interventions: list[causality.Intervention],
    controlled: list[causality.Intervention],
    random: int,
    activation_differences: int,
    rows: int,
    max_length: int,
    after: int,
    batch: int,
    seed: int,
) -> None:
    job.keep_freed_memory()
    found, activations = arrays.read_differences(differences), arrays.Activations(base)
    tokenizer = load_tokenizer(model)
    files = {"own": own, "unrelated": unrelated, "chat": chat}
    options = {"n": rows, "max_length": max_length, "kind": kind}
    texts = {
        text: causality.read_texts(tokenizer, read_rows(file), source=str(file), **options)
        for text, file in files.items()
    }
    pair = weights.load_pair(
        model, adapter, dtype, attention=attention, reference=reference or None
    )
    measured = []
    for index, layer in enumerate(found.layers):
        directions = causality.directions(
            found,
            activations,
            index=index,
            positions=positions,
            random=random,
            activation_differences=activation_differences,
            seed=seed,
            name=name,
        )
        plan = causality.Plan(
            directions, int(layer), interventions, controlled, positions, after, batch
        )
        measured.append(causality.effects(pair, texts, plan))
    tables.write(effects, pd.concat(measured), "effects")


if __name__ == "__main__":
    job.run(main, snakemake)
