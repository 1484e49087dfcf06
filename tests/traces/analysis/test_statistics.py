"""Intervals against scipy and against numbers worked by hand."""

import itertools

import numpy as np
import pytest
from scipy import stats

from traces.analysis.statistics import (
    bootstrap_interval,
    grouped_interval,
    mean_interval,
    paired_difference,
    rank_sum_p,
    wilson_bounds,
    wilson_interval,
)


def test_mean_interval_agrees_with_scipy():
    values = np.random.default_rng(0).normal(3, 2, size=7)

    found = mean_interval(values, confidence=0.9)

    expected = stats.t.interval(0.9, df=6, loc=values.mean(), scale=stats.sem(values))
    assert (found.low, found.high) == pytest.approx(expected)
    assert (found.mean, found.n) == (pytest.approx(values.mean()), 7)


def test_mean_interval_of_three_known_numbers():
    # mean 2, standard error 1/sqrt(3), t(.975, 2) = 4.302653
    found = mean_interval([1.0, 2.0, 3.0])

    assert found.high - found.mean == pytest.approx(4.302653 / np.sqrt(3), rel=1e-6)


def test_one_value_has_a_mean_but_no_interval():
    found = mean_interval([0.4])

    assert (found.mean, found.n) == (0.4, 1)
    assert np.isnan(found.low) and np.isnan(found.high)


def test_missing_values_are_left_out_not_counted_as_zero():
    assert mean_interval([1.0, np.nan, 3.0]).mean == 2.0
    assert mean_interval([np.nan]).n == 0


def test_equal_values_have_an_interval_without_width():
    found = mean_interval([0.0, 0.0, 0.0])

    assert (found.low, found.high) == (0.0, 0.0)


def test_a_confidence_outside_of_0_and_1_is_refused():
    with pytest.raises(ValueError, match="confidence 95 is not between 0 and 1"):
        mean_interval([1.0, 2.0], confidence=95)


def test_bootstrap_is_seeded_and_near_the_t_interval_of_many_values():
    values = np.random.default_rng(1).normal(size=400)

    once, again = (bootstrap_interval(values, seed=3, resamples=2000) for _ in range(2))

    assert once == again
    assert once != bootstrap_interval(values, seed=4, resamples=2000)
    assert once.low == pytest.approx(mean_interval(values).low, abs=0.02)


def test_paired_difference_agrees_with_scipy():
    rng = np.random.default_rng(2)
    ours, theirs = rng.normal(1, 1, 8), rng.normal(0, 1, 8)

    found = paired_difference(ours, theirs)

    test = stats.ttest_rel(ours, theirs)
    interval = test.confidence_interval(0.95)
    assert found.p == pytest.approx(test.pvalue)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_pairing_removes_what_the_seeds_share():
    shared = np.array([0.1, 0.5, 0.9])

    assert paired_difference(shared + 0.1, shared).low > 0
    assert paired_difference(shared, shared).low == 0
    assert paired_difference(shared, shared).p == 1.0


def test_one_pair_decides_nothing():
    found = paired_difference([1.0, np.nan], [0.0, 0.0])

    assert found.n == 1 and np.isnan(found.low)


def test_unequal_numbers_of_pairs_are_refused():
    with pytest.raises(ValueError, match="found 2 and 1"):
        paired_difference([1.0, 2.0], [1.0])


def test_wilcoxon_agrees_with_scipy_and_with_ranks_counted_by_hand():
    rng = np.random.default_rng(5)
    ours, theirs = rng.normal(1, 1, 9), rng.normal(0, 1, 9)
    assert paired_difference(ours, theirs).wilcoxon_p == pytest.approx(
        stats.wilcoxon(ours, theirs).pvalue
    )
    # all of n = 5 gaps above 0: two of the 2 ** 5 sign patterns are as extreme
    assert paired_difference([1, 2, 3, 4, 5], np.zeros(5)).wilcoxon_p == pytest.approx(2 / 32)


def test_wilcoxon_of_pairs_that_are_equal_or_too_few():
    assert paired_difference([1, 2], [1, 2]).wilcoxon_p == 1.0
    assert np.isnan(paired_difference([1], [0]).wilcoxon_p)


def planted(rng, organisms=6, seeds=3, mean=1.0, between=0.5, within=0.1):
    centres = rng.normal(mean, between, organisms)
    return [rng.normal(centre, within, seeds) for centre in centres]


def test_an_interval_over_organisms_covers_the_planted_mean():
    rng = np.random.default_rng(0)
    found = [
        grouped_interval(planted(rng, organisms=12), seed, resamples=400) for seed in range(200)
    ]
    covered = np.mean([one.low <= 1.0 <= one.high for one in found])
    assert 0.86 < covered < 0.99  # percentile bootstrap of 12 groups: a little below 0.95


def test_more_seeds_of_two_organisms_are_no_more_organisms():
    rng = np.random.default_rng(1)
    groups = [rng.normal(centre, 0.05, 50) for centre in (0.0, 1.0)]

    found = grouped_interval(groups, seed=0)
    pooled = bootstrap_interval(np.concatenate(groups), seed=0)

    assert found.high - found.low > 3 * (pooled.high - pooled.low)
    assert (found.low, found.high) == pytest.approx((0, 1), abs=0.05)
    assert (found.n, found.n_values) == (2, 100)


def test_organisms_weigh_the_same_whatever_their_seeds():
    assert grouped_interval([[0.0] * 9, [1.0]], seed=0).mean == pytest.approx(0.5)


def test_seeds_widen_the_interval_where_organisms_agree():
    alike = [[1.0, 1.0, 1.0]] * 4
    apart = [[0.5, 1.0, 1.5]] * 4
    assert np.ptp([(f := grouped_interval(alike, seed=0)).low, f.high]) == 0
    wide = grouped_interval(apart, seed=0)
    # each place is a mean of three draws from {.5, 1, 1.5}: standard error .408 / sqrt(3) / sqrt(4)
    assert wide.high - wide.low == pytest.approx(2 * 1.96 * 0.408 / np.sqrt(12), rel=0.1)


def test_one_organism_has_no_interval_and_an_empty_one_does_not_count():
    found = grouped_interval([[0.2, 0.4], [np.nan]], seed=0)
    assert (found.mean, found.n, found.n_values) == (pytest.approx(0.3), 1, 2)
    assert np.isnan(found.low) and np.isnan(found.high)
    assert grouped_interval([[1, 2], [3]], seed=1) == grouped_interval([[1, 2], [3]], seed=1)


@pytest.mark.parametrize(("successes", "n"), [(0, 12), (7, 12), (12, 12)])
def test_wilson_agrees_with_its_formula(successes, n):
    found, z = wilson_interval(successes, n), stats.norm.ppf(0.975)
    share = successes / n
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    width = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    assert (found.low, found.high) == pytest.approx((middle - width, middle + width))
    assert (found.mean, found.n) == (share, n)


def test_wilson_of_nothing_is_missing_and_of_more_than_all_refused():
    assert np.isnan(wilson_interval(0, 0).low)
    with pytest.raises(ValueError, match="found 3 of 2"):
        wilson_interval(3, 2)


def test_the_p_of_a_sum_of_ranks_is_that_of_counting_them_all():
    sizes = (2, 3, 4)
    sums = [sum(ranks) for ranks in itertools.product(*(range(1, n + 1) for n in sizes))]
    for total in range(2, 11):
        expected = np.mean([one <= total for one in sums])
        assert rank_sum_p(total, sizes) == pytest.approx(expected)


def test_a_sum_with_ties_counts_as_the_next_whole_one():
    assert rank_sum_p(4.5, (3, 3)) == rank_sum_p(5, (3, 3))
    assert rank_sum_p(1.0, [22]) == pytest.approx(1 / 22)
    assert np.isnan(rank_sum_p(0, []))


@pytest.mark.parametrize(("successes", "n"), [(0, 24), (3, 10), (24, 24)])
def test_bounds_of_a_share_are_those_of_a_count(successes, n):
    counted = wilson_interval(successes, n)
    assert wilson_bounds(successes / n, n) == pytest.approx((counted.low, counted.high))
    assert np.isnan(wilson_bounds(0.0, 0)).all()
