"""
The files of what was read of one base model's checkpoints, and of the weights that are asked.

A script takes one of these as an argument; its fields are the names that a rule gives the files.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pandas as pd

from traces.artifacts import arrays, tables
from traces.config.checkpoints import BASE
from traces.config.registries import Loading


@dataclass(frozen=True)
class ReadFiles:
    """What was read of some checkpoints, and of the differences between two seeds of them."""

    readings: list[Path]
    "Of every checkpoint by every reader, those of one checkpoint together."
    differences: list[Path]
    "Of every checkpoint."
    pairs: Path | list[Path]
    "What readers say of two seeds' differences; an empty list without such a pair."
    checkpoints: list[str]
    readers: list[str]

    def read(self) -> dict[str, dict[str, pd.DataFrame]]:
        """What was read of each checkpoint, by reader."""
        found: dict[str, dict[str, pd.DataFrame]] = {name: {} for name in self.checkpoints}
        named = product(self.checkpoints, self.readers)
        for (name, reader), path in zip(named, self.readings, strict=True):
            found[name][reader] = tables.read(path)
        return found

    def read_of_pairs(self) -> dict[str, dict[str, pd.DataFrame]]:
        """The same of each checkpoint's difference to another seed; nothing of those without."""
        found: dict[str, dict[str, pd.DataFrame]] = {}
        if isinstance(self.pairs, Path):
            for (name, reader), frame in tables.read(self.pairs).groupby(["checkpoint", "lens"]):
                found.setdefault(str(name), {})[str(reader)] = frame
        return found

    def each_difference(self) -> Iterator[tuple[str, arrays.Differences]]:
        """Every checkpoint with its difference, in order."""
        # One after another: whoever needs a few numbers of each need not hold all of them.
        for name, path in zip(self.checkpoints, self.differences, strict=True):
            yield name, arrays.read_differences(path)


@dataclass(frozen=True)
class SubjectFiles:
    """The weights that investigators ask or steer; none where a running server has them."""

    weights: list[Path]
    "Folder of the base, then of each finetune."
    loaded: list[str]
    "The finetunes' checkpoints, in this order."
    loading: Loading

    def folders(self) -> dict[str, Path]:
        """The folder of each checkpoint by its name, the base among them."""
        if not self.weights:
            return {}
        return dict(zip([BASE, *self.loaded], self.weights, strict=True))
