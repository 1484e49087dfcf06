"""
Null directions, and what a reader says of them: what any direction reads like.

They are read once a layer and model, with the readings. So the standard scores of every reader, and
the readers that subtract what any direction says, share them.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from traces.activations.natural import activations_in, natural
from traces.artifacts.scores import Moments, Scores, standardised
from traces.config.vocabularies import Null
from traces.seeding import array_generator

if TYPE_CHECKING:
    from traces.artifacts.arrays import Activations, Differences

TEXTS_A_DIRECTION = 2
"Texts whose activations are drawn from, for each natural direction."


def drawn(
    differences: "Differences",
    names: Sequence[Null],
    *,
    directions: int,
    seed: int,
    base: "Activations | None",
) -> dict[Null, NDArray[np.float32]]:
    """
    Draw null directions for every layer, as long as the mean difference is over the positions.

    names      : random (Gaussian), activations (differences of two activations of the base)
    directions : how many of each
    base       : the base's activations on the same layers; needed for activations alone
    returns    : [layer, direction, d_model] by name

    They are drawn by name, so that none is the direction `random` that is read as a control.

    Raises ValueError for activations that are all the same.
    """
    n_layers, _, d_model = differences.mean.shape
    lengths = np.asarray(differences.norm, dtype=np.float64).mean(axis=1)
    found: dict[Null, NDArray[np.float32]] = {}
    for name in names:
        made = np.empty((n_layers, directions, d_model), dtype=np.float32)
        for index, layer in enumerate(differences.layers):
            rng = array_generator(seed, "null", name, int(layer))
            if name == "random":
                vectors = rng.normal(size=(directions, d_model))
            else:
                assert base is not None, "natural directions are drawn from a store"
                vectors = natural(_pool(base, index, directions, seed), directions, rng)
            units = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
            made[index] = units * (lengths[index] or 1.0)
        found[name] = made
    return found


def _pool(base: "Activations", index: int, directions: int, seed: int) -> NDArray[np.float32]:
    """Activations of the base at one layer, [n, d_model], of its first texts."""
    _, n_samples, n_positions, _ = base.shape
    rows = base.rows(0, min(n_samples, TEXTS_A_DIRECTION * directions))[index]
    # The first token of a document is an attention sink mostly; where it alone is read, no other
    # activation is known.
    skip = 1 if base.positions[0] == 0 and n_positions > 1 else 0
    return activations_in(rows, seed=seed, name=str(base.path.name), skip=skip)


def compared(
    rows: pd.DataFrame,
    score: NDArray[np.float32],
    nulls: Mapping[Null, NDArray[np.float32]],
    *,
    layer: int,
    head: str,
) -> tuple[Scores, Moments]:
    """
    The scores of lists at one layer in one model, and the moments of the null directions there.

    rows  : what names each list
    score : [list, token]
    nulls : scores of null directions, [direction, token], by name
    """
    sets = pd.DataFrame({"layer": layer, "head": head, "null": list(nulls)})
    n_tokens = score.shape[1]
    mean = np.empty((len(sets), n_tokens), dtype=np.float32)
    sd = np.empty_like(mean)
    for index, found in enumerate(nulls.values()):
        mean[index] = found.mean(axis=0, dtype=np.float64)
        sd[index] = found.std(axis=0, dtype=np.float64, ddof=1)
    moments = Moments(sets, mean, sd)
    return standardised(rows, score, moments), moments
