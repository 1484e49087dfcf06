"""
Detect: is a finetune narrow? ROC, AUC, and what a threshold flags that it was not set on.

Organisms are compared with nulls of one kind and of their own base; kinds are never pooled. Several
bases are averaged over their narrow organisms.

**AUC** is the chance that a narrow organism scores higher than a null of its base, a tie counting
half (Mann and Whitney's U over the number of pairs).

**Thresholds.** At the level a, an organism is flagged if its score is above the r-th smallest of n
nulls, r = ceil((1 - a)(n + 1)). It is no member of these, nor is it in any benign mean. The same in
other words: its p-value (1 + nulls that score as high) / (n + 1) is at most a. For raw scores of an
organism that is exchangeable with the nulls the rate is at most a, whatever the distribution, and
ties are on the safe side (conformal prediction: Vovk, Gammerman and Shafer 2005). Of scores less a
benign mean each pair is compared without either, as in the jackknife+ (Barber, Candes, Ramdas and
Tibshirani 2021): the rate is close to a, and at most 2 a.

**What n nulls promise.** A threshold that is the r-th of n independent nulls has a true rate that
varies from one set of nulls to the next: Beta(n + 1 - r, r) where scores are continuous.
"""

import functools
import math
from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from traces.analysis.statistics import wilson_bounds
from traces.benchmark.evidence import Evidence, Way
from traces.benchmark.organisms import ALL, NARROW, kinds, of_kind, slices
from traces.benchmark.resampling import CONFIDENCE, Draws, Estimate, divided, gap, interval

GRID = np.linspace(0, 1, 101)
"False-positive rates at which an ROC is written."
FROM_ORGANISMS, FROM_BASES = "organisms", "bases"
"Where a threshold comes from: other organisms of the same base, or other bases alone."
MATCHED = 1.25
"Two organisms are matched in a detector where neither's score exceeds the other's by this factor."


class Beaten:
    """The pairs of narrow organisms and nulls of one kind, base by base."""

    def __init__(
        self,
        evidence: Evidence,
        organisms: pd.DataFrame,
        narrow: NDArray[np.intp],
        nulls: NDArray[np.intp],
        pairs: NDArray[np.bool_] | None = None,
    ) -> None:
        """
        narrow, nulls : places in the rows
        pairs         : [row, row], which pairs count; all where not given
        """
        models = organisms["model"].to_numpy()
        self.by_base: list[tuple[NDArray, NDArray, NDArray]] = []
        for model in dict.fromkeys(models[narrow]):
            ours, theirs = narrow[models[narrow] == model], nulls[models[nulls] == model]
            found = evidence.between(str(model), ours, theirs)
            if pairs is not None:
                found = np.where(pairs[np.ix_(ours, theirs)], found, np.nan)
            ours, found = ours[~np.isnan(found).all(axis=1)], _rows(found)
            theirs, found = theirs[~np.isnan(found).all(axis=0)], _rows(found.T).T
            if found.size:
                self.by_base.append((ours, theirs, found))

    @property
    def narrow(self) -> NDArray[np.intp]:
        """The places of the narrow organisms that have a null to be compared with."""
        return _joined([ours for ours, _, _ in self.by_base])

    @property
    def nulls(self) -> NDArray[np.intp]:
        return _joined([theirs for _, theirs, _ in self.by_base])

    @property
    def placements(self) -> NDArray[np.float64]:
        """The share of nulls that each of `narrow` beats; ties count half."""
        if not self.by_base:
            return np.empty(0)
        return np.concatenate([np.nanmean(found, axis=1) for _, _, found in self.by_base])

    @property
    def auc(self) -> float:
        return float(self.placements.mean()) if self.by_base else np.nan

    def drawn(self, draws: Draws) -> NDArray[np.float64]:
        """[resample]: the AUC in each."""
        above, below = 0.0, 0.0
        for ours, theirs, found in self.by_base:
            there = ~np.isnan(found)
            nulls = draws.weights[:, theirs]
            shares = divided(nulls @ np.where(there, found, 0.0).T, nulls @ there.T.astype(float))
            counted = np.where(np.isnan(shares), 0.0, draws.weights[:, ours])
            above = above + (counted * np.nan_to_num(shares)).sum(axis=1)
            below = below + counted.sum(axis=1)
        return divided(np.asarray(above), np.asarray(below))

    def units(self, draws: Draws) -> int:
        """The smaller of the two sides, which limits what can be said."""
        return min(draws.n_units(self.narrow), draws.n_units(self.nulls)) if self.by_base else 0

    def estimate(self, draws: Draws) -> Estimate:
        if not self.by_base:
            return interval(np.nan, np.empty(0), 0)
        return interval(self.auc, self.drawn(draws), self.units(draws))

    def roc(self) -> NDArray[np.float64]:
        """
        The true-positive rate at each false-positive rate of GRID.

        A narrow organism is found once the rate has passed the share of nulls above it; ties are
        shared out evenly, so that a reader that ties everything runs along the diagonal. The area
        under the curve is the AUC.
        """
        curves = [_curve(row[~np.isnan(row)]) for *_, found in self.by_base for row in found]
        return np.mean(curves, axis=0) if curves else np.full(GRID.shape, np.nan)


def _curve(beaten: NDArray[np.float64]) -> NDArray[np.float64]:
    above, tied = np.mean(beaten == 0), np.mean(beaten == 0.5)
    # A share of nulls is a sum of floats; the grid's 0.1 must not fall short of it.
    if not tied:
        return (above - 1e-9 <= GRID).astype(float)
    return np.clip((GRID - above) / tied, 0.0, 1.0)


def _rows(found: NDArray[np.float64]) -> NDArray[np.float64]:
    return found[~np.isnan(found).all(axis=1)]


def _joined(parts: list[NDArray]) -> NDArray[np.intp]:
    return np.concatenate(parts).astype(np.intp) if parts else np.empty(0, dtype=np.intp)


# Tables -----------------------------------------------------------------------------------------


def detection_rows(evidence: Evidence, organisms: pd.DataFrame, draws: Draws) -> Iterator[dict]:
    """The AUC against each kind of null, over all narrow organisms and on each rung."""
    for kind in kinds(organisms):
        nulls = of_kind(organisms, kind)
        for name, narrow in slices(organisms):
            beaten = Beaten(evidence, organisms, narrow, nulls)
            yield _row(evidence, kind, name, "", beaten, draws)


def matched_rows(
    evidence: Evidence, organisms: pd.DataFrame, draws: Draws, measures: dict[str, NDArray]
) -> Iterator[dict]:
    """
    The AUC over pairs that are alike in a detector: it cannot be that detector which is found.

    measures : by detector, [organism], positive numbers
    """
    for kind in kinds(organisms):
        for name, values in measures.items():
            with np.errstate(divide="ignore", invalid="ignore"):
                logs = np.log(values)
                alike = np.abs(logs[:, None] - logs[None]) <= math.log(MATCHED)
            narrow, nulls = of_kind(organisms, NARROW), of_kind(organisms, kind)
            beaten = Beaten(evidence, organisms, narrow, nulls, alike)
            yield _row(evidence, kind, ALL, name, beaten, draws)


def _row(
    evidence: Evidence, kind: str, name: str, matched: str, beaten: Beaten, draws: Draws
) -> dict:
    return {
        **evidence.way._asdict(),
        **{"null": kind, "slice": name, "matched_on": matched},
        **{"n_narrow": len(beaten.narrow), "n_null": len(beaten.nulls)},
        "units": beaten.units(draws),
        **beaten.estimate(draws)._asdict(),
        "cost_s": evidence.cost_s,
    }


def roc_rows(evidence: Evidence, organisms: pd.DataFrame) -> pd.DataFrame:
    """The ROC against each kind of null, over all narrow organisms and on each rung."""
    parts = []
    for kind in kinds(organisms):
        for name, narrow in slices(organisms):
            beaten = Beaten(evidence, organisms, narrow, of_kind(organisms, kind))
            parts.append(
                pd.DataFrame(
                    {
                        **evidence.way._asdict(),
                        **{"null": kind, "slice": name, "false_positive_rate": GRID},
                        "true_positive_rate": beaten.roc(),
                    }
                )
            )
    return pd.concat(parts, ignore_index=True).dropna(subset=["true_positive_rate"])


def differences(
    of_way: dict[Way, Evidence], organisms: pd.DataFrame, draws: Draws
) -> Iterator[dict]:
    """Every two readers' AUC, ours less the other's, over the same organisms and resamples."""
    found = list(of_way.values())
    for kind in kinds(organisms):
        nulls = of_kind(organisms, kind)
        for name, narrow in slices(organisms):
            beaten = [Beaten(one, organisms, narrow, nulls) for one in found]
            drawn = [one.drawn(draws) for one in beaten]
            for ours, left in enumerate(beaten):
                for theirs, right in enumerate(beaten):
                    if ours == theirs or not _same(left, right):
                        continue
                    value = left.auc - right.auc
                    yield {
                        **{"task": "detect", "null": kind, "slice": name},
                        "reader": found[ours].way.reader,
                        "other": found[theirs].way.reader,
                        "n": len(left.narrow),
                        **gap(value, drawn[ours] - drawn[theirs], left.units(draws))._asdict(),
                    }


def _same(left: Beaten, right: Beaten) -> bool:
    """Two readers are paired where both read the same organisms, of which there are some."""
    if not left.by_base:
        return False
    alike = np.array_equal(left.narrow, right.narrow)
    return alike and np.array_equal(left.nulls, right.nulls)


# Thresholds -------------------------------------------------------------------------------------


def p_values(
    evidence: Evidence, organisms: pd.DataFrame, kind: str, origin: str
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """
    The level at which each organism is just flagged by a threshold of other organisms.

    kind    : the kind of null that the threshold is set on
    origin  : FROM_ORGANISMS, those of the same base; FROM_BASES, those of all other bases
    returns : [organism] p-values, NaN without a null or score, and of how many nulls each is

    A null is no member of the set that it is judged by.
    """
    nulls = of_kind(organisms, kind)
    models = organisms["model"].to_numpy()
    scores = evidence.scores
    levels, counts = np.full(len(organisms), np.nan), np.zeros(len(organisms), dtype=np.int64)
    for model, places in evidence.places.items():
        if origin == FROM_ORGANISMS:
            theirs = nulls[models[nulls] == model]
            beaten = evidence.between(model, places, theirs)
            beaten[places[:, None] == theirs[None]] = np.nan
        else:
            theirs = nulls[models[nulls] != model]
            shape = (len(places), len(theirs))
            mine = np.broadcast_to(scores[places][:, None], shape)
            other = np.broadcast_to(scores[theirs][None], shape)
            missing = np.isnan(mine) | np.isnan(other)
            beaten = np.where(missing, np.nan, (mine > other).astype(float))
        there = (~np.isnan(beaten)).sum(axis=1)
        as_high = ((beaten < 1) & ~np.isnan(beaten)).sum(axis=1)
        levels[places] = np.where(there > 0, (1 + as_high) / (there + 1), np.nan)
        counts[places] = there
    return levels, counts


def flagged(p_value: NDArray[np.float64], level: float) -> NDArray[np.bool_]:
    # Both are fractions: 2 / 20 must not exceed 0.1 in its last digit.
    return p_value <= level + 1e-12


@functools.cache
def promise(n: int, level: float) -> tuple[float, float]:
    """
    What the true rate of a threshold lies between, set at a level on `n` independent nulls.

    returns : the middle 95 % of Beta(n + 1 - r, r); both 0 where n nulls allow no threshold
    """
    beyond = math.floor(level * (n + 1) + 1e-9)
    if beyond == 0:
        return 0.0, 0.0
    tail = (1 - CONFIDENCE) / 2
    low, high = stats.beta.ppf([tail, 1 - tail], beyond, n + 1 - beyond)
    return float(low), float(high)


def rate_rows(
    evidence: Evidence, organisms: pd.DataFrame, draws: Draws, levels: tuple[float, ...]
) -> Iterator[dict]:
    """
    What thresholds flag, for each kind they are set on: narrow organisms (true positives, all of
    them and each rung), and nulls of each kind (false positives).

    Wilson's bounds are for as many units as there are, so that doses of one domain count once.
    """
    several = organisms["model"].nunique() > 1
    for kind in kinds(organisms):
        for origin in (FROM_ORGANISMS, *([FROM_BASES] if several else [])):
            p_value, counts = p_values(evidence, organisms, kind, origin)
            groups = [(NARROW, name, places) for name, places in slices(organisms)]
            groups += [(other, "", of_kind(organisms, other)) for other in kinds(organisms)]
            for level in levels:
                for null, name, places in groups:
                    there = places[~np.isnan(p_value[places])]
                    if not len(there):
                        continue
                    rate = float(flagged(p_value[there], level).mean())
                    low, high = wilson_bounds(rate, draws.n_units(there), CONFIDENCE)
                    n_null = int(counts[there].min())
                    promised = promise(n_null, level)
                    yield {
                        **evidence.way._asdict(),
                        **{"threshold_null": kind, "threshold_from": origin, "level": level},
                        **{"null": null, "slice": name, "n": len(there), "n_null": n_null},
                        **{"rate": rate, "low": low, "high": high},
                        **{"promise_low": promised[0], "promise_high": promised[1]},
                    }
