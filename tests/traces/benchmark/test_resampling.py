"""Units are drawn within bases and kinds, and an interval has a width where a share is 0 or 1."""

import numpy as np
import pytest

from tests.traces.benchmark import planted
from traces.benchmark import organisms as org
from traces.benchmark.resampling import Draws, gap, interval


@pytest.fixture(scope="module")
def table():
    return org.prepared(planted.organisms(models=("a", "b")), planted.scoring())


def test_a_unit_is_drawn_whole_and_as_many_within_each_base_and_kind(table):
    draws = Draws.of(table, resamples=50, seed=0)

    for _, rows in table.groupby(["model", "null"]):
        weights = draws.weights[:, rows.index]
        assert (weights.sum(axis=1) == len(rows)).all()
    for _, rows in table[table["null"] == "none"].groupby(["model", "unit"]):
        assert np.ptp(draws.weights[:, rows.index], axis=1).max() == 0
    assert draws.n_units(org.of_kind(table, "none")) == 2 * len(planted.DOMAINS)


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
    assert spread == pytest.approx(of_units.std() / np.sqrt(2 * len(of_units)), rel=0.05)


@pytest.mark.parametrize(("value", "low", "high"), [(1.0, 0.862, 1.0), (0.0, 0.0, 0.138)])
def test_all_or_none_of_24_has_wilsons_bounds(value, low, high):
    found = interval(value, np.full(100, value), 24)
    assert found.bound == "wilson"
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-3)


def test_one_unit_has_no_interval():
    assert interval(0.5, np.full(10, 0.5), 1).bound == "none"
    assert np.isnan(gap(0.5, np.full(10, 0.5), 1).low)
