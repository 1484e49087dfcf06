"""Rank tokens by what an organism's readings say that those of other organisms do not."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from traces import job
from traces.analysis.adjusted import adjusted, mean_of
from traces.artifacts import tables
from traces.artifacts.scores import Scores, read_scores
from traces.config.checkpoints import Checkpoint
from traces.config.readers import reader
from traces.corpora.tokens import load_tokenizer
from traces.readers.ranking import named, probabilities


def main(
    scores: list[Path],
    model: Path,
    readings: Path,
    checkpoints: list[str],
    compared: dict[str, list[str]],
    readers: list[str],
    top_k: int,
    floor: float,
) -> None:
    files = dict(zip(checkpoints, scores, strict=True))
    token_id, _ = read_scores(scores[0])
    # Only what is subtracted is held of all checkpoints, and the rest of one at a time: a file has
    # every token's score in every list.
    means = {
        (group, lens): mean
        for group in sorted({_group(name) for names in compared.values() for name in names})
        for lens, mean in _means(group, files, token_id, readers).items()
    }
    tokenizer = load_tokenizer(model)
    read = []
    for checkpoint, names in compared.items():
        groups = dict.fromkeys(map(_group, names))
        found = read_scores(files[checkpoint], token_id)[1]
        for lens in readers:
            source = found[reader(lens).of]
            own = adjusted(source, [means[group, lens] for group in groups])
            chances = probabilities(own.lists, found[reader(reader(lens).of).of])
            rows = named(own.lists, own.score, chances, tokenizer, token_id, top_k, floor)
            read.append(rows.assign(checkpoint=checkpoint, lens=lens))
    tables.write(readings, pd.concat(read), "adjusted_readings")


def _group(checkpoint: str) -> tuple[str, str]:
    """The organism and recipe of a checkpoint: its seeds are averaged first."""
    parsed = Checkpoint.parse(checkpoint)
    return parsed.organism, parsed.recipe.name


def _means(
    group: tuple[str, str],
    files: Mapping[str, Path],
    token_id: NDArray[np.int64],
    readers: Sequence[str],
) -> dict[str, Scores]:
    """The mean scores of one organism and recipe over its seeds, by adjusted reader."""
    seeds = [read_scores(files[name], token_id)[1] for name in files if _group(name) == group]
    return {lens: mean_of([one[reader(lens).of] for one in seeds]) for lens in readers}


if __name__ == "__main__":
    job.run(main, snakemake)
