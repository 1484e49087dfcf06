"""Compare steered, randomly steered and unsteered text with the organism's data and with others."""

import json
from pathlib import Path

import pandas as pd

from traces import job
from traces.artifacts import tables
from traces.config.schema import Similarity
from traces.corpora.rows import TEXTS, read_rows
from traces.interventions import similarity
from traces.judges.coherence import FluencyJudge, coherence, group_shares


def main(
    written: Path,
    strength: Path,
    texts: list[Path],
    words: Path,
    similarities: Path,
    settings: Similarity,
    seed: int,
) -> None:
    steered = pd.DataFrame(tables.read_lines(written)).astype({"position": "Int64"})
    others = {
        name: similarity.drawn_texts(read_rows(file), settings.compared, seed)
        for name, file in zip(TEXTS, texts, strict=True)
    }
    found = similarity.similarity(steered, others, similarity.embedder(settings.embedder))
    graded = coherence(steered, FluencyJudge(settings.coherent_quantile))
    shares = group_shares(graded, similarity.GROUP, tables.read(words)["word"])
    chosen = pd.DataFrame(json.loads(strength.read_text())["chosen"])
    chosen = chosen.rename(columns={"coherent": "strength_coherent"})
    found = found.merge(shares, on=similarity.GROUP).merge(
        chosen[["steered_model", "position", "strength_coherent"]],
        on=["steered_model", "position"],
        how="left",
    )
    found = found.assign(embedder=settings.embedder)
    tables.write(similarities, found, "steering_similarity")


if __name__ == "__main__":
    job.run(main, snakemake)
