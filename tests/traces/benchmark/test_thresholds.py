"""Thresholds are set on others, and hold their level on organisms that are exchangeable."""

import numpy as np
import pandas as pd
import pytest

from tests.traces.benchmark import planted
from tests.traces.benchmark.test_detection import FLAT, given, ready
from traces.benchmark import organisms as org
from traces.benchmark import thresholds
from traces.benchmark.evidence import of_readers
from traces.benchmark.resampling import Draws


def p_values(table, evidence):
    """Those by thresholds on general text, of other organisms of the base."""
    return thresholds.p_values(evidence, table, "general", thresholds.FROM_ORGANISMS)


def test_the_p_value_counts_the_nulls_that_score_as_high():
    table = ready(domains=("one", "two"), ladder=FLAT, nulls={"general": 4})
    values = np.full(len(table), np.nan)
    values[org.of_kind(table, "general")] = [1.0, 2.0, 3.0, 3.0]
    values[org.of_kind(table, "none")] = [3.0, 4.0]
    p, counts = thresholds.p_values(
        given(table, values), table, "general", thresholds.FROM_ORGANISMS
    )

    np.testing.assert_allclose(p[org.of_kind(table, "none")], [3 / 5, 1 / 5])
    np.testing.assert_allclose(p[org.of_kind(table, "general")], [1.0, 3 / 4, 2 / 4, 2 / 4])
    assert counts[org.of_kind(table, "none")].tolist() == [4, 4]
    assert counts[org.of_kind(table, "general")].tolist() == [3, 3, 3, 3]


@pytest.mark.parametrize("level", [0.05, 0.1, 0.25])
def test_a_p_value_at_the_level_is_a_score_above_the_quantile(level):
    table = ready(nulls={"general": 39})
    values = np.random.default_rng(3).normal(size=len(table))
    p, _ = p_values(table, given(table, values))

    nulls, narrow = org.of_kind(table, "general"), org.of_kind(table, "none")
    r = int(np.ceil(round((1 - level) * (len(nulls) + 1), 9)))
    threshold = np.sort(values[nulls])[r - 1]
    np.testing.assert_array_equal(thresholds.flagged(p[narrow], level), values[narrow] > threshold)


@pytest.mark.parametrize("adjusted", [False, True])
def test_exchangeable_organisms_are_flagged_at_the_nominal_rate(adjusted):
    """Narrow ones without any effect, judged by thresholds that they had no part in."""
    table = ready(domains=planted.DOMAINS, ladder=FLAT, nulls={"general": 19, "one_format": 10})
    rates = []
    for seed in range(100):
        scores = planted.domain_scores(table, {"blind": 0.0}, seed=seed, statistics=("z",))
        evidence = list(of_readers(table, scores))[adjusted]
        p, _ = p_values(table, evidence)
        for kind in ("none", "one_format"):
            rates.append(thresholds.flagged(p[org.of_kind(table, kind)], 0.1).mean())
    # thresholds of 19 nulls vary, so that an organism's draws are not independent
    assert np.mean(rates) == pytest.approx(0.1, abs=0.02)


def test_a_threshold_on_one_kind_says_nothing_of_another():
    """Nulls of one format that score higher are flagged, and are never pooled with the others."""
    table = ready(nulls={"general": 39, "one_format": 20})
    values = np.random.default_rng(4).normal(size=len(table))
    values[org.of_kind(table, "one_format")] += 8
    draws = Draws.of(table, 100, 0)
    rows = pd.DataFrame(thresholds.rate_rows(given(table, values), table, draws, (0.1,)))
    by = rows[rows["slice"] == ""].set_index(["threshold_null", "null"])["rate"]

    assert by["general", "one_format"] == 1.0 and by["one_format", "general"] == 0.0
    assert by["general", "general"] == pytest.approx(0.1, abs=0.03)
    one = rows[rows["null"] == "one_format"].iloc[0]
    assert (one["low"], one["high"]) == pytest.approx((20 / (20 + 1.96**2), 1.0), abs=1e-3)


def test_thresholds_of_other_bases_come_from_no_organism_of_the_own():
    table = ready(models=("a", "b"), nulls={"general": 19})
    values = np.zeros(len(table))
    values[(table["model"] == "b").to_numpy()] = 1.0
    values += 0.001 * np.random.default_rng(5).normal(size=len(table))
    p, counts = thresholds.p_values(given(table, values), table, "general", thresholds.FROM_BASES)

    assert (p[(table["model"] == "a").to_numpy()] == 1.0).all()
    assert p[(table["model"] == "b").to_numpy()] == pytest.approx(1 / 20)
    assert set(counts) == {19}


def test_what_n_nulls_promise_is_what_many_thresholds_do():
    n, level = 39, 0.1
    rng = np.random.default_rng(6)
    drawn = np.sort(rng.uniform(size=(4000, n)), axis=1)[:, n - int(level * (n + 1))]
    true_rates = 1 - drawn
    expected = np.quantile(true_rates, [0.025, 0.975])
    assert thresholds.promise(n, level) == pytest.approx(tuple(expected), abs=0.01)
    assert thresholds.promise(8, 0.1) == (0.0, 0.0)


def test_too_few_nulls_flag_nothing():
    table = ready(nulls={"general": 8})
    values = (table["null"] == "none").to_numpy() * 9.0
    p, _ = p_values(table, given(table, values))
    assert not thresholds.flagged(p, 0.1).any()
