"""Compare steered, randomly steered and unsteered text with the organism's data and with others."""

import json
from pathlib import Path

import pandas as pd

from traces import job
from traces.artifacts import tables
from traces.corpora.rows import read_rows
from traces.interventions import similarity
from traces.judges.coherence import FluencyJudge, coherence, group_shares


def main(
    written: Path,
    strength: Path,
    own: Path,
    unrelated: Path,
    chats: Path,
    words: Path,
    similarities: Path,
    embedder: str,
    compared: int,
    coherent_quantile: float,
    seed: int,
) -> None:
    texts = pd.DataFrame(tables.read_lines(written)).astype({"position": "Int64"})
    files = {"own": own, "unrelated": unrelated, "chat": chats}
    others = {
        name: similarity.drawn_texts(read_rows(file), compared, seed)
        for name, file in files.items()
    }
    found = similarity.similarity(texts, others, similarity.embedder(embedder))
    graded = coherence(texts, FluencyJudge(coherent_quantile))
    shares = group_shares(graded, similarity.GROUP, tables.read(words)["word"])
    chosen = pd.DataFrame(json.loads(strength.read_text())["chosen"])
    chosen = chosen.rename(columns={"coherent": "strength_coherent"})
    found = found.merge(shares, on=similarity.GROUP).merge(
        chosen[["steered_model", "position", "strength_coherent"]],
        on=["steered_model", "position"],
        how="left",
    )
    tables.write(similarities, found.assign(embedder=embedder), "steering_similarity")


if __name__ == "__main__":
    job.run(main, snakemake)
