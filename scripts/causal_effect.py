"""Take directions out of a model, token by token, and measure what that does to its loss."""

from pathlib import Path

import pandas as pd

from traces import job
from traces.activations import natural
from traces.artifacts import arrays, tables
from traces.config.schema import CausalEffect, Draws
from traces.config.vocabularies import Kind
from traces.corpora.rows import TEXTS, read_rows
from traces.interventions import causality
from traces.interventions import directions as chosen
from traces.models.pairs import PairFiles


def main(
    differences: Path,
    pair: PairFiles,
    reference: Path | list[Path],
    texts: list[Path],
    effects: Path,
    kind: Kind,
    settings: CausalEffect,
    draws: Draws,
) -> None:
    job.keep_freed_memory()
    found = arrays.read_differences(differences)
    tokenizer = pair.load_tokenizer()
    # Natural directions come from unrelated texts behind those that are measured, if there are any.
    behind = 2 * settings.activation_differences
    options = {"max_length": settings.max_length, "kind": kind}
    read = {
        name: causality.read_texts(
            tokenizer,
            read_rows(file),
            n=settings.rows + (behind if name == "unrelated" else 0),
            source=str(file),
            **options,
        )
        for name, file in zip(TEXTS, texts, strict=True)
    }
    drawn_from = read["unrelated"][-behind:]
    measured_on = {name: some[: settings.rows] for name, some in read.items()}
    models = pair.load_pair(reference or None)
    measured = []
    for index, layer in enumerate(found.layers):
        streams = causality.streams_of_base(models, drawn_from, int(layer), settings.batch)
        directions = chosen.directions(
            found,
            natural.activations_in(streams, seed=draws.seed, name=draws.name),
            index=index,
            positions=settings.positions,
            random=settings.random,
            activation_differences=settings.activation_differences,
            seed=draws.seed,
            name=draws.name,
        )
        plan = causality.Plan(
            directions,
            int(layer),
            settings.interventions,
            settings.controlled,
            settings.positions,
            settings.after,
            settings.batch,
        )
        measured.append(causality.effects(models, measured_on, plan))
    tables.write(effects, pd.concat(measured), "effects")


if __name__ == "__main__":
    job.run(main, snakemake)
