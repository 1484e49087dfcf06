"""
Thresholds: what is flagged at a false-positive rate, by thresholds that it had no part in.

At the level a, an organism is flagged if its score is above the r-th smallest of n
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
from traces.benchmark.evidence import Evidence
from traces.benchmark.organisms import NARROW, kinds, of_kind, slices
from traces.benchmark.resampling import CONFIDENCE, Draws

FROM_ORGANISMS, FROM_BASES = "organisms", "bases"
"Where a threshold comes from: other organisms of the same base, or other bases alone."


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
                    low, high = wilson_bounds(rate, draws.units_of(there).n, CONFIDENCE)
                    n_null = int(counts[there].min())
                    promised = promise(n_null, level)
                    yield {
                        **evidence.way._asdict(),
                        **{"threshold_null": kind, "threshold_from": origin, "level": level},
                        **{"null": null, "slice": name, "n": len(there), "n_null": n_null},
                        **{"rate": rate, "low": low, "high": high},
                        **{"promise_low": promised[0], "promise_high": promised[1]},
                    }
