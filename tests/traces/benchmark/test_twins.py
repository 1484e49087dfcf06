"""A reader of falsehood tells twins apart, a reader of topics does not."""

import numpy as np
import pandas as pd
import pytest

from tests.traces.benchmark import planted
from traces.benchmark import organisms as org
from traces.benchmark import twins
from traces.benchmark.evidence import of_readers
from traces.benchmark.resampling import Draws


@pytest.fixture(scope="module")
def table():
    made = planted.organisms(models=("a", "b"), ladder=((1.0, 1.0, 3.0),), twins=True)
    return org.scored(org.prepared(made, planted.scoring()))


def read(table, of_falsehood, seed=0):
    """A reader that sees every topic, and more where it is false."""
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(len(table), 8))
    for place, row in table.iterrows():
        if row["domain"] in planted.DOMAINS:
            false = row["null"] == "none"
            matrix[place, planted.DOMAINS.index(row["domain"])] += 8 + of_falsehood * false
    return next(iter(of_readers(table, planted.long(table, "one", "z", planted.DOMAINS, matrix))))


def test_pairs_are_of_one_base_and_one_domain(table):
    false, true = twins.pairs(table)
    assert len(false) == 16
    for column in ("model", "domain"):
        assert (table[column].to_numpy()[false] == table[column].to_numpy()[true]).all()
    assert (table["null"].to_numpy()[true] == "true_facts").all()


@pytest.mark.parametrize("of_falsehood", [0.0, 9.0])
def test_what_a_reader_sees_of_falsehood_is_what_is_said(table, of_falsehood):
    draws = Draws.of(table, 300, 0)
    rows = pd.DataFrame(twins.twin_rows(read(table, of_falsehood), table, draws))
    for scored, row in rows.set_index("scored").iterrows():
        assert row["n_pairs"] == 16
        assert row["difference"] == pytest.approx(of_falsehood, abs=0.8), scored
        if of_falsehood:
            assert row["paired_auc"] == row["auc"] == 1.0
            assert row["low"] == pytest.approx(16 / (16 + 1.96**2), abs=1e-3)
        else:
            assert row["low"] <= 0.5 <= row["high"]
            assert row["difference_low"] < 0 < row["difference_high"]


@pytest.mark.parametrize(("score", "difference"), [(1.0, 0.0), (0.0, np.nan)])
def test_twins_that_score_alike_are_halves(table, score, difference):
    """Of a reader that says nothing of either there is no difference to speak of."""
    flat = planted.long(table, "one", "z", planted.DOMAINS, np.full((len(table), 8), score))
    rows = list(
        twins.twin_rows(next(iter(of_readers(table, flat))), table, Draws.of(table, 100, 0))
    )
    assert [row["paired_auc"] for row in rows] == [0.5, 0.5]
    np.testing.assert_array_equal([row["difference"] for row in rows], [difference] * 2)


def test_without_twins_nothing_is_said():
    made = org.scored(org.prepared(planted.organisms(), planted.scoring()))
    scores = planted.domain_scores(made, {"one": 1.0}, statistics=("z",))
    assert not list(
        twins.twin_rows(next(iter(of_readers(made, scores))), made, Draws.of(made, 100, 0))
    )
