"""AUC and ROC against plain computations, and what is said of pairs that are alike."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from tests.traces.benchmark import planted
from traces.benchmark import detection as det
from traces.benchmark import organisms as org
from traces.benchmark.evidence import of_detectors
from traces.benchmark.resampling import Draws

FLAT = ((1.0, 1.0, 0.0),)
"A ladder of one rung without any strength."


def ready(**options):
    return org.scored(org.prepared(planted.organisms(**options), planted.scoring()))


def given(table, values):
    """The evidence of a detector with these scores."""
    scores = table[["model", "checkpoint"]].assign(detector="given", score=values, cost_s=1.0)
    (found,) = of_detectors(table, scores)
    return found


def beaten(table, evidence, kind="general"):
    return det.Beaten(evidence, table, org.of_kind(table, "none"), org.of_kind(table, kind))


@pytest.mark.parametrize("digits", [6, 0])  # without ties, and with many
def test_the_auc_is_that_of_others(digits):
    table = ready()
    values = np.random.default_rng(0).normal(size=len(table)).round(digits)
    values += (table["null"] == "none").to_numpy() * 0.5
    pair = table["null"].isin(["none", "general"])
    truth = (table.loc[pair, "null"] == "none").astype(int)

    found = beaten(table, given(table, values)).auc

    assert found == pytest.approx(roc_auc_score(truth, values[pair]))
    u, _ = stats.mannwhitneyu(values[pair][truth == 1], values[pair][truth == 0])
    assert found == pytest.approx(u / (truth.sum() * (1 - truth).sum()))


def test_scores_that_all_tie_are_at_chance_with_a_roc_along_the_diagonal():
    table = ready()
    found = beaten(table, given(table, np.zeros(len(table))))
    assert found.auc == 0.5
    np.testing.assert_allclose(found.roc(), det.GRID)


@pytest.mark.parametrize("digits", [6, 0])
def test_the_area_under_the_roc_is_the_auc(digits):
    table = ready(nulls={"general": 25})
    values = np.random.default_rng(1).normal(size=len(table)).round(digits)
    found = beaten(table, given(table, values))
    fine = np.linspace(0, 1, 100_001)
    curve = np.interp(fine, det.GRID, found.roc()) if digits == 0 else found.roc()[
        np.minimum(np.floor(fine * 100 + 1e-9).astype(int), 100)
    ]  # fmt: skip
    assert np.trapezoid(curve, fine) == pytest.approx(found.auc, abs=0.011)


def test_bases_are_not_compared_with_one_another():
    """Every score of the second base is above every one of the first; within one all is clear."""
    table = ready(models=("a", "b"))
    narrow = (table["null"] == "none").to_numpy()
    values = narrow + 10.0 * (table["model"] == "b").to_numpy()
    assert beaten(table, given(table, values)).auc == 1.0


def test_the_interval_of_a_separating_reader_is_wilsons():
    table = ready(domains=planted.DOMAINS, nulls={"general": 24})
    draws = Draws.of(table, 100, 0)
    found = beaten(table, given(table, (table["null"] == "none").astype(float))).estimate(draws)
    assert (found.value, found.high, found.bound) == (1.0, 1.0, "wilson")
    assert found.low == pytest.approx(stats.binomtest(8, 8).proportion_ci(method="wilson").low)


@pytest.mark.parametrize(("domains", "above"), [(30, 1.0), (8, 1.0), (8, 2.5), (24, 3.0)])
def test_an_interval_covers_the_true_auc(domains, above):
    """Narrow organisms so many standard deviations above nulls: the AUC is that of the normal."""
    truth = stats.norm.cdf(above / np.sqrt(2))
    names = [f"d{n}" for n in range(domains)]
    table = ready(domains=names, ladder=FLAT, nulls={"general": 30})
    draws = Draws.of(table, 300, 0)
    narrow = (table["null"] == "none").to_numpy()
    rng, covered = np.random.default_rng(0), 0
    for _ in range(120):
        values = rng.normal(size=len(table)) + above * narrow
        found = beaten(table, given(table, values)).estimate(draws)
        covered += found.low <= truth <= found.high
    assert 0.9 <= covered / 120 <= 1.0


def test_two_readers_alike_differ_by_nothing_and_a_better_one_by_its_auc():
    table = ready()
    draws = Draws.of(table, 200, 0)
    narrow = (table["null"] == "none").to_numpy()
    noise = np.random.default_rng(2).normal(size=len(table))
    ways = {}
    for name, values in (("same", noise), ("again", noise), ("better", noise + 5 * narrow)):
        one = given(table, values)
        ways[one.way._replace(reader=name)] = one
    for way, one in list(ways.items()):
        object.__setattr__(one, "way", way)
    rows = pd.DataFrame(det.differences(ways, table, draws))
    rows = rows[(rows["null"] == "general") & (rows["slice"] == "all")]
    by = rows.set_index(["reader", "other"])

    value, low, high = by.loc[("same", "again"), ["value", "low", "high"]]
    assert value == 0 and low == -high and 0 < high < 0.15
    gap = beaten(table, ways[next(w for w in ways if w.reader == "better")]).auc
    gap -= beaten(table, ways[next(w for w in ways if w.reader == "same")]).auc
    assert by.loc[("better", "same"), "value"] == pytest.approx(gap)
    assert by.loc[("better", "same"), "low"] > 0 > by.loc[("same", "better"), "high"]


# Matched ----------------------------------------------------------------------------------------


def test_a_reader_of_strength_alone_is_at_chance_among_the_matched():
    """What it sees is the measure itself: hardly anything is left among them."""
    table = ready(domains=[f"d{n}" for n in range(40)], ladder=FLAT, nulls={"general": 80})
    rng = np.random.default_rng(7)
    narrow = (table["null"] == "none").to_numpy()
    kl = np.exp(rng.normal(size=len(table)) + narrow)
    evidence = given(table, kl * np.exp(0.3 * rng.normal(size=len(table))))
    draws = Draws.of(table, 100, 0)
    rows = list(det.matched_rows(evidence, table, draws, {"kl": kl}))

    plain = beaten(table, evidence).auc
    assert plain > 0.65 and rows[0]["matched_on"] == "kl"
    assert abs(rows[0]["value"] - 0.5) < 0.5 * (plain - 0.5)
    alike = np.abs(np.log(kl)[:, None] - np.log(kl)[None]) <= np.log(det.MATCHED)
    nulls = org.of_kind(table, "general")
    counted = [i for i in org.of_kind(table, "none") if alike[i, nulls].any()]
    assert rows[0]["n_narrow"] == len(counted)
