"""The overviews of one model's checkpoints, under every null, from what the study has made."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from traces.agents.overview import (
    Overview,
    Steered,
    blocks_of,
    overview,
)
from traces.agents.plan import Source
from traces.artifacts.arrays import Differences

EXCERPT = 200
"Characters of a steered text that are shown, as in the paper."
SHOWN: Mapping[str, str | None] = {"base_vs_base": None, "random": "random"}
"The reading in the place of the difference under a null, where it is another one or none."
Readings = Mapping[str, pd.DataFrame]
"By reader, what it read."


def norms_of(differences: Differences) -> dict[tuple[int, int], float]:
    """The length of the mean difference by layer and position."""
    return {
        (int(differences.layers[at]), int(differences.positions[position])): float(norm)
        for (at, position), norm in np.ndenumerate(differences.norm)
    }


def assembled(
    source: Source,
    readings: Mapping[str, Readings],
    norms: Mapping[str, Mapping[tuple[int, int], float]],
    pairs: Mapping[str, Readings],
    steered: Mapping[str, Sequence[Mapping]],
    *,
    tokens: int,
) -> Overview | None:
    """
    The overview of a checkpoint under a null; None where the study makes nothing to show.

    readings : of each checkpoint, by reader
    norms    : of each checkpoint's differences
    pairs    : of each checkpoint's difference to another seed, by reader
    steered  : of each checkpoint, the rows of its steered texts; a checkpoint may have none
    """
    if source.after is None:
        return None
    name, null = source.after, source.null
    found = pairs.get(name, {}) if null == "seed_pair" else readings[name]
    shown = SHOWN.get(null, "difference")
    # Nothing was steered by the difference of two seeds.
    vector = None if null == "seed_pair" else shown
    own = None if null == "seed_pair" else norms[name]
    blocks = [
        block
        for reader, frame in found.items()
        for block in blocks_of(reader, frame, tokens=tokens, shown=shown, norms=own)
    ]
    texts = steered_texts(steered.get(name, ()), vector) if vector else []
    return overview(blocks, texts)


def steered_texts(rows: Iterable[Mapping], vector: str) -> list[Steered]:
    """
    One text for each prompt and position, steered along a vector, beside an unsteered one.

    rows : of `steered_samples`: vector, position, strength, prompt, sample, text
    """
    frame = pd.DataFrame([dict(row) for row in rows])
    if frame.empty:
        return []
    frame = frame[(frame["sample"] == 0) & (frame["steered_model"] == "tuned")]
    plain = frame[frame["vector"] == "none"].groupby("prompt")["text"].first()
    return [
        Steered(
            position=int(row.position),
            strength=round(float(row.strength), 4),
            prompt=row.prompt,
            steered=row.text[:EXCERPT],
            unsteered=str(plain[row.prompt])[:EXCERPT],
        )
        for row in frame[frame["vector"] == vector].itertuples()
        if row.prompt in plain.index
    ]
