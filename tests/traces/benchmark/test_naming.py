"""A planted domain is named and a planted null is not; chance and ties are exact."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.traces.benchmark import planted
from traces.analysis.statistics import wilson_bounds
from traces.benchmark import naming
from traces.benchmark import organisms as org
from traces.benchmark.evidence import of_readers
from traces.benchmark.resampling import Draws

ONE_RUNG = ((1.0, 1.0, 3.0),)


def ready(**options):
    return org.scored(org.prepared(planted.organisms(**options), planted.scoring()))


def read(table, matrix, adjusted=False):
    """What a reader with these scores [organism, candidate] names."""
    scores = planted.long(table, "one", "z", planted.DOMAINS, matrix)
    evidence = list(of_readers(table, scores))[adjusted]
    return evidence, naming.Named(evidence, table)


def test_a_planted_domain_is_named_and_a_blind_reader_is_at_chance():
    table = ready(ladder=ONE_RUNG)
    draws = Draws.of(table, 200, 0)

    def row(sees, seed):
        scores = planted.domain_scores(table, {"one": sees}, statistics=("z",), seed=seed)
        raw, less = of_readers(table, scores)
        return next(naming.naming_rows(naming.Named(less, table), table, draws))

    clear = row(8.0, 3)
    assert (clear["first"], clear["reciprocal"]) == (1.0, 1.0)
    assert clear["first_low"] == pytest.approx(8 / (8 + 1.96**2), abs=1e-3)
    assert clear["chance_p"] == pytest.approx((1 / 8) ** 8)
    # Wilson's own coverage of 1 in 8, by 8 units, is .93.
    blind = pd.DataFrame(row(0.0, seed) for seed in range(200))
    held = (blind["first_low"] <= 1 / 8) & (blind["first_high"] >= 1 / 8)
    assert abs(held.mean() - 0.933) < 0.05 and (blind["chance_p"] > 0.05).mean() >= 0.95


def test_scores_that_all_tie_are_exactly_at_chance():
    table = ready()
    draws = Draws.of(table, 100, 0)
    _, named = read(table, np.zeros((len(table), 8)))
    row = next(naming.naming_rows(named, table, draws))
    assert row["first"] == pytest.approx(row["first_chance"]) == pytest.approx(1 / 8)
    harmonic = sum(1 / r for r in range(1, 9)) / 8
    assert row["reciprocal"] == pytest.approx(row["reciprocal_chance"]) == pytest.approx(harmonic)


def test_a_tie_is_the_mean_over_all_ways_to_break_it():
    table = ready(ladder=ONE_RUNG)
    matrix = np.tile([3.0, 2.0, 2.0, 2.0, 1.0, 1.0, 0.0, 0.0], (len(table), 1))
    _, named = read(table, matrix)
    place = int(table.index[table["domain"] == "topic_01"][0])

    orders = list(itertools.permutations([1, 2, 3]))
    ranks = [2 + order.index(1) for order in orders]
    assert named.rank[place] == np.mean(ranks)
    assert named.reciprocal[place] == pytest.approx(np.mean([1 / rank for rank in ranks]))
    assert named.first[place] == 0.0
    shared = int(table.index[table["domain"] == "topic_00"][0])
    assert named.first[shared] == 1.0


def test_the_chance_of_as_many_is_the_binomial_one():
    chances = np.full(12, 1 / 8)
    for count in (0, 1, 5, 12):
        expected = stats.binom.sf(count - 1, 12, 1 / 8)
        assert naming.at_least_by_chance(count, chances) == pytest.approx(expected)
    assert naming.at_least_by_chance(4.9, chances) == naming.at_least_by_chance(4, chances)


def test_a_favourite_is_said_of_benign_finetunes_and_the_mean_takes_it_away():
    table = ready(ladder=ONE_RUNG, nulls={"general": 30})
    scores = planted.domain_scores(table, {"one": 0.5}, favourite=6.0, statistics=("z",))
    favourites = {}
    for one in of_readers(table, scores):
        rows = pd.DataFrame(naming.confusion_rows(one, naming.Named(one, table), table, level=0.1))
        mine = rows[~rows["abstains"] & (rows["true"] == "general")]
        assert mine["count"].sum() == mine["n"].iloc[0] == 30
        favourites[one.way.adjustment] = mine.set_index("said")["count"].get("topic_00", 0) / 30
    assert favourites["raw"] > 0.95 and favourites["less_benign"] < 0.4


def test_with_abstention_nine_of_ten_nulls_are_nothing():
    table = ready(ladder=ONE_RUNG, nulls={"general": 39, "identical": 2})
    scores = planted.domain_scores(table, {"one": 8.0}, statistics=("z",))
    raw, _ = of_readers(table, scores)
    rows = pd.DataFrame(naming.confusion_rows(raw, naming.Named(raw, table), table, level=0.1))
    said = rows[rows["abstains"]].groupby(["null", "said"])["count"].sum()
    assert said["general", "none"] == pytest.approx(0.9 * 39, abs=1)
    assert said["none"].get("none", 0) == 0 and said["none"].sum() == 8


def test_coverage_falls_and_error_follows_as_the_threshold_rises():
    table = ready(domains=planted.DOMAINS)
    scores = planted.domain_scores(table, {"one": 1.5}, statistics=("z",), seed=5)
    raw, _ = of_readers(table, scores)
    named = naming.Named(raw, table)
    rows = pd.DataFrame(naming.coverage_rows(raw, named, table, Draws.of(table, 10, 0)))
    rows = rows[rows["null"] == "general"]

    assert rows["coverage"].iloc[0] == 1.0 and rows["coverage"].is_monotonic_decreasing
    narrow = org.of_kind(table, "none")
    for row in rows.iloc[::10].to_dict("records"):
        kept = narrow[raw.scores[narrow] >= row["threshold"]]
        assert row["n_named"] == len(kept)
        assert row["error"] == pytest.approx(1 - named.first[kept].mean())
        # Rungs of a domain are one unit.
        bounds = wilson_bounds(row["error"], table.loc[kept, "unit"].nunique(), 0.95)
        assert (row["low"], row["high"]) == pytest.approx(bounds)
        nulls = raw.scores[org.of_kind(table, "general")]
        assert row["null_named"] == pytest.approx((nulls >= row["threshold"]).mean())
    assert rows["error"].iloc[-1] < rows["error"].iloc[0]


def test_an_organism_without_a_domain_is_not_named():
    table = planted.organisms(ladder=ONE_RUNG)
    table.loc[0, "domain"] = None
    table = org.scored(org.prepared(table, planted.scoring()))
    _, named = read(table, np.eye(8)[np.arange(len(table)) % 8])
    (row,) = naming.naming_rows(named, table, Draws.of(table, 100, 0))
    assert row["n"] == 7 and row["first"] == 1.0


def test_a_domain_that_is_no_candidate_is_named_as_an_error():
    table = planted.organisms(ladder=ONE_RUNG)
    table.loc[0, "domain"] = "volcanoes"
    table = org.scored(org.prepared(table, planted.scoring()))
    with pytest.raises(ValueError, match="found the domain 'volcanoes', of which one has no score"):
        read(table, np.zeros((len(table), 8)))


def test_two_readers_are_paired_by_organism():
    table = ready()
    draws = Draws.of(table, 200, 0)
    scores = planted.domain_scores(table, {"better": 3.0, "worse": 0.3}, statistics=("z",))
    named = {
        one.way: naming.Named(one, table)
        for one in of_readers(table, scores)
        if one.way.adjustment == "raw"
    }
    rows = pd.DataFrame(naming.naming_differences(named, table, draws))
    row = rows[(rows["reader"] == "better") & (rows["slice"] == "all")].iloc[0]
    better, worse = named.values()
    narrow = org.of_kind(table, "none")
    assert row["value"] == pytest.approx((better.first - worse.first)[narrow].mean())
    assert row["low"] > 0 and row["n"] == len(narrow)
