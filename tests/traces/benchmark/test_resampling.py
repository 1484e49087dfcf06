"""Units are drawn within bases and kinds, and an interval has a width where a share is 0 or 1."""

import numpy as np
import pytest

from tests.traces.benchmark import planted
from traces.benchmark import organisms as org
from traces.benchmark.resampling import Draws, Units, gap, interval, share_gap


@pytest.fixture(scope="module")
def table():
    return org.prepared(planted.organisms(models=("a", "b")), planted.scoring())


def test_a_unit_is_drawn_whole_and_as_many_within_each_base_and_kind(table):
    draws = Draws.of(table, resamples=50, seed=0)

    for _, rows in table.groupby(["model", "null"]):
        weights = draws.weights[:, rows.index]
        np.testing.assert_allclose(weights.sum(axis=1), len(rows))
    for _, rows in table[table["null"] == "none"].groupby(["model", "unit"]):
        assert np.ptp(draws.weights[:, rows.index], axis=1).max() == 0
    assert draws.units_of(org.of_kind(table, "none")) == Units(2 * len(planted.DOMAINS))


def test_the_same_seed_draws_the_same(table):
    first, again = (Draws.of(table, 20, 3).weights for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert (Draws.of(table, 20, 4).weights != first).any()


def test_the_spread_of_a_mean_is_that_of_its_units(table):
    """Four doses of a domain that agree are worth one number, and not four."""
    draws = Draws.of(table, 4000, 0)
    narrow = org.of_kind(table, "none")
    rng = np.random.default_rng(0)
    by_unit = {name: rng.normal() for name in sorted(set(table["unit"]))}
    values = table.loc[narrow, "unit"].map(by_unit).to_numpy()

    spread = draws.means(values, narrow).std()

    of_units = np.array([by_unit[name] for name in planted.DOMAINS])
    assert spread == pytest.approx(of_units.std(ddof=1) / np.sqrt(2 * len(of_units)), rel=0.05)


@pytest.mark.parametrize(("value", "low", "high"), [(1.0, 0.862, 1.0), (0.0, 0.0, 0.138)])
def test_all_or_none_of_24_has_wilsons_bounds(value, low, high):
    found = interval(value, np.full(100, value), Units(24))
    assert found.bound == "wilson"
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-3)


def resampled(values, resamples=400, seed=0):
    """The mean of units in each resample."""
    n = len(values)
    drawn = np.random.default_rng(seed).integers(n, size=(resamples, n - 1))
    return values[drawn].mean(axis=1)


def test_an_interval_of_nearly_all_is_nearly_that_of_all():
    """One pair of sixty lost by one unit of eight says as little of the next unit as none does."""
    values = np.array([1.0] * 7 + [59 / 60])
    found = interval(values.mean(), resampled(values), Units(8))
    whole = interval(1.0, np.ones(400), Units(8))
    assert whole.low == pytest.approx(0.676, abs=1e-3)
    assert whole.low - 0.01 < found.low < whole.low + 0.1 and found.high < 1


def test_units_that_hardly_vary_have_a_narrow_interval():
    values = np.random.default_rng(0).normal(0.8, 0.05, size=60)
    found = interval(values.mean(), resampled(values), Units(60))
    few = interval(values.mean(), resampled((values > 0.8).astype(float)), Units(60))
    assert found.high - found.low < 0.06 < few.high - few.low


UNITS = {
    "all or nothing": lambda rng, mean, size: (rng.random(size) < mean).astype(float),
    "spread out": lambda rng, mean, size: rng.beta(mean, 1 - mean, size),
    "in between": lambda rng, mean, size: rng.beta(4 * mean, 4 - 4 * mean, size),
    "alike": lambda rng, mean, size: rng.beta(30 * mean, 30 - 30 * mean, size),
    "all but few": lambda rng, mean, size: np.where(
        rng.random(size) < 2 * (1 - mean), rng.random(size), 1.0
    ),
}


@pytest.mark.parametrize("n", [6, 24])
@pytest.mark.parametrize("kind", UNITS)
def test_intervals_hold_planted_shares_up_to_one_and_quantiles_do_not(kind, n):
    rng, held, by_quantiles = np.random.default_rng(0), {}, {}
    for mean in (0.5, 0.8, 0.9, 0.96, 0.99):
        samples = UNITS[kind](rng, mean, (300, n))
        drawn = [resampled(one, 200, seed) for seed, one in enumerate(samples)]
        found = [
            interval(one.mean(), again, Units(n)) for one, again in zip(samples, drawn, strict=True)
        ]
        held[mean] = np.mean([one.low - 1e-9 <= mean <= one.high + 1e-9 for one in found])
        low, high = np.quantile(drawn, [0.025, 0.975], axis=1)
        by_quantiles[mean] = np.mean((low - 1e-9 <= mean) & (mean <= high + 1e-9))
    # 300 repetitions have a standard error of .013 at .95.
    assert min(held.values()) > 0.90, held
    assert by_quantiles[0.99] < 0.93 and by_quantiles[0.99] < held[0.99], by_quantiles


def test_one_unit_has_no_interval():
    assert interval(0.5, np.full(10, 0.5), Units(1)).bound == "none"
    assert np.isnan(gap(0.5, np.full(10, 0.5), Units(1)).low)


def test_single_units_of_several_bases_are_not_taken_for_known():
    """Each is in every resample of its base, which would give the mean of three no width."""
    table = org.prepared(
        planted.organisms(models=("a", "b", "c"), domains=("one",), ladder=((1.0, 1.0, 3.0),)),
        planted.scoring(),
    )
    draws, narrow = Draws.of(table, 50, 0), org.of_kind(table, "none")
    values = np.array([1.0, 0.0, 1.0])
    found = interval(2 / 3, draws.means(values, narrow), draws.units_of(narrow))
    assert draws.units_of(narrow) == Units(3, varied=False)
    assert (found.low, found.high) == pytest.approx((0.208, 0.939), abs=1e-3)
    assert gap(2 / 3, draws.means(values, narrow), draws.units_of(narrow)).bound == "none"


@pytest.mark.parametrize("n", [2, 3, 6, 24])
def test_intervals_of_differences_hold_zero_however_few_units(n):
    rng = np.random.default_rng(0)
    found = [
        gap(one.mean(), resampled(one, 300, seed), Units(n))
        for seed, one in enumerate(rng.normal(size=(400, n)))
    ]
    held = np.mean([one.low <= 0 <= one.high for one in found])
    assert 0.92 <= held <= 0.98


def test_two_readers_that_agree_on_all_that_was_seen_may_differ_on_the_next():
    same = share_gap(0.0, np.zeros(50), Units(6))
    apart = share_gap(1.0, np.ones(50), Units(6))
    assert -0.2 < same.low < 0 < same.high < 0.2
    assert 0.8 < apart.low < 1 == apart.high
