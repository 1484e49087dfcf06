"""
Write and read the scores that readers give to every token that may be ranked: one HDF5 file.

A list of tokens is one vector as one reader reads it. The lists of a table of readings hold the
first tokens only; the scores are of all of them. What follows from these by subtraction is not
stored but derived when it is asked for: standard scores, and the scores of contrastive readers.

HDF5 is imported where a file is opened: readers run where it is not installed, such as on a machine
whose GPU is tried.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from traces.running.integrity import REMEDY

KEYS = ("reading", "layer", "position", "head", "null")
"What names a list: the first always, the others where its reader has that axis."
ALIKE = ["layer", "head"]
"Null directions stand beside the lists of the same layer in the same model."
STANDARD = "random"
"The null directions whose spread is the unit of every reader's own standard scores."


@dataclass(frozen=True)
class Scores:
    """The scores of one reader, for its lists with sign 1 at the scale of its summary metric."""

    lists: pd.DataFrame
    "Those of KEYS that the reader has, one row a list, numbered from 0."
    score: NDArray[np.float32]
    "What the reader says of it, [list, token]: a log-probability in nats, or of samples log-odds."
    z: NDArray[np.float32]
    """
    The same in standard deviations from the mean over random directions that were read in the same
    way, [list, token]. NaN where none were. Of samples in its own standard errors, and ranked by.
    """

    def __post_init__(self) -> None:
        if not len(self.lists) == len(self.score) or self.score.shape != self.z.shape:
            raise ValueError(
                f"found {len(self.lists)} lists with scores {self.score.shape} and z "
                f"{self.z.shape}, expected as many of each"
            )


@dataclass(frozen=True)
class Moments:
    """What one reader scores the null directions: mean and spread over them, for every token."""

    lists: pd.DataFrame
    "layer, head and null, one row a set of directions."
    mean: NDArray[np.float32]
    "[set, token]"
    sd: NDArray[np.float32]
    "Standard deviation of a sample, [set, token]."


def contrasted(lists: pd.DataFrame, score: NDArray[np.float32], moments: Moments) -> Scores:
    """
    What lists say that null directions do not, a list for each of theirs and each kind of null.

    lists, score : of a reader; score is [list, token]
    returns      : score is the gap to the mean over the null directions at the same layer in the
                   same model, z the gap in their standard deviations
    """
    numbered = lists.reset_index(drop=True).reset_index(names="list")
    pairs = numbered.merge(moments.lists.reset_index(names="set"), on=ALIKE)
    sets = pairs["set"].to_numpy()
    gap = score[pairs["list"]] - moments.mean[sets]
    return Scores(pairs.drop(columns=["list", "set"]), gap, standard(gap, moments.sd[sets]))


def standardised(lists: pd.DataFrame, score: NDArray[np.float32], moments: Moments) -> Scores:
    """The same lists with z-scores against STANDARD null directions; NaN where none were read."""
    z = np.full_like(score, np.nan)
    chosen = (moments.lists["null"] == STANDARD).to_numpy()
    if chosen.any():
        sets = moments.lists[chosen].reset_index(drop=True)
        z = contrasted(lists, score, Moments(sets, moments.mean[chosen], moments.sd[chosen])).z
    return Scores(lists.reset_index(drop=True), score, z)


def standard(gap: NDArray[np.float32], sd: NDArray[np.float32]) -> NDArray[np.float32]:
    """Divide a gap by the spread of the null directions; 0 where they do not differ at all."""
    sd = np.broadcast_to(sd, gap.shape)
    return np.divide(gap, sd, out=np.zeros_like(gap), where=sd > 0)


@dataclass(frozen=True, eq=False)
class Stored(Mapping[str, Scores]):
    """The scores by reader, of which those that follow from others are derived at each access."""

    plain: Mapping[str, Scores]
    "Of the readers whose scores are stored. Their z is NaN if it is derived."
    moments: Mapping[str, Moments] = field(default_factory=dict)
    "What those of them that read null directions score these."
    of: Mapping[str, str] = field(default_factory=dict)
    "By contrastive reader, the one whose scores it contrasts."

    def __getitem__(self, reader: str) -> Scores:
        if reader in self.of:
            source = self.of[reader]
            return contrasted(
                self.plain[source].lists, self.plain[source].score, self.moments[source]
            )
        own = self.plain[reader]
        if reader not in self.moments:
            return own
        return standardised(own.lists, own.score, self.moments[reader])

    def __iter__(self) -> Iterator[str]:
        return iter(sorted([*self.plain, *self.of]))

    def __len__(self) -> int:
        return len(self.plain) + len(self.of)


def write_scores(path: Path, token_id: NDArray[np.int64], found: Stored) -> None:
    """
    Write the scores of several readers, whole or not at all.

    token_id : of the tokens that may be ranked, in the order of the scores, [token]
    found    : those of them that have scores
    """
    from traces.artifacts.arrays import write_arrays

    held: dict[str, NDArray[Any]] = {"token_id": np.asarray(token_id, dtype=np.int64)}
    for reader, scores in found.plain.items():
        held |= _columns(reader, scores.lists)
        held[f"{reader}/score"] = scores.score
        if reader not in found.moments and not np.isnan(scores.z).all():
            held[f"{reader}/z"] = scores.z
    for reader, moments in found.moments.items():
        held |= _columns(f"{reader}/nulls", moments.lists)
        held |= {f"{reader}/nulls/mean": moments.mean, f"{reader}/nulls/sd": moments.sd}
    held |= {f"{reader}/of": _stored(pd.Series([source])) for reader, source in found.of.items()}
    large = [name for name in held if name.rpartition("/")[2] in ("score", "z", "mean", "sd")]
    for name in large:
        if held[name].shape[1:] != held["token_id"].shape:
            raise ValueError(
                f"{path}: {name}: found scores {held[name].shape}, expected {len(token_id)} tokens"
            )
        held[name] = held[name].astype(np.float32, copy=False)
    write_arrays(path, held, compressed=large)


def read_scores(
    path: Path, token_id: Sequence[int] | NDArray[np.int64] | None = None
) -> tuple[NDArray[np.int64], Stored]:
    """
    Read what `write_scores` wrote: the token ids, and the scores by reader.

    token_id : the tokens that are expected, in order; None takes any

    Raises ValueError, naming the file, if it is damaged, lies where another artifact belongs, or
    holds the scores of another vocabulary.
    """
    from traces.artifacts.arrays import read_arrays

    held = read_arrays(path, ["token_id"])
    ids = held.pop("token_id")
    if token_id is not None and not np.array_equal(ids, np.asarray(token_id)):
        raise ValueError(
            f"{path}: found the scores of {len(ids)} tokens of another vocabulary than the "
            f"{len(token_id)} expected; {REMEDY}"
        )
    plain: dict[str, Scores] = {}
    moments: dict[str, Moments] = {}
    of: dict[str, str] = {}
    for reader in sorted({name.split("/")[0] for name in held}):
        if f"{reader}/of" in held:
            of[reader] = str(_loaded(held[f"{reader}/of"])[0])
            continue
        score = held[f"{reader}/score"]
        z = held.get(f"{reader}/z", np.broadcast_to(np.float32(np.nan), score.shape))
        plain[reader] = Scores(_lists(held, reader), score, z)
        nulls = f"{reader}/nulls"
        if f"{nulls}/mean" in held:
            both = held[f"{nulls}/mean"], held[f"{nulls}/sd"]
            moments[reader] = Moments(_lists(held, nulls), *both)
    return ids, Stored(plain, moments, of)


def _columns(group: str, lists: pd.DataFrame) -> dict[str, NDArray[Any]]:
    return {f"{group}/{name}": _stored(lists[name]) for name in KEYS if name in lists}


def _lists(held: Mapping[str, NDArray[Any]], group: str) -> pd.DataFrame:
    names = [name for name in KEYS if f"{group}/{name}" in held]
    return pd.DataFrame({name: _loaded(held[f"{group}/{name}"]) for name in names})


def _stored(column: pd.Series) -> NDArray[Any]:
    """A column as HDF5 keeps it: whole numbers, or texts of one length in bytes."""
    if pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(dtype=np.int64)
    return np.array([text.encode("ascii") for text in column], dtype=np.bytes_)


def _loaded(column: NDArray[Any]) -> NDArray[Any]:
    return np.char.decode(column, "ascii").astype(object) if column.dtype.kind == "S" else column
