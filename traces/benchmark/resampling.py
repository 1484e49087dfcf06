"""
Intervals over units within bases: one set of draws for every reader, so that readers are paired.

In each resample, n - 1 units are drawn with replacement among the n of one base and kind, and an
organism counts n / (n - 1) times as often as its unit was drawn: so drawn numbers vary as much as
those of new units would, however few there are. Benign means are not made anew in a resample.

**Shares.** Near 0 and 1 the quantiles of a bootstrap are far too close: where one of eight
organisms is missed by one pair, no resample says that a ninth may be missed by all. So a share's
interval is Wilson's, of an effective number of units. That number is what a bootstrap's variance
tells, and the variance that units would have if each were all or nothing pulls on it (SHRINKAGE).

**Differences** have Student's t interval with the bootstrap's standard error.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from traces.analysis.statistics import t_quantile, wilson_bounds

BOOTSTRAP, WILSON, NO_BOUND = "bootstrap", "wilson", "none"
CONFIDENCE = 0.95
SHRINKAGE = 0.1
"""
How far a variance is pulled towards that of units which are all or nothing: as if one more unit had
been seen with a squared deviation of so much. Of 0, .1, .25, .5 and 1 the smallest with which
intervals of six units and more held planted shares of .5 to .99 in 91 % or more, whatever values
units had between 0 and 1 (tests/traces/benchmark/test_resampling.py). Of units that are all or
nothing it changes little: what is held is what Wilson's interval holds.
"""


class Estimate(NamedTuple):
    """A number with its interval, and where that comes from; NaN where there is none."""

    value: float
    low: float
    high: float
    bound: str


class Units(NamedTuple):
    """What an interval is over."""

    n: int
    varied: bool = True
    "Whether each base and kind has several: a single unit is in every resample, as if known."

    def or_fewer(self, other: "Units") -> "Units":
        """The fewer of two sides, which limit what can be said."""
        return Units(min(self.n, other.n), self.varied and other.varied)


@dataclass(frozen=True)
class Draws:
    """How often each organism counts in each resample."""

    weights: NDArray[np.float64]
    "[resample, organism]"
    units: NDArray[np.intp]
    "[organism]: the number of its unit; those of two bases are two."
    single: NDArray[np.bool_]
    "[organism]: whether its unit is the only one of its base and kind."

    @classmethod
    def of(cls, organisms: pd.DataFrame, resamples: int, seed: int) -> "Draws":
        """Draw units with replacement within each base and kind of null."""
        rng = np.random.default_rng(seed)
        weights = np.zeros((resamples, len(organisms)))
        single = np.zeros(len(organisms), dtype=bool)
        for _, rows in organisms.groupby(["model", "null"], sort=True):
            codes, names = pd.factorize(rows["unit"], sort=True)
            n = len(names)
            drawn = rng.integers(n, size=(resamples, max(n - 1, 1)))
            times = np.zeros((resamples, n))
            np.add.at(times, (np.arange(resamples)[:, None], drawn), n / max(n - 1, 1))
            weights[:, rows.index.to_numpy()] = times[:, codes]
            single[rows.index.to_numpy()] = n == 1
        numbers = organisms.groupby(["model", "unit"], sort=False).ngroup().to_numpy()
        return cls(weights, numbers, single)

    def units_of(self, places: Sequence[int] | NDArray) -> Units:
        """The units that these organisms are of."""
        here = np.asarray(places, dtype=np.intp)
        return Units(len(np.unique(self.units[here])), not self.single[here].any())

    def means(self, values: NDArray[np.float64], places: NDArray) -> NDArray[np.float64]:
        """[resample]: the mean of `values`, one for each of `places`; NaN where none was drawn."""
        weights = self.weights[:, places]
        return divided(weights @ values, weights.sum(axis=1))


def interval(value: float, drawn: NDArray[np.float64], units: Units) -> Estimate:
    """
    The interval of a share, none below two units.

    value : the share itself
    drawn : [resample], the share in each

    Source: Wilson 1927, with the effective number of a clustered sample (Korn and Graubard 1998).
    The shrinkage is ours.
    """
    if units.n < 2 or np.isnan(value):
        return Estimate(value, np.nan, np.nan, NO_BOUND)
    effective = float(units.n)
    if units.varied:
        # As sums of squares over units: those that were seen, and those of all or nothing.
        seen = units.n**2 * float(np.nanvar(drawn))
        most = units.n * value * (1 - value)
        effective *= (most + SHRINKAGE) / (seen + SHRINKAGE)
    return Estimate(value, *wilson_bounds(value, effective, CONFIDENCE), WILSON)


def share_gap(value: float, drawn: NDArray[np.float64], units: Units) -> Estimate:
    """
    The interval of a difference of two shares, between -1 and 1; none below two units.

    One more unit adds a squared deviation of SHRINKAGE: two readers that agree on all that was seen
    may differ on the next.
    """
    found = gap(value, drawn, units, SHRINKAGE)
    return found._replace(low=max(found.low, -1.0), high=min(found.high, 1.0))


def gap(value: float, drawn: NDArray[np.float64], units: Units, deviation: float = 0.0) -> Estimate:
    """
    The interval of a difference of two numbers, none below two units.

    deviation : the squared deviation that one more unit adds; without it, where all units agree the
                interval has no width
    """
    if units.n < 2 or not units.varied or np.isnan(value):
        return Estimate(value, np.nan, np.nan, NO_BOUND)
    error = np.sqrt(np.nanvar(drawn) + deviation / units.n**2)
    half = t_quantile(units.n, CONFIDENCE) * float(error)
    return Estimate(value, value - half, value + half, BOOTSTRAP)


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
