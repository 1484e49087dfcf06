"""Means with intervals, and paired differences: no number is shown without its uncertainty."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats


@dataclass(frozen=True)
class Interval:
    """A mean and its interval. `low` and `high` are NaN where `n` is too small to have one."""

    mean: float
    low: float
    high: float
    n: int
    confidence: float = 0.95

    @property
    def half_width(self) -> float:
        """Half of `high - low`: the number after a plus-minus sign."""
        return (self.high - self.low) / 2


@dataclass(frozen=True)
class PairedDifference:
    """Mean of `ours - theirs` over pairs, its interval, and the two-sided p of a paired t test."""

    mean: float
    low: float
    high: float
    n: int
    p: float
    confidence: float = 0.95

    @property
    def above_zero(self) -> bool:
        """True if the whole interval lies above 0. False where there is no interval."""
        return bool(self.low > 0)


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """
    Mean and Student t interval of independent values (seeds, usually).

    values     : numbers in any unit; NaN counts as missing
    confidence : coverage, between 0 and 1
    returns    : interval in the values' unit; bounds are NaN below two values, and equal to the
                 mean where all values agree

    Raises ValueError if `confidence` is not inside (0, 1).
    """
    present = _present(values)
    _require_confidence(confidence)
    if present.size == 0:
        return Interval(np.nan, np.nan, np.nan, 0, confidence)

    mean = float(present.mean())
    if present.size == 1:
        return Interval(mean, np.nan, np.nan, 1, confidence)
    width = _t_quantile(present.size, confidence) * float(stats.sem(present))
    return Interval(mean, mean - width, mean + width, int(present.size), confidence)


def bootstrap_interval(
    values: ArrayLike, seed: int, confidence: float = 0.95, resamples: int = 10_000
) -> Interval:
    """
    Mean and percentile bootstrap interval, for many values of an unknown distribution.

    values  : numbers in any unit; NaN counts as missing
    seed    : seeds the resampling; the same seed gives the same interval
    returns : interval in the values' unit; bounds are NaN below two values

    Raises ValueError if `confidence` is not inside (0, 1).
    """
    present = _present(values)
    _require_confidence(confidence)
    if present.size < 2:
        return mean_interval(present, confidence)

    drawn = stats.bootstrap(
        (present,),
        np.mean,
        confidence_level=confidence,
        n_resamples=resamples,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    mean = float(present.mean())
    return Interval(mean, float(drawn.low), float(drawn.high), int(present.size), confidence)


def paired_difference(
    ours: Sequence[float] | NDArray, theirs: Sequence[float] | NDArray, confidence: float = 0.95
) -> PairedDifference:
    """
    Mean of `ours - theirs` pair by pair, with its t interval and paired t test.

    ours, theirs : equally long, one pair a seed; pairs with a NaN on either side are left out
    returns      : difference in the values' unit; bounds and p are NaN below two pairs. Where all
                   pairs differ by the same amount the interval has no width, and p is 1 at zero
                   and 0 elsewhere

    Raises ValueError if the two are not equally long or `confidence` is not inside (0, 1).
    """
    left, right = np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float)
    if left.shape != right.shape:
        raise ValueError(f"paired values must be equally many, found {left.size} and {right.size}")

    gaps = _present(left - right)
    interval = mean_interval(gaps, confidence)
    if gaps.size < 2:
        p = np.nan
    elif np.ptp(gaps) < 1e-12:
        p = 1.0 if abs(gaps[0]) < 1e-12 else 0.0
    else:
        p = float(stats.ttest_1samp(gaps, 0.0).pvalue)
    return PairedDifference(interval.mean, interval.low, interval.high, interval.n, p, confidence)


def _present(values: ArrayLike) -> NDArray[np.float64]:
    flat = np.asarray(values, dtype=np.float64).ravel()
    return flat[~np.isnan(flat)]


def _t_quantile(n: int, confidence: float) -> float:
    return float(stats.t.ppf((1 + confidence) / 2, df=n - 1))


def _require_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence} is not between 0 and 1")
