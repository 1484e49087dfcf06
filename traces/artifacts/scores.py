"""
Write and read the scores that readers give to every token that may be ranked: one HDF5 file.

A list of tokens is one vector as one reader reads it. The lists of a table of readings hold the
first tokens only; the scores are of all of them. HDF5 is imported where a file is opened: readers
run where it is not installed, such as on a machine whose GPU is tried.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from traces.running.integrity import REMEDY

KEYS = ("reading", "layer", "position", "head", "null")
"What names a list: the first always, the others where its reader has that axis."


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


def write_scores(path: Path, token_id: NDArray[np.int64], found: Mapping[str, Scores]) -> None:
    """
    Write the scores of several readers, whole or not at all.

    token_id : of the tokens that may be ranked, in the order of the scores, [token]
    found    : by reader; those without scores are left out
    """
    from traces.artifacts.arrays import write_arrays

    held: dict[str, NDArray[Any]] = {"token_id": np.asarray(token_id, dtype=np.int64)}
    for reader, scores in found.items():
        if scores.score.shape[1:] != held["token_id"].shape:
            raise ValueError(
                f"{path}: {reader}: found scores {scores.score.shape}, expected "
                f"{len(token_id)} tokens"
            )
        for name in KEYS:
            if name in scores.lists:
                held[f"{reader}/{name}"] = _stored(scores.lists[name])
        held[f"{reader}/score"] = scores.score.astype(np.float32, copy=False)
        held[f"{reader}/z"] = scores.z.astype(np.float32, copy=False)
    large = [name for name in held if name.endswith(("/score", "/z"))]
    write_arrays(path, held, compressed=large)


def read_scores(
    path: Path, token_id: Sequence[int] | NDArray[np.int64] | None = None
) -> tuple[NDArray[np.int64], dict[str, Scores]]:
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
    found: dict[str, Scores] = {}
    for reader in sorted({name.split("/")[0] for name in held}):
        own = {name.split("/")[1]: held[name] for name in held if name.startswith(f"{reader}/")}
        columns = {name: _loaded(own[name]) for name in KEYS if name in own}
        found[reader] = Scores(pd.DataFrame(columns), own["score"], own["z"])
    return ids, found


def _stored(column: pd.Series) -> NDArray[Any]:
    """A column as HDF5 keeps it: whole numbers, or texts of one length in bytes."""
    if pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(dtype=np.int64)
    return np.array([text.encode("ascii") for text in column], dtype=np.bytes_)


def _loaded(column: NDArray[Any]) -> NDArray[Any]:
    return np.char.decode(column, "ascii").astype(object) if column.dtype.kind == "S" else column
