"""Scores without and with the benign mean, and who is held out of it."""

import numpy as np
import pytest

from tests.traces.benchmark import planted
from traces.benchmark import evidence as ev
from traces.benchmark import organisms as org
from traces.benchmark.naming import Named
from traces.benchmark.thresholds import FROM_ORGANISMS, p_values


def ready(**options):
    return org.scored(org.prepared(planted.organisms(**options), planted.scoring()))


def test_a_pair_is_held_out_of_the_benign_mean_as_in_plain_loops():
    rng = np.random.default_rng(0)
    matrix, benign = rng.normal(size=(9, 4)), np.arange(9) < 5

    found = ev.held_out_scores(matrix, benign, adjusted=True)

    for held in range(9):
        for one in range(9):
            left = [place for place in range(5) if place not in (held, one)]
            expected = (matrix[one] - matrix[left].mean(axis=0)).max()
            assert found[held, one] == pytest.approx(expected)


def test_a_raw_score_is_the_largest_and_nothing_is_held_out():
    matrix = np.arange(12.0).reshape(3, 4)
    found = ev.held_out_scores(matrix, np.ones(3, dtype=bool), adjusted=False)
    np.testing.assert_array_equal(found, np.tile([3.0, 7.0, 11.0], (3, 1)))


def test_equal_organisms_stay_equal_after_the_benign_mean_is_subtracted():
    """Not one in the last digit of a sum: a tie would be broken by chance."""
    rng = np.random.default_rng(1)
    matrix = rng.normal(size=(40, 5))
    matrix[1] = matrix[0]
    apart = ev.held_out_scores(matrix, np.ones(40, dtype=bool), adjusted=True)
    assert apart[0, 1] == apart[1, 0]


def test_the_score_of_the_own_domain_is_less_the_mean_of_others():
    table = ready()
    scores = planted.domain_scores(table, {"one": 1.0}, statistics=("z",))
    raw, less = ev.of_readers(table, scores)

    benign = org.of_kind(table, "general")
    matrix = raw.domains["mini"]
    narrow = org.of_kind(table, "none")[0]
    np.testing.assert_allclose(
        less.domains["mini"][narrow], matrix[narrow] - matrix[benign].mean(axis=0)
    )
    first = benign[0]
    np.testing.assert_allclose(
        less.domains["mini"][first], matrix[first] - matrix[benign[1:]].mean(axis=0)
    )
    np.testing.assert_allclose(
        raw.scores, scores.groupby(["checkpoint"])["score"].max()[table["checkpoint"]]
    )


def test_two_organisms_are_compared_with_neither_in_the_others_mean():
    table = ready(models=("a", "b"), nulls={"general": 4, "one_format": 3})
    scores = planted.domain_scores(table, {"one": 0.0}, statistics=("z",))
    raw, less = ev.of_readers(table, scores)
    matrix = np.zeros((len(table), len(planted.DOMAINS)))
    for model, places in raw.places.items():
        matrix[places] = raw.domains[model]
    base = (table["model"] == "b").to_numpy()
    benign = np.flatnonzero(base & (table["null"] == "general").to_numpy())

    found = less.between("b", np.flatnonzero(base), benign)

    for row, ours in enumerate(np.flatnonzero(base)):
        for column, theirs in enumerate(benign):
            mean = matrix[[one for one in benign if one not in (ours, theirs)]].mean(axis=0)
            scored = [(matrix[one] - mean).max() for one in (ours, theirs)]
            if ours != theirs:
                assert found[row, column] == float(scored[0] > scored[1])


def test_nothing_is_adjusted_without_enough_benign_finetunes():
    table = ready(nulls={"general": 2, "one_format": 5})
    found = list(ev.of_readers(table, planted.domain_scores(table, {"one": 1.0})))
    assert {one.way.adjustment for one in found} == {"raw"}


def test_an_organism_that_was_not_read_has_no_score_and_takes_part_in_no_mean():
    table = ready()
    scores = planted.domain_scores(table, {"one": 1.0}, statistics=("z",))
    gone = table["checkpoint"].iloc[org.of_kind(table, "general")[0]]
    raw, less = ev.of_readers(table, scores[scores["checkpoint"] != gone])

    missing = (table["checkpoint"] == gone).to_numpy()
    for one in (raw, less):
        np.testing.assert_array_equal(np.isnan(one.scores), missing)


def test_a_candidate_that_an_organism_lacks_is_named():
    table = ready()
    scores = planted.domain_scores(table, {"one": 1.0}, statistics=("z",))
    with pytest.raises(ValueError, match=r"mini, one, z, topic_00_100.* no score of topic_00"):
        list(ev.of_readers(table, scores.iloc[1:]))
    with pytest.raises(ValueError, match="candidate twice"):
        list(ev.of_readers(table, scores.iloc[[0, *range(len(scores))]]))


def test_a_detector_is_its_number_and_costs_what_one_organism_costs():
    table = ready(models=("a", "b"))
    scores = planted.detector_scores(table, {"kl": 1.0})
    (found,) = ev.of_detectors(table, scores)

    expected = scores.set_index(["model", "checkpoint"])["score"]
    keys = list(zip(table["model"], table["checkpoint"], strict=True))
    np.testing.assert_array_equal(found.scores, expected.loc[keys])
    assert found.cost_s == pytest.approx(0.1) and not found.way.names


def test_the_headline_is_the_way_that_was_fixed():
    fixed = planted.scoring()
    ways = [
        ev.Way("one", "z", "less_benign"),
        ev.Way("one", "z", "raw"),
        ev.Way("kl", "value", "raw"),
    ]
    assert [way.headline(fixed) for way in ways] == [True, False, True]


def test_who_has_nothing_to_read_scores_below_everyone_and_is_named_nothing():
    table = ready(nulls={"general": 20, "identical": 1})
    # Benign finetunes lower every domain, so that a plain 0 would stand above most organisms.
    scores = planted.domain_scores(table, {"one": 1.0, "two": 1.0})
    scores.loc[scores["checkpoint"].str.startswith("general"), "score"] -= 5
    scores.loc[scores["checkpoint"].str.startswith("identical"), "score"] = 0.0
    same = table.index[table["null"] == "identical"][0]
    others = np.delete(np.arange(len(table)), same)

    for one in ev.of_readers(table, scores):
        assert one.scores[same] == ev.SILENT
        assert (one.between("mini", others, np.array([same])) == 1).all()
        assert np.isfinite(one.scores[others]).all()
        named = Named(one, table)
        assert named.favourite(same) == "" != named.favourite(others[0])
        levels, _ = p_values(one, table, "general", FROM_ORGANISMS)
        assert levels[same] == 1


def test_a_share_of_0_is_no_silence():
    """The first 20 tokens hold no word of a domain, and yet they were read."""
    table = ready()
    scores = planted.domain_scores(table, {"one": 1.0})
    scores.loc[scores["statistic"] == "top20", "score"] = 0.0
    for one in ev.of_readers(table, scores):
        assert np.isfinite(one.scores).all()
