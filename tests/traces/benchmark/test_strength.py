"""The strength at half is where it was planted, and is not given where nothing reaches it."""

import numpy as np
import pandas as pd
import pytest

from tests.traces.benchmark import planted
from traces.benchmark import organisms as org
from traces.benchmark import strength
from traces.benchmark.evidence import of_readers
from traces.benchmark.naming import Named
from traces.benchmark.resampling import Draws

LADDER = tuple((dose, 1.0, 6 * dose) for dose in np.linspace(0.05, 1, 12).round(3))


@pytest.fixture(scope="module")
def table():
    made = planted.organisms(
        domains=[f"d{n}" for n in range(20)], ladder=LADDER, nulls={"general": 20}
    )
    return org.scored(org.prepared(made, planted.scoring()))


@pytest.fixture(scope="module")
def draws(table):
    return Draws.of(table, 200, 0)


def half(table, draws, chance, values):
    narrow = org.of_kind(table, "none")
    strengths = table["strength"].to_numpy(float)[narrow]
    return strength.half_strength(strengths, values(strengths), chance, draws, narrow)


def test_a_curve_runs_from_chance_to_one_and_is_midway_at_half():
    curve = strength.Curve(0.2, 3.0, 5.0)
    np.testing.assert_allclose(curve.at(np.array([-100.0, 3.0, 100.0])), [0.2, 0.6, 1.0])
    expected = 0.2 + 0.8 / (1 + np.exp(-5.0 * (3.3 - 3.0)))
    assert curve.at(np.array([3.3]))[0] == pytest.approx(expected)


@pytest.mark.parametrize("chance", [0.5, 1 / 24])
def test_a_planted_half_is_found_within_its_interval(table, draws, chance):
    rng = np.random.default_rng(0)

    def values(strengths):
        curve = strength.Curve(chance, 0.03, 200.0)
        return (rng.random(len(strengths)) < curve.at(strengths)).astype(float)

    rows = pd.DataFrame(half(table, draws, chance, values) for _ in range(20))
    assert set(rows["said"]) == {"at"}
    assert rows["value"].mean() == pytest.approx(0.03, abs=0.001)
    assert ((rows["low"] <= 0.03) & (rows["high"] >= 0.03)).sum() >= 16
    assert (rows["high"] - rows["low"]).max() < 0.02


def test_a_step_without_any_error_is_found_between_its_sides(table, draws):
    row = half(table, draws, 0.0, lambda strengths: (strengths > 0.031).astype(float))
    strengths = np.sort(table.loc[table["null"] == "none", "strength"])
    below, above = strengths[strengths <= 0.031].max(), strengths[strengths > 0.031].min()
    assert below <= row["value"] <= above


@pytest.mark.parametrize("chance", [0.5, 1 / 24])
def test_a_reader_at_chance_is_not_reached(table, draws, chance):
    rng = np.random.default_rng(1)
    row = half(
        table, draws, chance, lambda strengths: (rng.random(len(strengths)) < chance).astype(float)
    )
    assert row["said"] == "not reached" and np.isnan(row["value"]) and np.isnan(row["high"])


def test_a_reader_that_is_perfect_is_past_its_half(table, draws):
    row = half(table, draws, 0.5, np.ones_like)
    assert row["said"] == "past it at the weakest" and np.isnan(row["value"])


def test_a_fit_with_weights_is_the_fit_of_repeated_organisms():
    rng = np.random.default_rng(2)
    strengths, values = rng.uniform(size=30), rng.integers(0, 2, size=30).astype(float)
    times = rng.integers(0, 4, size=30)
    # the same ends and the same halves between neighbours: the same grid
    times[[strengths.argmin(), strengths.argmax()]] = 1
    times = np.maximum(times, 1)
    weighted = strength.fitted(strengths, values, 0.1, times[None].astype(float))
    repeated = strength.fitted(
        np.repeat(strengths, times), np.repeat(values, times), 0.1, np.ones((1, times.sum()))
    )
    np.testing.assert_allclose(weighted, repeated)


def test_the_fit_is_the_likeliest_curve_of_a_fine_search():
    rng = np.random.default_rng(3)
    strengths = rng.uniform(size=200)
    curve = strength.Curve(0.25, 0.4, 12.0)
    values = (rng.random(200) < curve.at(strengths)).astype(float)
    (found,), (slope,) = strength.fitted(strengths, values, 0.25, np.ones((1, 200)))

    def likely(half, steep):
        p = strength.Curve(0.25, half, steep).at(strengths).clip(1e-9, 1 - 1e-9)
        return (values * np.log(p) + (1 - values) * np.log1p(-p)).sum()

    best = max(likely(h, b) for h in np.linspace(0, 1, 201) for b in np.geomspace(2, 200, 60))
    assert likely(found, slope) == pytest.approx(best, abs=0.2)


def test_a_sharper_reader_reaches_half_at_less_strength(table, draws):
    domains = sorted(set(table["domain"].dropna()))
    scores = planted.domain_scores(
        table, {"sharp": 3.0, "dull": 1.0}, domains=domains, statistics=("z",)
    )
    halves = {}
    for one in of_readers(table, scores):
        if one.way.adjustment == "raw":
            rows = pd.DataFrame(strength.half_rows(one, Named(one, table), table, draws))
            halves[one.way.reader] = rows.set_index("task")
    for task in ("detect", "name"):
        sharp, dull = halves["sharp"].loc[task], halves["dull"].loc[task]
        assert sharp["high"] < dull["low"], task
    assert halves["dull"].loc["name", "chance"] == pytest.approx(1 / 20)


# At matched strength ----------------------------------------------------------------------------


def two_recipes(effect):
    """Two recipes of equal strengths, of which a reader sees the second more by `effect`."""
    rows = []
    for number in range(24):
        for recipe, damage in (("lora", 0.0), ("full", 0.2)):
            name = f"d{number}-{recipe}-s0"
            own = {"organism": f"d{number}", "domain": f"d{number}", "recipe": recipe}
            rows.append(
                planted.organism(
                    "mini", name, "none", **own, strength=0.001 * number, damage=damage
                )
            )
    rows += [planted.organism("mini", f"general-plain-s{n}", "general", seed=n) for n in range(30)]
    table = org.scored(org.prepared(pd.DataFrame(rows), planted.scoring()))
    matrix = np.random.default_rng(4).normal(size=(len(table), 24))
    matrix += effect * (table["recipe"] == "full").to_numpy()[:, None]
    scores = planted.long(table, "one", "z", [f"d{n}" for n in range(24)], matrix)
    return table, next(iter(of_readers(table, scores)))


@pytest.mark.parametrize(("effect", "clear"), [(2.0, True), (0.0, False)])
def test_recipes_are_compared_at_matched_strength(effect, clear):
    table, evidence = two_recipes(effect)
    rows = list(strength.recipe_rows(evidence, None, table, Draws.of(table, 300, 0)))
    (row,) = rows
    assert (row["recipe"], row["other"], row["n_pairs"]) == ("lora", "full", 24)
    assert abs(row["strength_gap"]) < 1e-12 and row["damage_gap"] == pytest.approx(-0.2)
    assert (row["high"] < 0) == clear


def test_pairs_are_as_many_as_can_be_and_none_is_too_far():
    strengths = [0.0, 0.5, 5.0, 0.5, 1.05, -0.9]
    rows = [
        planted.organism("mini", f"o{n}", "none", strength=one, recipe="ab"[n > 2])
        for n, one in enumerate(strengths)
    ]
    table = pd.DataFrame(rows)
    first, second = np.arange(3), np.arange(3, 6)
    # 0.5 has a partner of just its strength, but then 0.0 would have none within 0.6
    assert strength.matched_pairs(table, first, second, 0.6) == [(0, 3), (1, 4)]
    assert strength.matched_pairs(table, first, second, 0.1) == [(1, 3)]
    assert strength.matched_pairs(table, first[2:], second, 0.1) == []


def test_mixtures_are_an_arm_of_their_own():
    table = pd.DataFrame(
        [planted.organism("mini", str(dose), "none", dose=dose) for dose in (1.0, 0.5)]
    )
    assert list(strength.arms(table)) == ["plain", "plain, mixed"]


def test_a_curve_is_of_one_recipe_whose_strengths_are_on_one_scale():
    """Organisms of false facts are ten times as strong by their loss, and no easier to find."""
    plain = planted.organisms(
        domains=[f"d{n}" for n in range(20)], ladder=LADDER, nulls={"general": 20}
    )
    facts = plain[plain["domain"].isin(["d0", "d1"])].assign(recipe="facts")
    facts = facts.assign(checkpoint="facts_" + facts["checkpoint"], strength=10 * facts["strength"])
    halves = {}
    for name, made in (("alone", plain), ("both", pd.concat([plain, facts]))):
        table = org.scored(org.prepared(made.reset_index(drop=True), planted.scoring()))
        scores = planted.domain_scores(
            table, {"one": 1.0}, statistics=("z",), domains=[f"d{n}" for n in range(20)]
        )
        evidence = next(iter(of_readers(table, scores)))
        rows = strength.half_rows(evidence, None, table, Draws.of(table, 20, 0))
        halves[name] = next(rows)
    assert halves["both"]["n"] == halves["alone"]["n"] == 20 * len(LADDER)
    assert halves["both"]["strongest"] == halves["alone"]["strongest"] < 1
