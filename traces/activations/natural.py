"""
Draw natural directions: differences of two activations of the base.

A random direction of a wide space has almost no overlap with where activations vary. A difference
of two activations has, so it is the harder control.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from traces.models.sinks import sinks

TOKENS = 8
"Tokens of a text among whose activations natural directions are drawn."


def natural(
    activations: NDArray[np.float32], n: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw differences of two activations, [n, d_model]; a pair of equal ones is drawn again."""
    found = []
    # Bounded, or a corpus of one text again and again would never end.
    for _ in range(20 * n):
        first, second = activations[rng.integers(len(activations), size=2)].astype(np.float64)
        if np.linalg.norm(first - second) > 1e-6 * np.linalg.norm(first):
            found.append(first - second)
        if len(found) == n:
            return np.stack(found)
    raise ValueError(
        f"of {20 * n} pairs of the base's activations {len(found)} differ, expected {n}; name a "
        "corpus of other texts in `corpora`"
    )


def activations_in(
    streams: Iterable[NDArray[np.float32]], *, seed: int, name: str, skip: int = 1
) -> NDArray[np.float32]:
    """
    Draw some tokens of every text and return the residual stream at each of them, [n, d_model].

    streams    : a text after the other, [sequence, d_model]
    seed, name : of the draw
    skip       : first tokens of every text that are left out

    The first token is left out, and so is every attention sink: on a pretrained model a third of
    all differences would otherwise be one direction, that of the sink.

    Raises ValueError where no text has a token behind those, and for values that are not finite.
    """
    rng = np.random.default_rng([seed, *name.encode()])
    drawn = [
        text[skip + rng.permutation(len(text) - skip)[:TOKENS]]
        for text in streams
        if len(text) > skip
    ]
    if not drawn:
        raise ValueError(f"{name}: found no text of {skip + 1} tokens, expected some to draw from")
    found = np.concatenate(drawn)
    # An infinite one would pass for a sink, and be left out without a word.
    if not np.isfinite(found).all():
        raise ValueError(f"{name}: found activations of the base that are no finite numbers")
    norms = np.linalg.norm(found, axis=-1)
    return found[~sinks(norms, np.median(norms))]
