"""
The contract of readers: what each is given, and what it gives back.

A reader is a function of this kind in a module of its own, and an entry in
`traces/config/readers.py`.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel

from traces.artifacts.scores import Moments, Scores
from traces.config.readers import SIGNS, Reader, reader
from traces.config.vocabularies import Null, Side
from traces.readers import directions

if TYPE_CHECKING:
    from traces.activations.dump import Window
    from traces.artifacts.arrays import Differences
    from traces.readers.texts import Text

log = logging.getLogger(__name__)

PLACE = ("layer", "position")
TOKEN = ("rank", "token_id", "token", "probability")
SCORED = "score"
"A further column, of a reader that ranks by another score than the probability."


class Settings(BaseModel, frozen=True, extra="forbid"):
    """What a job is told of the study's section `lenses`."""

    # What is read of the differences: names of `directions.READINGS` or `PARTS`.
    readings: tuple[str, ...]
    # Tokens kept of every reading.
    top_k: int
    # The readers, each with its own settings.
    readers: dict[str, dict[str, Any]]
    # Null directions that are read as well, and how many of each.
    nulls: tuple[Null, ...] = ()
    directions: int = 32


@dataclass(frozen=True)
class Found:
    """What one reader found."""

    # One row a token: reading, the axes of its entry, rank (from 0), token_id, token, probability;
    # and score, where it ranks by another one.
    tokens: pd.DataFrame
    # Of all tokens that may be ranked, for its lists with sign 1 at the scale of its summary
    # metric; None of a reader that has none.
    scores: Scores | None = None
    # What it scores null directions; None of a reader that reads none.
    moments: Moments | None = None
    # What it measured beside tokens, one row a number: layer and position (missing where a number
    # is of none), statistic, value.
    statistics: pd.DataFrame | None = None


@dataclass(frozen=True)
class Loaded:
    """What is in memory of the models. The tokenizer is the base's, and so the tuned model's."""

    tokenizer: Any
    # The final norm and unembedding of the tuned model or of its base.
    readout: Callable[[Side], Any]
    # `weights.Pair`, both models; None for a reader that needs the readout alone.
    pair: Any = None
    # The unrelated text that the differences are of, its first samples at most, a window a sample,
    # as the dump read it: token ids up to the last position, or up to so many from position 0 on
    # where the sample has them. Only for a reader whose entry has `reads_text`.
    texts: Callable[[int, int], Sequence["Window"]] | None = None
    # The texts that both models wrote. Only for a reader that needs samples.
    samples: Callable[[], Sequence["Text"]] | None = None
    # What the reader that this one is derived from has found; None for a reader of its own.
    source: Found | None = None
    # All readers of the job, and what one of them computed that another one needs as well.
    asked: Collection[str] = ()
    shared: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Probe:
    """What is read, and which tokens may be named."""

    differences: "Differences"
    # Which of its directions: names of `directions.READINGS` or `PARTS`.
    readings: Sequence[str]
    top_k: int
    # Token ids that may be ranked; None for all.
    vocabulary: Sequence[int] | None = None
    # Null directions by name, [layer, direction, d_model]: read once a layer and model.
    nulls: Mapping[Null, NDArray[np.float32]] = field(default_factory=dict)
    # Of the draws that a reader makes itself, each by a name.
    seed: int = 0


class Read(Protocol):
    """
    A reader's function.

    settings : its own, as its entry takes them from the study
    returns  : what it found. A reader that scores nothing but the tokens it names returns their
               table alone
    """

    def __call__(
        self, loaded: Loaded, probe: Probe, settings: Mapping[str, Any]
    ) -> Found | pd.DataFrame: ...


def read_with(reader: Reader, loaded: Loaded, probe: Probe, settings: Mapping[str, Any]) -> Found:
    """
    What one reader reads, with a layer and a position in every row.

    A reader without layers or positions says the same of each, so that its rows stand beside every
    layer and position that is read. What it could not read, such as a difference of zero, has no
    tokens, and NaN for scores.

    Raises ValueError if the columns are not those that the entry promises.
    """
    module, function = reader.read.split(":")
    read: Read = getattr(import_module(module), function)
    found = read(loaded, replace(probe, readings=reader.readings_of(probe.readings)), settings)
    found = found if isinstance(found, Found) else Found(found)
    frame = found.tokens
    expected = {"reading", *reader.axes, *TOKEN}
    if set(frame.columns) - {SCORED} != expected:
        raise ValueError(
            f"{reader.read}: found the columns {sorted(frame.columns)}, expected {sorted(expected)}"
        )
    for name in PLACE:
        if name not in reader.axes:
            values = getattr(probe.differences, f"{name}s")
            frame = frame.merge(pd.DataFrame({name: values}), how="cross")
    if found.scores is not None:
        planned = _planned(reader, probe.differences, probe.readings, settings)
        found = replace(found, scores=_with_unread(found.scores, planned, reader.title))
    return replace(found, tokens=frame)


def _with_unread(scores: Scores, planned: pd.DataFrame, title: str) -> Scores:
    """The same scores, and behind them NaN for each list that was planned and is not there."""
    for axis, value in (("sign", 1), ("scale", 1.0)):
        planned = planned[planned[axis] == value] if axis in planned else planned
    every = pd.concat([scores.lists, planned[list(scores.lists)]], ignore_index=True)
    lists = every.drop_duplicates(ignore_index=True)
    lacking = lists[len(scores.lists) :]
    if lacking.empty:
        return scores
    log.warning(
        "%s: nothing to read for %d of %d lists (%s): a difference of zero has no direction. They "
        "are empty",
        *(title, len(lacking), len(lists), ", ".join(lacking["reading"].unique())),
    )
    nothing = np.full((len(lacking), scores.score.shape[1]), np.nan, dtype=np.float32)
    return Scores(
        lists, np.concatenate([scores.score, nothing]), np.concatenate([scores.z, nothing])
    )


def measured_by(found: Iterable[Found]) -> pd.DataFrame:
    """What several readers measured beside tokens, one table; it may have no rows."""
    parts = [one.statistics for one in found if one.statistics is not None]
    return pd.concat([pd.DataFrame(columns=[*PLACE, "statistic", "value"]), *parts])


def joined(parts: Sequence[Found]) -> Found:
    """What one reader found at several layers or in several models, together."""
    scores = [one.scores for one in parts if one.scores is not None]
    moments = [one.moments for one in parts if one.moments is not None]
    return Found(
        pd.concat([one.tokens for one in parts]),
        Scores(*_stacked([(one.lists, one.score, one.z) for one in scores])) if scores else None,
        Moments(*_stacked([(one.lists, one.mean, one.sd) for one in moments])) if moments else None,
    )


def _stacked(parts: Sequence[tuple[pd.DataFrame, Any, Any]]) -> tuple[pd.DataFrame, Any, Any]:
    lists, first, second = zip(*parts, strict=True)
    return pd.concat(lists, ignore_index=True), np.concatenate(first), np.concatenate(second)


def planned_lists(
    name: str, differences: "Differences", readings: Sequence[str], settings: Mapping[str, Any]
) -> pd.DataFrame:
    """
    Every list of tokens that a reader was asked for, also those that it found no token for.

    settings : the reader's own, as its entry takes them from the study
    returns  : reading, layer, position, and the other axes of the reader's entry; one row a list
    """
    return _planned(reader(name), differences, readings, settings)


def _planned(
    entry: Reader, differences: "Differences", readings: Sequence[str], settings: Mapping[str, Any]
) -> pd.DataFrame:
    """The lists of a reader of this entry, as `planned_lists`."""
    axes, readings = entry.axes, entry.readings_of(readings)
    if set(PLACE) <= set(axes):
        planned = directions.planned(differences, readings)
    else:  # what it says stands beside every place
        places = [readings, differences.layers, differences.positions]
        planned = pd.MultiIndex.from_product(places, names=["reading", *PLACE]).to_frame(
            index=False
        )
    for axis in axes:
        if axis == "head":
            heads = [entry.heads_of(one, settings["heads"]) for one in planned["reading"]]
            planned = planned.assign(head=heads).explode("head", ignore_index=True)
        elif axis not in PLACE:
            values = SIGNS if axis == "sign" else settings[f"{axis}s"]
            planned = planned.merge(pd.DataFrame({axis: list(values)}), how="cross")
    return planned
