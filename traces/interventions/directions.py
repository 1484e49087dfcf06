"""
Choose the directions whose effect on the loss is measured: the mean differences and two controls.

A random direction of a wide space has almost no overlap with where activations vary. A difference
of two activations has, so it is the harder control.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from traces.activations.natural import natural

if TYPE_CHECKING:
    from traces.artifacts.arrays import Differences


class Directions(NamedTuple):
    """Hold the directions to replace, with a row that describes each."""

    rows: pd.DataFrame
    "direction, direction_id (from 0 for each direction), position (missing for the controls)."
    units: NDArray[np.float32]
    "Vectors of length 1, [direction, d_model]."


def directions(
    differences: "Differences",
    activations: NDArray[np.float32],
    *,
    index: int,
    positions: Sequence[int],
    random: int,
    activation_differences: int,
    seed: int,
    name: str,
) -> Directions:
    """
    Collect the mean differences at `positions`, and random and natural directions as controls.

    activations            : of the base at that layer, [n, d_model], from `natural.activations_in`
    index                  : of the layer, among those of `differences`
    random                 : how many Gaussian directions
    activation_differences : how many differences of two of `activations`
    seed, name             : of the controls; `name` is the checkpoint's

    Raises ValueError for a position that was not read, a difference of length 0, and activations
    that are all the same.
    """
    # The draw is named by the checkpoint: with the same controls for every training seed, intervals
    # over seeds left out what the draw contributes, and were too narrow (docs/log.md).
    rng = np.random.default_rng([seed, int(differences.layers[index]), *name.encode()])
    vectors = {
        "difference": _means(differences, index, positions, name),
        "random": rng.normal(size=(random, differences.mean.shape[-1])),
        "activation_difference": natural(activations, activation_differences, rng),
    }
    rows = [(kind, number) for kind, found in vectors.items() for number in range(len(found))]
    frame = pd.DataFrame(rows, columns=["direction", "direction_id"])
    frame["position"] = pd.array([*positions, *[None] * (len(rows) - len(positions))], "Int64")
    stacked = np.concatenate(list(vectors.values()))
    units = stacked / np.linalg.norm(stacked, axis=-1, keepdims=True)
    return Directions(frame, units.astype(np.float32))


def of_differences(
    differences: "Differences", *, index: int, positions: Sequence[int], name: str
) -> Directions:
    """
    The mean differences at `positions` alone, without controls.

    Raises ValueError for a position that was not read, and for a difference of length 0.
    """
    means = _means(differences, index, positions, name)
    numbers = range(len(positions))
    frame = pd.DataFrame({"direction": "difference", "direction_id": numbers})
    frame["position"] = pd.array(list(positions), "Int64")
    units = means / np.linalg.norm(means, axis=-1, keepdims=True)
    return Directions(frame, units.astype(np.float32))


def _means(
    differences: "Differences", index: int, positions: Sequence[int], name: str
) -> NDArray[np.float64]:
    read = differences.positions.tolist()
    for position in positions:
        if position not in read:
            raise ValueError(
                f"causality.positions: found {position}, expected positions that were read ({read})"
            )
    means = differences.mean[index, [read.index(one) for one in positions]].astype(np.float64)
    for position, length in zip(positions, np.linalg.norm(means, axis=-1), strict=True):
        if not (length > 0 and np.isfinite(length)):
            raise ValueError(
                f"{name}, position {position}: a difference of length {length} has no direction "
                "to project out (was anything trained?)"
            )
    return means
