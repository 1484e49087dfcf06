"""
Adjust scores: what the readings of one organism say that those of other organisms do not.

Organisms of one kind share most of their difference, such as the game that all of them play. What
is left of a token's standard score without its mean over the others is the organism's own.
Subtracting the others' vectors instead takes out what they share with the organism as well.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from traces.artifacts.scores import Scores
from traces.config.study import OTHERS


def mean_of(checkpoints: Sequence[Scores]) -> Scores:
    """
    The mean standard scores of one organism's checkpoints, in every list that one of them read.

    Each list is over the checkpoints that have it. `score` is the same array as `z`.
    """
    lists = pd.concat([one.lists for one in checkpoints]).drop_duplicates(ignore_index=True)
    total = np.zeros((len(lists), checkpoints[0].z.shape[1]), dtype=np.float32)
    count = np.zeros(len(lists), dtype=np.int64)
    for one in checkpoints:
        at, there = _found(lists, one)
        total[there] += one.z[at]
        count += there
    read = count > 0
    total = total[read] / count[read, None].astype(np.float32)
    return Scores(lists[read].reset_index(drop=True), total, total)


def adjusted(own: Scores, others: Sequence[Scores]) -> Scores:
    """
    The standard scores of one checkpoint less their mean over other organisms.

    own     : of the checkpoint, by one reader
    others  : the `mean_of` each other organism by the same reader, over the same tokens
    returns : the lists that at least two of the others have; score and z are the same number
    """
    total, organisms = np.zeros_like(own.z), np.zeros(len(own.lists), dtype=np.int64)
    for other in others:
        at, there = _found(own.lists, other)
        total[there] += other.z[at]
        organisms += there
    kept = organisms >= OTHERS
    gap = (own.z[kept] - total[kept] / organisms[kept, None]).astype(np.float32)
    return Scores(own.lists[kept].reset_index(drop=True), gap, gap)


def _found(lists: pd.DataFrame, scores: Scores) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Where these lists stand among those with scores, and which of them stand there."""
    # What could not be read, such as a difference of zero, has no scores: it is no other organism.
    numbered = scores.lists.reset_index(names="at")[~np.isnan(scores.z).all(axis=1)]
    at = lists.merge(numbered, on=list(lists), how="left")["at"]
    there = at.notna().to_numpy()
    return at[there].to_numpy(dtype=np.int64), there


def of_checkpoint(frame: pd.DataFrame, checkpoint: str) -> dict[str, pd.DataFrame]:
    """What was read of one checkpoint, by reader: the columns of a table of readings."""
    own = frame[frame["checkpoint"] == checkpoint]
    return {
        str(lens): rows.drop(columns=["checkpoint", "lens"])
        for lens, rows in own.groupby("lens", sort=False)
    }
