"""
Choose the directions whose effect on the loss is measured: the mean differences and two controls.

A random direction of a wide space has almost no overlap with where activations vary. A difference
of two activations has, so it is the harder control.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from traces.models.sinks import sinks

if TYPE_CHECKING:
    from traces.artifacts.arrays import Differences

TOKENS = 8
"Tokens of a text among whose activations natural directions are drawn."


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

    activations            : of the base at that layer, [n, d_model], from `activations_in`
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
        "activation_difference": _natural(activations, activation_differences, rng),
    }
    rows = [(kind, number) for kind, found in vectors.items() for number in range(len(found))]
    frame = pd.DataFrame(rows, columns=["direction", "direction_id"])
    frame["position"] = pd.array([*positions, *[None] * (len(rows) - len(positions))], "Int64")
    stacked = np.concatenate(list(vectors.values()))
    units = stacked / np.linalg.norm(stacked, axis=-1, keepdims=True)
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


def _natural(
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
    streams: Iterator[NDArray[np.float32]], *, seed: int, name: str
) -> NDArray[np.float32]:
    """
    Draw some tokens of every text and return the residual stream at each of them, [n, d_model].

    streams    : a text after the other, [sequence, d_model]
    seed, name : of the draw

    The first token is left out, and so is every attention sink: on a pretrained model a third of
    all differences would otherwise be one direction, that of the sink.

    Raises ValueError where no text has a second token, and for values that are not finite.
    """
    rng = np.random.default_rng([seed, *name.encode()])
    drawn = [text[1 + rng.permutation(len(text) - 1)[:TOKENS]] for text in streams if len(text) > 1]
    if not drawn:
        raise ValueError(f"{name}: found no text of two tokens, expected some to draw from")
    found = np.concatenate(drawn)
    # An infinite one would pass for a sink, and be left out without a word.
    if not np.isfinite(found).all():
        raise ValueError(f"{name}: found activations of the base that are no finite numbers")
    norms = np.linalg.norm(found, axis=-1)
    return found[~sinks(norms, np.median(norms))]
