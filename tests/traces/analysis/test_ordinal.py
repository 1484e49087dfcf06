"""Planted effects of grades come back, with intervals that hold them as often as they say."""

import importlib.util

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.traces.analysis.made_grades import FAMILIES, agents
from traces.analysis.grades import of_organisms, zero_sum_basis
from traces.analysis.ordinal import COMPONENTS, Chains, components_table, effects_table, fit, hdi

needs_numpyro = pytest.mark.skipif(
    any(importlib.util.find_spec(one) is None for one in ("numpyro", "statsmodels")),
    reason="numpyro and statsmodels are not installed (requirements-bayes.in)",
)
SHORT = Chains(chains=2, warmup=300, samples=500, target=0.9)
PLANTED = {
    "agent": {"lens": 1.0, "black_box": -1.0},
    "prompt": {"neutral": -0.2, "presupposing": 0.2},
    "family": {"false_facts": 0.5, "misalignment": 0.0, "taboo": -0.5},
    "grader_model": {"one": 0.6, "two": 0.0, "three": -0.6},
}


def test_without_numpyro_the_error_says_what_to_do(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    frame = of_organisms(agents(np.random.default_rng(0), {}, runs=1), FAMILIES)
    with pytest.raises(ValueError, match="numpyro is not installed.*requirements-bayes.in"):
        fit(frame, seed=0)


def test_the_narrowest_interval_holds_its_share():
    rng = np.random.default_rng(0)
    low, high = hdi(rng.exponential(size=20_000))
    assert low < 0.01 and high == pytest.approx(-np.log(0.05), abs=0.15)
    low, high = hdi(rng.normal(size=20_000))
    assert (low, high) == pytest.approx((-1.96, 1.96), abs=0.12)


@pytest.fixture(scope="module")
def recovered() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Grades of independent hypotheses with planted effects, and the table of a fit."""
    frame = agents(np.random.default_rng(1), PLANTED, runs=10)
    # Each grade is a hypothesis of its own, so that nothing but the factors varies.
    frame = frame.assign(run=np.arange(len(frame)))
    frame = of_organisms(frame, FAMILIES)
    return frame, effects_table(frame, fit(frame, groups={}, seed=0, chains=SHORT))


@needs_numpyro
def test_planted_effects_are_recovered(recovered):
    _, table = recovered
    table = table.set_index(["factor", "level"])
    for factor, levels in PLANTED.items():
        for level, effect in levels.items():
            row = table.loc[(factor, level)]
            width = row["effect_high"] - row["effect_low"]
            assert abs(row["effect"] - effect) < width and width < 1
    assert table.loc[("agent", "lens"), "probability_positive"] > 0.999
    assert (table["r_hat"] < 1.05).all() and (table["divergences"] == 0).all()
    assert table["estimable"].all()
    sums = table.groupby("factor")["effect"].sum()
    np.testing.assert_allclose(sums, 0, atol=1e-9)


@needs_numpyro
def test_without_groups_the_fit_is_that_of_statsmodels(recovered):
    _, table = recovered
    np.testing.assert_allclose(table["effect"], table["pooled"], atol=0.06)
    for end in ("low", "high"):
        np.testing.assert_allclose(table[f"effect_{end}"], table[f"pooled_{end}"], atol=0.08)


@needs_numpyro
def test_factors_that_coincide_have_an_effect_by_their_prior_alone():
    frame = agents(np.random.default_rng(2), {"agent": PLANTED["agent"]}, runs=3)
    frame["interactions"] = frame["agent"].map({"lens": 0, "black_box": 50})
    table = effects_table(*_fitted(frame)).set_index("factor")
    assert not table.loc[["agent", "interactions"], "estimable"].any()
    assert table.loc[["prompt", "family"], "estimable"].all() and table["pooled"].isna().all()


def _fitted(frame: pd.DataFrame, **options):
    rows = of_organisms(frame, FAMILIES)
    return rows, fit(rows, seed=0, chains=SHORT, **options)


@needs_numpyro
def test_components_of_the_variance_are_those_that_were_planted():
    planted = {"investigation": 1.5, "grader": 0.8, "grader_of_investigation": 1.0}
    organisms = {f"organism{n}": "false_facts" for n in range(12)}
    # Both deviations of three graders or twelve organisms are known but roughly.
    frame = agents(
        np.random.default_rng(3),
        {},
        deviations=planted | {"organism": 1.0},
        runs=3,
        repeats=2,
        organisms=organisms,
    )
    found = fit(of_organisms(frame, organisms), (), COMPONENTS, seed=0, chains=SHORT)
    table = components_table(found).set_index("component")
    assert list(table.index) == [*COMPONENTS, "repeat"]
    for name, deviation in (planted | {"organism": 1.0}).items():
        # Of four intervals of 95 %, one would often miss.
        low, high = hdi(found.deviations[name], 0.999)
        assert low < deviation < high
    assert table["share"].sum() == pytest.approx(1)
    assert table.loc["repeat", "deviation"] == pytest.approx(np.pi / np.sqrt(3))
    assert table.loc["agent", "share"] < 0.1 < table.loc["investigation", "share"]


SIMULATIONS = 20


@needs_numpyro
@pytest.mark.slow
def test_intervals_hold_effects_as_often_as_they_say():
    # Effects are drawn from the prior, and so are the deviations: 95 % is then what is expected.
    quick = Chains(chains=2, warmup=250, samples=400, target=0.85)
    rng = np.random.default_rng(4)
    held, false = [], []
    for number in range(SIMULATIONS):
        effects = {
            "agent": _sum_to_zero(rng, ("lens", "black_box")),
            "prompt": {"neutral": 0.0, "presupposing": 0.0},
            "grader_model": _sum_to_zero(rng, ("one", "two", "three")),
        }
        spread = dict(zip(("organism", "investigation"), abs(rng.normal(size=2)), strict=True))
        frame = of_organisms(agents(rng, effects, deviations=spread, runs=2), FAMILIES)
        found = fit(frame, tuple(effects), seed=number, chains=quick)
        table = effects_table(frame, found).set_index(["factor", "level"])
        ends = {key: (row["effect_low"], row["effect_high"]) for key, row in table.iterrows()}
        held += [
            low <= effects[factor][level] <= high
            for (factor, level), (low, high) in ends.items()
            if factor != "prompt" and level not in ("black_box", "three")
        ]
        low, high = ends["prompt", "neutral"]
        false.append(not low <= 0 <= high)
    # Three effects a simulation, about independent of one another.
    fewest, most = stats.binom.interval(0.999, len(held), 0.95)
    assert fewest <= sum(held) <= most, sum(held)
    # A planted zero is called an effect no more often than in 5 %.
    assert sum(false) <= stats.binom.ppf(0.999, SIMULATIONS, 0.05), sum(false)


def _sum_to_zero(rng: np.random.Generator, levels: tuple[str, ...]) -> dict[str, float]:
    """Effects of a factor's levels as the model draws them."""
    drawn = zero_sum_basis(len(levels)) @ rng.normal(size=len(levels) - 1)
    return dict(zip(levels, drawn, strict=True))
