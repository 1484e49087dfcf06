"""
The contract of readers: what each is given, and what it gives back.

A reader is a function of this kind in a module of its own, and an entry in
`traces/config/readers.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

import pandas as pd
from pydantic import BaseModel

from traces.config.readers import SIGNS, Reader, reader
from traces.config.vocabularies import Side
from traces.readers import directions

if TYPE_CHECKING:
    from traces.artifacts.arrays import Differences

PLACE = ("layer", "position")
TOKEN = ("rank", "token_id", "token", "probability")


class Settings(BaseModel, frozen=True, extra="forbid"):
    """What a job is told of the study's section `lenses`."""

    # What is read of the differences: names of `directions.READINGS` or `PARTS`.
    readings: tuple[str, ...]
    # Tokens kept of every reading.
    top_k: int
    # The readers, each with its own settings.
    readers: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Loaded:
    """What is in memory of the models. The tokenizer is the base's, and so the tuned model's."""

    tokenizer: Any
    # The final norm and unembedding of the tuned model or of its base.
    readout: Callable[[Side], Any]
    # `weights.Pair`, both models; None for a reader that needs the readout alone.
    pair: Any = None


@dataclass(frozen=True)
class Probe:
    """What is read, and which tokens may be named."""

    differences: "Differences"
    # Which of its directions: names of `directions.READINGS` or `PARTS`.
    readings: Sequence[str]
    top_k: int
    # Token ids that may be ranked; None for all.
    vocabulary: Sequence[int] | None = None


class Read(Protocol):
    """
    A reader's function.

    settings : its own, as its entry takes them from the study
    returns  : reading, the axes of its entry, rank (from 0), token_id, token, probability (or
               another score); one row a token
    """

    def __call__(
        self, loaded: Loaded, probe: Probe, settings: Mapping[str, Any]
    ) -> pd.DataFrame: ...


def read_with(
    reader: Reader, loaded: Loaded, probe: Probe, settings: Mapping[str, Any]
) -> pd.DataFrame:
    """
    What one reader reads, with a layer and a position in every row.

    A reader without layers or positions says the same of each, so that its rows stand beside every
    layer and position that is read.

    Raises ValueError if the columns are not those that the entry promises.
    """
    module, function = reader.read.split(":")
    read: Read = getattr(import_module(module), function)
    frame = read(loaded, probe, settings)
    expected = {"reading", *reader.axes, *TOKEN}
    if set(frame.columns) != expected:
        raise ValueError(
            f"{reader.read}: found the columns {sorted(frame.columns)}, expected {sorted(expected)}"
        )
    for name in PLACE:
        if name not in reader.axes:
            values = getattr(probe.differences, f"{name}s")
            frame = frame.merge(pd.DataFrame({name: values}), how="cross")
    return frame


def planned_lists(
    name: str, differences: "Differences", readings: Sequence[str], settings: Mapping[str, Any]
) -> pd.DataFrame:
    """
    Every list of tokens that a reader was asked for, also those that it found no token for.

    settings : the reader's own, as its entry takes them from the study
    returns  : reading, layer, position, and the other axes of the reader's entry; one row a list
    """
    axes = reader(name).axes
    if set(PLACE) <= set(axes):
        planned, _ = directions.readings(differences, readings)
    else:  # what it says stands beside every place
        places = [readings, differences.layers, differences.positions]
        planned = pd.MultiIndex.from_product(places, names=["reading", *PLACE]).to_frame(
            index=False
        )
    for axis in axes:
        if axis not in PLACE:
            values = SIGNS if axis == "sign" else settings[f"{axis}s"]
            planned = planned.merge(pd.DataFrame({axis: list(values)}), how="cross")
    return planned
