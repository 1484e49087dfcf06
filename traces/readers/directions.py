"""Directions that readers read: the mean difference, its controls, and parts of it."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def over_positions(differences: Any, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """
    Average vectors [layer, position, d_model] over positions: [layer, d_model].

    A position where most texts have an attention sink is left out, unless all are such ones.
    """
    sunk = differences.mostly_sinks
    means = vectors.mean(axis=1)
    # The difference at a sink is as long as all others together. Where there is nothing else it is
    # what positions share.
    for layer in np.flatnonzero(sunk.any(axis=1) & ~sunk.all(axis=1)):
        means[layer] = vectors[layer, ~sunk[layer]].mean(axis=0)
    return means


def _shared(differences: Any) -> NDArray[np.float32]:
    mean = differences.mean
    return np.broadcast_to(over_positions(differences, mean)[:, None], mean.shape)


def _singular(differences: Any, rank: int) -> NDArray[np.float32]:
    if differences.singular is None:
        raise ValueError("the singular directions were not computed with these differences")
    return differences.singular[:, :, rank - 1]


def _without(differences: Any, ranks: int) -> NDArray[np.float32]:
    """The mean less its components along the first `ranks` singular directions."""
    left = differences.mean
    for rank in range(1, ranks + 1):
        unit = _singular(differences, rank)
        left = left - (left * unit).sum(axis=-1, keepdims=True) * unit
    return left


# What is read of `store.Differences`, [layer, position, d_model]: the difference and its controls,
READINGS: dict[str, Callable[[Any], NDArray[np.float32]]] = {
    "difference": lambda found: found.mean,
    "tuned_mean": lambda found: found.tuned_mean,
    "base_mean": lambda found: found.base_mean,
    "random": lambda found: found.random,
}
# and parts of the difference, which may be nothing.
PARTS: dict[str, Callable[[Any], NDArray[np.float32]]] = {
    "robust": lambda found: found.robust_mean,
    "shared": _shared,
    "position_specific": lambda found: found.mean - _shared(found),
    "singular_1": lambda found: _singular(found, 1),
    "singular_2": lambda found: _singular(found, 2),
    "without_singular_1": lambda found: _without(found, 1),
    "without_singular_2": lambda found: _without(found, 2),
}
NOTHING = 1e-5
"A part is nothing where it is shorter than this share of the mean: what rounding leaves."


def readings(differences: Any, names: Sequence[str]) -> tuple[pd.DataFrame, NDArray[np.float32]]:
    """
    The vectors of `store.Differences` that are read, and what each one is.

    names   : of READINGS or PARTS
    returns : reading, layer (block index) and position, one row a vector; vectors [n, d_model].
              Parts that are nothing are left out, such as what is specific to the only position,
              and so is what is zero, such as the difference of a checkpoint that equals its base

    robust is the mean without the texts that have an attention sink at a position. shared is the
    mean over the positions read at a layer but those that are attention sinks in most texts;
    position_specific is what is left without it; singular_K
    are the directions of `differences.singular_directions`, without_singular_K is the mean with the
    first K of them taken out.

    Raises ValueError for singular readings of differences that lack those directions.
    """
    frame, vectors = _asked(differences, names)
    # Not `> 0`: what is no number is for the reader to refuse.
    kept = np.linalg.norm(vectors, axis=-1) != 0
    return frame[kept].reset_index(drop=True), vectors[kept]


def planned(differences: Any, names: Sequence[str]) -> pd.DataFrame:
    """
    What the vectors of `readings` are, and beside them what is zero: its lists are empty.

    A difference of zero is a result and has a row in every table. A part that is nothing is none.
    """
    return _asked(differences, names)[0]


def _asked(differences: Any, names: Sequence[str]) -> tuple[pd.DataFrame, NDArray[np.float32]]:
    """Every vector that is asked for but the parts that are nothing, and what it is."""
    axes = [names, differences.layers, differences.positions]
    rows = pd.MultiIndex.from_product(axes, names=["reading", "layer", "position"])
    frame = rows.to_frame(index=False)
    vectors = np.concatenate([(READINGS | PARTS)[name](differences) for name in names])
    vectors = vectors.reshape(len(frame), -1)
    least = NOTHING * np.tile(np.linalg.norm(differences.mean, axis=-1).ravel(), len(names))
    kept = ~frame["reading"].isin(PARTS) | (np.linalg.norm(vectors, axis=-1) > least)
    return frame[kept].reset_index(drop=True), vectors[kept]
