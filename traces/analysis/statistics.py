"""Compute means with intervals, and paired differences with tests."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats


@dataclass(frozen=True)
class Interval:
    """Hold a mean and its interval; `low` and `high` are NaN where `n` is too small for one."""

    mean: float
    low: float
    high: float
    n: int
    confidence: float = 0.95


@dataclass(frozen=True)
class PairedDifference:
    """
    Hold the mean of `ours - theirs` over `n` pairs, its interval, and two-sided p of two tests.

    `p` is from a t test, `wilcoxon_p` from Wilcoxon's signed ranks. The latter assumes less and has
    less power with few pairs: with n pairs it is 2 ** (1 - n) or more.
    """

    mean: float
    low: float
    high: float
    n: int
    p: float
    confidence: float = 0.95
    wilcoxon_p: float = float("nan")


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """
    Compute mean and Student t interval of independent values (usually seeds).

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
    # Student's t, since there are three seeds or so: a normal interval would be half as wide.
    width = t_quantile(present.size, confidence) * float(stats.sem(present))
    return Interval(mean, mean - width, mean + width, int(present.size), confidence)


def bootstrap_interval(
    values: ArrayLike, seed: int, confidence: float = 0.95, resamples: int = 10_000
) -> Interval:
    """
    Compute mean and percentile bootstrap interval, for many values of an unknown distribution.

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


@dataclass(frozen=True)
class GroupedInterval(Interval):
    """Hold an interval over `n` groups (organisms) and their members (seeds)."""

    n_values: int = 0


def grouped_interval(
    groups: Sequence[ArrayLike], seed: int, confidence: float = 0.95, resamples: int = 10_000
) -> GroupedInterval:
    """
    Average each group's mean over groups, with a two-level percentile bootstrap interval.

    groups    : the values of each group, usually an organism's seeds; NaN counts as missing, and a
                group without values is left out
    seed      : seeds the resampling; the same seed gives the same interval
    resamples : how often groups are drawn with replacement, and then values within each of them
    returns   : interval in the values' unit, counting groups (`n`) and values; bounds are NaN below
                two groups, since one organism says nothing about others

    Raises ValueError if `confidence` is not inside (0, 1).
    Source: the cluster bootstrap with resampling at both levels (Davison & Hinkley 1997, 3.8).
    """
    _require_confidence(confidence)
    present = [one for one in map(_present, groups) if one.size]
    n_values = sum(one.size for one in present)
    mean = float(np.mean([one.mean() for one in present])) if present else np.nan
    if len(present) < 2:
        return GroupedInterval(mean, np.nan, np.nan, len(present), confidence, n_values)

    rng = np.random.default_rng(seed)
    shape = (resamples, len(present))
    # A group drawn twice is resampled twice, once for each time it occurs. Drawn by group and not
    # by resample: 10,000 small calls become one for each group.
    drawn = rng.integers(len(present), size=shape)
    means = np.empty(shape)
    for index, values in enumerate(present):
        places = drawn == index
        members = rng.integers(values.size, size=(int(places.sum()), values.size))
        means[places] = values[members].mean(axis=1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(means.mean(axis=1), [tail, 1 - tail])
    return GroupedInterval(mean, float(low), float(high), len(present), confidence, n_values)


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """
    Compute a share and its Wilson interval, which has a width at shares of 0 and 1 as well.

    returns : interval between 0 and 1; NaN where `n` is 0

    Raises ValueError if `successes` is not between 0 and `n`, or `confidence` not inside (0, 1).
    Source: Wilson 1927.
    """
    _require_confidence(confidence)
    if not 0 <= successes <= n:
        raise ValueError(f"found {successes} of {n}, expected a count from 0 to {n}")
    if n == 0:
        return Interval(np.nan, np.nan, np.nan, 0, confidence)
    ends = stats.binomtest(successes, n).proportion_ci(confidence, method="wilson")
    return Interval(successes / n, float(ends.low), float(ends.high), n, confidence)


def wilson_bounds(share: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """
    Compute Wilson's bounds of a share of `n` that need not be a whole count, such as one with ties.

    n : of how many; an effective number need not be whole either

    returns : low and high, between 0 and 1; NaN where `n` is 0 or the share is NaN

    Raises ValueError if `confidence` is not inside (0, 1).
    Source: Wilson 1927, as in `wilson_interval`, which counts.
    """
    _require_confidence(confidence)
    if n == 0 or np.isnan(share):
        return np.nan, np.nan
    z = float(stats.norm.ppf((1 + confidence) / 2))
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return float(max(middle - half, 0.0)), float(min(middle + half, 1.0))


def rank_sum_p(total: float, sizes: ArrayLike) -> float:
    """
    Compute the exact p that independent ranks, drawn uniformly, have a sum this small.

    total   : sum of the ranks, each from 1; where ties make it no whole number, the next one counts
    sizes   : of how many each rank is one, [rank]
    returns : probability of a sum of at most `total`; NaN without ranks
    """
    counts = np.asarray(sizes, dtype=np.int64)
    if counts.size == 0:
        return np.nan
    # Uniform distributions of 1 to n, convolved: entry k is the probability of the sum k + ranks.
    chances = np.ones(1)
    for n in counts:
        chances = np.convolve(chances, np.full(n, 1 / n))
    last = int(np.ceil(total - 1e-9)) - counts.size
    return float(np.clip(chances[: max(last + 1, 0)].sum(), 0.0, 1.0))


def paired_difference(
    ours: Sequence[float] | NDArray, theirs: Sequence[float] | NDArray, confidence: float = 0.95
) -> PairedDifference:
    """
    Average `ours - theirs` pair by pair, with its t interval and two paired tests.

    ours, theirs : equally long, one pair a seed; pairs with a NaN on either side are left out
    returns      : difference in the values' unit; bounds and both p are NaN below two pairs. Where
                   all pairs differ by the same amount the interval has no width, and the t test's
                   p is 1 at zero and 0 elsewhere

    Raises ValueError if the two are not equally long or `confidence` is not inside (0, 1).
    """
    left, right = np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float)
    if left.shape != right.shape:
        raise ValueError(f"paired values must be equally many, found {left.size} and {right.size}")

    gaps = _present(left - right)
    interval = mean_interval(gaps, confidence)
    if gaps.size < 2:
        p = np.nan
    # A t test divides by the spread; seeds can agree to the last digit, as with relevance 0 or 1.
    elif np.ptp(gaps) < 1e-12:
        p = 1.0 if abs(gaps[0]) < 1e-12 else 0.0
    else:
        p = float(stats.ttest_1samp(gaps, 0.0).pvalue)
    bounds = (interval.mean, interval.low, interval.high)
    return PairedDifference(*bounds, interval.n, p, confidence, _wilcoxon(gaps))


def _wilcoxon(gaps: NDArray[np.float64]) -> float:
    """Compute two-sided p of Wilcoxon's signed ranks; gaps of zero are left out, as he did."""
    if gaps.size < 2:
        return np.nan
    unequal = gaps[np.abs(gaps) > 1e-12]
    return float(stats.wilcoxon(unequal).pvalue) if unequal.size else 1.0


def _present(values: ArrayLike) -> NDArray[np.float64]:
    flat = np.asarray(values, dtype=np.float64).ravel()
    return flat[~np.isnan(flat)]


def t_quantile(n: int, confidence: float) -> float:
    """How many standard errors either side of a mean of `n` values Student's t interval is."""
    return float(stats.t.ppf((1 + confidence) / 2, df=n - 1))


def _require_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence} is not between 0 and 1")
