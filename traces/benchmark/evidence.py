"""
What a reader says of every organism, as numbers that may be compared.

A reader scores candidate domains. Its detection score is the largest of them; a detector has one
number, which is its score. Larger always speaks for a narrow finetune: who collects a detector for
which smaller does turns its sign.

`less_benign` subtracts from a candidate's score its mean over benign finetunes of the same base on
general text. An organism is never in the mean that is subtracted from it. Where two organisms are
compared, neither is in the mean of the other: each then has the same chance of standing higher if
the two are alike, so that a comparison of nulls is fair to the last digit.

A reader that has nothing to read, such as a difference of zero, says nothing. Its score is SILENT,
which is below every other, so that it is flagged at no level. In a benign mean it counts as 0.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from traces.benchmark.organisms import GENERAL, KEY, UNKNOWN
from traces.config.schema import Scoring
from traces.config.vocabularies import FEWEST_BENIGN

RAW, LESS_BENIGN = "raw", "less_benign"
VALUE = "value"
"Stands in the column `statistic` for the one number of a detector."
SILENT = -np.inf
"The score of a reader that says nothing."


class Way(NamedTuple):
    """A reader, what it scores by, and whether the benign mean is subtracted."""

    reader: str
    statistic: str
    adjustment: str

    @property
    def names(self) -> bool:
        """Whether it scores domains; a detector does not."""
        return self.statistic != VALUE

    def headline(self, scoring: Scoring) -> bool:
        """Whether it was fixed beforehand; a detector has no other way."""
        fixed = (scoring.statistic, scoring.adjustment)
        return not self.names or (self.statistic, self.adjustment) == fixed


@dataclass(frozen=True)
class Evidence:
    """One way's scores of the organisms, whose rows all arrays follow; NaN where it read none."""

    way: Way
    apart: Mapping[str, NDArray[np.float64]]
    "By base, [held out, organism]: its detection score with another one of the base held out."
    domains: Mapping[str, NDArray[np.float64]]
    "By base, [organism, candidate]: its scores, itself out of the mean; none of detectors."
    candidates: Mapping[str, tuple[str, ...]]
    "By base, the candidates in the order of `domains`."
    places: Mapping[str, NDArray[np.intp]]
    "By base, where its organisms stand in the rows."
    cost_s: float
    "Mean seconds an organism; NaN where none was recorded."

    @property
    def scores(self) -> NDArray[np.float64]:
        """[organism]: detection scores, each with the organism out of its own mean."""
        total = sum(len(places) for places in self.places.values())
        found = np.full(total, np.nan)
        for model, places in self.places.items():
            found[places] = np.diagonal(self.apart[model])
        return found

    def between(self, model: str, ours: NDArray, theirs: NDArray) -> NDArray[np.float64]:
        """
        Compare organisms of one base pair by pair: 1 where ours scores higher, 0.5 for a tie.

        ours, theirs : places in the rows
        returns      : [ours, theirs]; NaN where one of the two was not read
        """
        # A base's organisms stand in the order of their rows.
        left, right = (np.searchsorted(self.places[model], some) for some in (ours, theirs))
        mine = self.apart[model][np.ix_(right, left)].T
        other = self.apart[model][np.ix_(left, right)]
        return compared(mine, other)


def compared(ours: NDArray, theirs: NDArray) -> NDArray[np.float64]:
    """1 where ours is larger, 0.5 where both are equal, 0 elsewhere; NaN where one is missing."""
    found = (ours > theirs) + 0.5 * (ours == theirs)
    return np.where(np.isnan(ours) | np.isnan(theirs), np.nan, found)


def held_out_scores(
    matrix: NDArray[np.float64], benign: NDArray[np.bool_], adjusted: bool
) -> NDArray[np.float64]:
    """
    The detection score of every organism with every other one held out of the benign mean.

    matrix  : [organism, candidate], one base's scores
    benign  : [organism], whether its score is part of the mean
    returns : [held out, organism]; on the diagonal an organism is held out of its own score alone
    """
    n = len(matrix)
    if not adjusted:
        return np.tile(matrix.max(axis=1), (n, 1))
    weight = benign.astype(float)
    mine = np.where(benign[:, None], matrix, 0.0)
    total = mine.sum(axis=0)
    apart = np.empty((n, n))
    for held in range(n):
        # The same sum in the same order for both of a pair, so that equal scores stay equal.
        out = mine[held] + mine
        counts = weight.sum() - weight[held] - weight
        out[held], counts[held] = mine[held], weight.sum() - weight[held]
        apart[held] = (matrix - (total - out) / counts[:, None]).max(axis=1)
    return apart


def own_adjusted(
    matrix: NDArray[np.float64], benign: NDArray[np.bool_], adjusted: bool
) -> NDArray[np.float64]:
    """[organism, candidate]: the scores less the benign mean, an organism held out of its own."""
    if not adjusted:
        return matrix
    mine = np.where(benign[:, None], matrix, 0.0)
    counts = benign.sum() - benign
    return matrix - (mine.sum(axis=0) - mine) / counts[:, None]


def of_readers(organisms: pd.DataFrame, domain_scores: pd.DataFrame) -> Iterator[Evidence]:
    """
    Every reader and statistic, raw and less the benign mean.

    domain_scores : columns of domain_scores.parquet; rows of other checkpoints are passed over

    Nothing is adjusted where some base has fewer than FEWEST_BENIGN benign finetunes on general
    text that were read; a base that has unknown checkpoints alone then has no adjusted scores.

    Raises ValueError for a score that is there twice, and for an organism that
    lacks some of its base's candidates: the largest of fewer scores is another score.
    """
    said_nothing = _silent(domain_scores)
    for (reader, statistic), rows in domain_scores.groupby(["reader", "statistic"], sort=False):
        matrices, names, places, silent = {}, {}, {}, {}
        for model, group in organisms.groupby("model", sort=False):
            wide = _wide(rows[rows["model"] == model], f"{model}, {reader}, {statistic}")
            matrices[model] = wide.reindex(group["checkpoint"]).to_numpy(dtype=np.float64)
            silent[model] = np.array(
                [(model, one, reader) in said_nothing for one in group["checkpoint"]]
            )
            names[model] = tuple(map(str, wide.columns))
            places[model] = group.index.to_numpy()
        read = {model for model, wide in matrices.items() if wide.shape[1]}
        matrices = {m: one if m in read else _unread(one) for m, one in matrices.items()}
        cost = _cost(rows, organisms)
        for adjustment in (RAW, LESS_BENIGN):
            adjusted = adjustment == LESS_BENIGN
            benign = {model: _benign(organisms, places[model], matrices[model]) for model in places}
            few = {model for model in read if benign[model].sum() < FEWEST_BENIGN}
            if adjusted and few & _known(organisms):
                continue
            apart, domains = {}, {}
            for model, matrix in matrices.items():
                lacks = adjusted and model in few
                scores, changes = (_unread(matrix), False) if lacks else (matrix, adjusted)
                changes = changes and model in read
                quiet = silent[model] & ~np.isnan(scores).any(axis=1)
                found = held_out_scores(scores, benign[model], changes)
                apart[model] = np.where(quiet, SILENT, found)
                own = own_adjusted(scores, benign[model], changes)
                domains[model] = np.where(quiet[:, None], SILENT, own)
            way = Way(str(reader), str(statistic), adjustment)
            yield Evidence(way, apart, domains, names, places, cost)


def of_detectors(organisms: pd.DataFrame, detector_scores: pd.DataFrame) -> Iterator[Evidence]:
    """Every detector: columns of detector_scores.parquet; it names nothing."""
    places = {
        str(model): group.index.to_numpy()
        for model, group in organisms.groupby("model", sort=False)
    }
    for detector, rows in detector_scores.groupby("detector", sort=False):
        apart = {}
        for model, group in organisms.groupby("model", sort=False):
            found = rows[rows["model"] == model].set_index("checkpoint")["score"]
            if found.index.duplicated().any():
                raise ValueError(f"detector_scores: {model}, {detector}: found a checkpoint twice")
            values = found.reindex(group["checkpoint"]).to_numpy(dtype=np.float64)
            apart[str(model)] = np.tile(values, (len(values), 1))
        cost = _cost(rows, organisms)
        yield Evidence(Way(str(detector), VALUE, RAW), apart, {}, {}, places, cost)


def _wide(rows: pd.DataFrame, where: str) -> pd.DataFrame:
    if rows.duplicated(["checkpoint", "candidate"]).any():
        raise ValueError(f"domain_scores: {where}: found a checkpoint's candidate twice")
    wide = rows.pivot(index="checkpoint", columns="candidate", values="score")
    lacking = wide.isna()
    if lacking.to_numpy().any():
        checkpoint = wide.index[lacking.any(axis=1)][0]
        candidate = wide.columns[lacking.loc[checkpoint]][0]
        raise ValueError(
            f"domain_scores: {where}, {checkpoint}: found no score of {candidate}, expected one of "
            "every candidate that the base's other organisms have"
        )
    return wide


def _silent(domain_scores: pd.DataFrame) -> set[tuple[str, str, str]]:
    """Of which model and checkpoint which reader says nothing: no token stands out in any list."""
    standard = domain_scores[domain_scores["statistic"] == "z"]
    spoken = (standard["score"] != 0).groupby(
        [standard[key] for key in (*KEY, "reader")], sort=False
    )
    return {key for key, said in spoken.any().items() if not said}


def _known(organisms: pd.DataFrame) -> set[str]:
    """The bases with an organism whose truth is known."""
    return set(organisms.loc[organisms["null"] != UNKNOWN, "model"])


def _unread(matrix: NDArray) -> NDArray[np.float64]:
    return np.full((len(matrix), 1), np.nan)


def _benign(organisms: pd.DataFrame, places: NDArray, matrix: NDArray) -> NDArray[np.bool_]:
    """Whose scores make the benign mean of a base."""
    general = (organisms.loc[places, "null"] == GENERAL).to_numpy()
    return general & ~np.isnan(matrix).any(axis=1)


def _cost(rows: pd.DataFrame, organisms: pd.DataFrame) -> float:
    """Mean seconds an organism, each counted once however many candidates it has."""
    mine = rows.merge(organisms[KEY], on=KEY).drop_duplicates(KEY)
    return float(mine["cost_s"].mean()) if len(mine) else float("nan")
