"""Collect what readers say of all organisms: of a ladder's batches, or of the study's own."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from traces import job
from traces.artifacts import tables
from traces.artifacts.arrays import read_differences
from traces.artifacts.scores import read_scores
from traces.benchmark.adjusted import read_bases, with_adjusted
from traces.benchmark.collected import Compared, Results, expressed, organism_rows, read_rows
from traces.benchmark.ladder import candidate_words
from traces.benchmark.said import Domains
from traces.corpora.tokens import load_tokenizer


def main(
    batches: list[Path],
    token_scores: list[Path],
    models: list[Path],
    words: list[Path],
    losses: list[Path],
    readings: list[Path],
    scores: list[Path],
    statistics: list[Path],
    differences: list[Path],
    made: list[Path],
    compared: Compared,
    adjusted: list[str],
    pilot_seeds: list[int],
) -> None:
    if batches:
        _stack(batches, token_scores, made, adjusted, pilot_seeds)
        return
    strength = expressed(tables.read(losses[0]))
    parts = [{"organisms": organism_rows(compared.members, strength)}]
    each = len(compared.readers.readers)
    by_member = [readings[at : at + each] for at in range(0, len(readings), each)]
    averaged = [read_differences(one) for one in differences]
    files = zip(compared.members, by_member, scores, statistics, averaged, strict=True)
    domains, positions = _Domains(compared, models, words), compared.positions(averaged)
    for member, read, scored, measured, difference in job.progress(list(files), "organisms"):
        token_id, found = read_scores(scored)
        by_reader = {path.stem: tables.read(path) for path in read}
        results = Results(by_reader, found, difference, tables.read(measured))
        told = domains.of(member.model, token_id), compared, positions[member.model]
        parts.append(read_rows(member, results, *told))
    for path in made:
        rows = [part[path.stem] for part in parts if path.stem in part]
        tables.write(path, pd.concat(rows, ignore_index=True), path.stem)


def _stack(
    batches: list[Path],
    token_scores: list[Path],
    made: list[Path],
    adjusted: list[str],
    pilot_seeds: list[int],
) -> None:
    found = {
        path.stem: pd.concat(
            [tables.read(one) for one in batches if one.stem == path.stem], ignore_index=True
        )
        for path in made
    }
    # The pilot is among nobody's others, and has none of them.
    found["organisms"]["pilot"] |= found["organisms"]["seed"].isin(pilot_seeds)
    if adjusted:
        held = read_bases({path: path.parent.parent.name for path in token_scores})
        found = with_adjusted(found, held, adjusted, candidate_words())
    for path in made:
        tables.write(path, found[path.stem], path.stem)


class _Domains:
    """The domains of each model, which all of its files share."""

    def __init__(self, compared: Compared, models: list[Path], words: list[Path]) -> None:
        every = iter(words)
        self.words = {
            model: {name: tables.read(next(every))["word"].tolist() for name in names}
            for model, names in compared.candidates.items()
        }
        self.folders = {path.name: path for path in models}
        self.found: dict[str, tuple[list[int], Domains]] = {}

    def of(self, model: str, token_id: NDArray[np.int64]) -> Domains:
        ids = token_id.tolist()
        if model not in self.found or self.found[model][0] != ids:
            tokenizer = load_tokenizer(self.folders[model])
            named = [str(tokenizer.decode([one])) for one in ids]
            self.found[model] = ids, Domains(self.words[model], named)
        return self.found[model][1]


if __name__ == "__main__":
    job.run(main, snakemake)
