"""
Intervals over units within bases: one set of draws for every reader, so that readers are paired.

In each resample, units are drawn with replacement among those of one base and kind; an organism
counts as often as its unit was drawn. Benign means are not made anew in a resample.

**Shares.** Near 0 and 1 the quantiles of a bootstrap are far too close: where one of eight
organisms is missed by one pair, no resample says that a ninth may be missed by all. So a share's
interval is Wilson's, of an effective number of units. That number is what a bootstrap's variance
tells, and the variance that units would have if each were all or nothing pulls on it (SHRINKAGE).

**Differences** of two shares have the bootstrap's quantiles.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from traces.analysis.statistics import wilson_bounds

BOOTSTRAP, WILSON, NO_BOUND = "bootstrap", "wilson", "none"
CONFIDENCE = 0.95
SHRINKAGE = 0.1
"""
How far a variance is pulled towards that of units which are all or nothing: as if one more unit had
been seen with a squared deviation of so much. Of 0, .1, .25, .5 and 1 the smallest with which
intervals of six units and more held planted shares of .5 to .99 in 92 % or more, whatever values
units had between 0 and 1 (tests/traces/benchmark/test_resampling.py). Of units that are all or
nothing it changes little: what is held is what Wilson's interval holds.
"""


class Estimate(NamedTuple):
    """A number with its interval, and where that comes from; NaN where there is none."""

    value: float
    low: float
    high: float
    bound: str


@dataclass(frozen=True)
class Draws:
    """How often each organism counts in each resample."""

    weights: NDArray[np.float64]
    "[resample, organism]"
    units: NDArray[np.intp]
    "[organism]: the number of its unit; those of two bases are two."

    @classmethod
    def of(cls, organisms: pd.DataFrame, resamples: int, seed: int) -> "Draws":
        """Draw units with replacement within each base and kind of null."""
        rng = np.random.default_rng(seed)
        weights = np.zeros((resamples, len(organisms)))
        for _, rows in organisms.groupby(["model", "null"], sort=True):
            codes, names = pd.factorize(rows["unit"], sort=True)
            drawn = rng.integers(len(names), size=(resamples, len(names)))
            times = np.zeros((resamples, len(names)))
            np.add.at(times, (np.arange(resamples)[:, None], drawn), 1)
            weights[:, rows.index.to_numpy()] = times[:, codes]
        return cls(weights, organisms.groupby(["model", "unit"], sort=False).ngroup().to_numpy())

    def n_units(self, places: Sequence[int] | NDArray) -> int:
        """How many units these organisms are of."""
        return len(np.unique(self.units[np.asarray(places, dtype=np.intp)]))

    def means(self, values: NDArray[np.float64], places: NDArray) -> NDArray[np.float64]:
        """[resample]: the mean of `values`, one for each of `places`; NaN where none was drawn."""
        weights = self.weights[:, places]
        return divided(weights @ values, weights.sum(axis=1))


def interval(value: float, drawn: NDArray[np.float64], n_units: int) -> Estimate:
    """
    The interval of a share, none below two units.

    value   : the share itself
    drawn   : [resample], the share in each
    n_units : of how many units it is

    Source: Wilson 1927, with the effective number of a clustered sample (Korn and Graubard 1998).
    The shrinkage is ours.
    """
    if n_units < 2 or np.isnan(value):
        return Estimate(value, np.nan, np.nan, NO_BOUND)
    # As sums of squares over units: those that were seen, and those of all or nothing. What is
    # drawn from n units varies less than the next n would, by (n - 1) / n.
    seen = n_units**3 / (n_units - 1) * float(np.nanvar(drawn))
    most = n_units * value * (1 - value)
    effective = n_units * (most + SHRINKAGE) / (seen + SHRINKAGE)
    return Estimate(value, *wilson_bounds(value, effective, CONFIDENCE), WILSON)


def gap(value: float, drawn: NDArray[np.float64], n_units: int) -> Estimate:
    """The percentile interval of a difference of two shares, which has no width where all agree."""
    if n_units < 2 or np.isnan(value):
        return Estimate(value, np.nan, np.nan, NO_BOUND)
    return Estimate(value, *ends(drawn), BOOTSTRAP)


def ends(drawn: NDArray[np.float64]) -> tuple[float, float]:
    """The two quantiles of what was drawn, resamples without a value left out."""
    there = drawn[~np.isnan(drawn)]
    if not there.size:
        return np.nan, np.nan
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(there, [tail, 1 - tail])
    return float(low), float(high)


def divided(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide element by element; NaN where there is nothing to divide by."""
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)
