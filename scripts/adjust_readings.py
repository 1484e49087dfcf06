"""Rank tokens by what an organism's readings say that those of other organisms do not."""

from pathlib import Path

import pandas as pd

from traces import job
from traces.analysis.adjusted import adjusted, probabilities
from traces.artifacts import tables
from traces.artifacts.scores import Scores, read_scores
from traces.config.checkpoints import Checkpoint
from traces.config.readers import reader
from traces.corpora.tokens import load_tokenizer
from traces.readers.ranking import named


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
    token_id, first = read_scores(scores[0])
    found = {checkpoints[0]: first}
    for name, file in zip(checkpoints[1:], scores[1:], strict=True):
        found[name] = read_scores(file, token_id)[1]
    tokenizer = load_tokenizer(model)

    read = []
    for checkpoint, names in compared.items():
        for lens in readers:
            source = reader(lens).of
            plain = reader(source).of
            others: dict[str, list[Scores]] = {}
            for name in names:
                others.setdefault(Checkpoint.parse(name).organism, []).append(found[name][source])
            own = adjusted(found[checkpoint][source], others)
            chances = probabilities(own.lists, found[checkpoint][plain])
            rows = named(own.lists, own.score, chances, tokenizer, token_id, top_k, floor)
            read.append(rows.assign(checkpoint=checkpoint, lens=lens))
    tables.write(readings, pd.concat(read), "adjusted_readings")


if __name__ == "__main__":
    job.run(main, snakemake)
