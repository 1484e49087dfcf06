"""
Intervals over units within bases: one set of draws for every reader, so that readers are paired.

In each resample, units are drawn with replacement among those of one base and kind; an organism
counts as often as its unit was drawn. Benign means are not made anew in a resample.

Where a share is 0 or 1 a bootstrap has no width: [1, 1] would say that the next organism is known.
Then Wilson's bounds for as many units stand in its place, and `bound` says so.
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
    The percentile interval of a share; Wilson's where it is 0 or 1, none below two units.

    value   : the share itself
    drawn   : [resample], the share in each
    n_units : of how many units it is
    """
    if n_units < 2 or np.isnan(value):
        return Estimate(value, np.nan, np.nan, NO_BOUND)
    if value <= 0 or value >= 1:
        low, high = wilson_bounds(value, n_units, CONFIDENCE)
        return Estimate(value, low, high, WILSON)
    return Estimate(value, *ends(drawn), BOOTSTRAP)


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
