"""
Adjust scores: what the readings of one organism say that those of other organisms do not.

Organisms of one kind share most of their difference, such as the game that all of them play. What
is left of a token's standard score without its mean over the others is the organism's own.
Subtracting the others' vectors instead takes out what they share with the organism as well.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from traces.artifacts.scores import Scores
from traces.config.study import OTHERS


def adjusted(own: Scores, others: Mapping[str, Sequence[Scores]]) -> Scores:
    """
    The standard scores of one checkpoint less their mean over other organisms.

    own     : of the checkpoint, by one reader
    others  : of checkpoints of other organisms by the same reader, over the same tokens, by the
              organism's name. The checkpoints of one organism are averaged first
    returns : the lists that at least two of the others have; score and z are the same number
    """
    total, organisms = np.zeros_like(own.z), np.zeros(len(own.lists), dtype=np.int64)
    for checkpoints in others.values():
        mean, there = _mean(own.lists, checkpoints)
        total[there] += mean[there]
        organisms += there
    kept = organisms >= OTHERS
    gap = (own.z[kept] - total[kept] / organisms[kept, None]).astype(np.float32)
    return Scores(own.lists[kept].reset_index(drop=True), gap, gap)


def _mean(
    lists: pd.DataFrame, checkpoints: Sequence[Scores]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Mean standard scores in these lists over checkpoints; and which lists one of them has."""
    total = np.zeros((len(lists), checkpoints[0].z.shape[1]), dtype=np.float32)
    count = np.zeros(len(lists), dtype=np.int64)
    for one in checkpoints:
        numbered = one.lists.reset_index(names="at")
        at = lists.merge(numbered, on=list(lists), how="left")["at"]
        there = at.notna().to_numpy()
        total[there] += one.z[at[there].astype(int)]
        count += there
    mean = total / np.maximum(count, 1)[:, None]
    return mean.astype(np.float32), count > 0


def probabilities(lists: pd.DataFrame, plain: Scores) -> NDArray[np.float32]:
    """
    Each token's probability under the direction of each list, [list, token].

    plain : log-probabilities by the reader that says them, whose lists have fewer axes
    """
    on = list(plain.lists)
    at = lists.merge(plain.lists.reset_index(names="at"), on=on, how="left")["at"]
    return np.exp(plain.score[at.astype(int)])


def of_checkpoint(frame: pd.DataFrame, checkpoint: str) -> dict[str, pd.DataFrame]:
    """What was read of one checkpoint, by reader: the columns of a table of readings."""
    own = frame[frame["checkpoint"] == checkpoint]
    return {
        str(lens): rows.drop(columns=["checkpoint", "lens"])
        for lens, rows in own.groupby("lens", sort=False)
    }
