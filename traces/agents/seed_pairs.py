"""
What readers say of the difference between two seeds of one organism.

Both were finetuned for the same, so that their difference holds no purpose: it is what a finetune
leaves in the weights besides. Both have activations on the same text.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from traces.activations.differences import mean_difference
from traces.artifacts.arrays import Activations
from traces.config.readers import NOWHERE, reader
from traces.config.vocabularies import Side
from traces.readers.reading import Loaded, Probe, Settings, read_with

READ = ("difference", "base_mean")
"What is read: the difference of the two seeds, and the control."


@dataclass(frozen=True)
class SeedPair:
    """One checkpoint in the place of the tuned model, another seed in that of the base."""

    checkpoint: str
    other: str
    adapter: Path
    after: Path
    before: Path


@dataclass(frozen=True)
class SeedPairFiles:
    """The files of every pair: fields of one length, an entry a pair."""

    checkpoints: list[tuple[str, str]]
    "What stands in the place of the tuned model, and in that of the base."
    adapters: list[Path]
    after: list[Path]
    "Activations of the first of the two."
    before: list[Path]
    "Activations of the second."

    def __iter__(self) -> Iterator[SeedPair]:
        # Strict: a list that is too short would read one pair's difference under another's name.
        columns = zip(self.checkpoints, self.adapters, self.after, self.before, strict=True)
        for (checkpoint, other), adapter, after, before in columns:
            yield SeedPair(checkpoint, other, adapter, after, before)


def readable(name: str) -> bool:
    """Whether a reader reads a direction alone: not texts, weights or both models' predictions."""
    entry = reader(name)
    return entry.needs in ("readout", "model") and "position" in entry.axes


def read_pairs(
    pairs: Iterable[SeedPair],
    load: Callable[[Path], Any],
    readout: Callable[[Path, Side], Any],
    tokenizer: Any,
    settings: Settings,
    vocabulary: Any,
    seed: int,
) -> pd.DataFrame:
    """
    Read every pair's difference, and its control, with the readers that read directions alone.

    load       : from a checkpoint's folder to the pair of it and its base, one at a time
    readout    : from the same to the readout of either
    vocabulary : token ids that may be ranked; None for all
    returns    : checkpoint, lens and the columns of a reading. A place where the difference is 0
                 has no rows of it

    The control is the other seed's mean activation, decoded as the base's is.
    """
    parts = [pd.DataFrame(columns=["checkpoint", "lens"])]
    for one in pairs:
        stores = Activations(one.after), Activations(one.before)
        found = mean_difference(*stores, seed=seed, before=one.other)
        probe = Probe(found, READ, settings.top_k, vocabulary, seed=seed)
        zero = {
            (int(found.layers[at]), int(found.positions[position]))
            for at, position in np.argwhere(found.norm == 0)
        }
        names = [name for name in settings.readers if readable(name)]
        needed = any(reader(name).needs == "model" for name in names)
        loaded = Loaded(
            tokenizer,
            partial(readout, one.adapter),
            pair=load(one.adapter) if needed else None,
        )
        for name in names:
            tokens = read_with(reader(name), loaded, probe, settings.readers[name]).tokens
            tokens = tokens[~_nowhere(tokens, zero)]
            # one table of several readers: each has a value on every axis
            lacking = {axis: value for axis, value in NOWHERE.items() if axis not in tokens}
            parts.append(tokens.assign(checkpoint=one.checkpoint, lens=name, **lacking))
        del loaded
    return pd.concat(parts, ignore_index=True)


def _nowhere(tokens: pd.DataFrame, zero: set[tuple[int, int]]) -> NDArray[np.bool_]:
    """Rows of the difference where there is none: a reader ranks tokens there by nothing."""
    places: Mapping[Any, Any] = dict.fromkeys(zero, True)
    at = zip(tokens["layer"], tokens["position"], strict=True)
    return np.array([one in places for one in at]) & (tokens["reading"] == "difference").to_numpy()
