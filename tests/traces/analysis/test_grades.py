"""Counts of grades, effect coding, and agreement against known values."""

import itertools

import numpy as np
import pandas as pd
import pytest

from tests.traces.analysis.made_grades import FAMILIES, agents
from traces.analysis.grades import (
    agreement,
    design,
    grade_counts,
    of_organisms,
    ordinal_alpha,
    zero_sum_basis,
)

_ = np.nan
# The worked example of Krippendorff 2011: four observers, twelve units.
EXAMPLE = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, _, _, _],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _, 3],
        [_, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _],
    ]
).T


@pytest.fixture(scope="module")
def made() -> pd.DataFrame:
    """Grades with three abstentions and two missing rows, and a null."""
    frame = agents(np.random.default_rng(0), {}, runs=1, repeats=2)
    frame.loc[:2, "abstained"] = True
    frame.loc[:2, "grade"] = pd.NA
    frame.loc[3:4, "reason_missing"] = ["refusal", "cap"]
    frame.loc[3:4, ["grade", "abstained"]] = pd.NA
    return pd.concat([frame, frame.assign(null="random")], ignore_index=True)


def test_every_planned_row_is_counted_once(made):
    found = grade_counts(made)
    assert found["n"].sum() == len(made)
    by_outcome = found.groupby(["null", "outcome"])["n"].sum()
    assert by_outcome["none"].to_dict() == by_outcome["random"].to_dict() == {
        "abstained": 3, "cap": 1, "refusal": 1, "graded": len(made) / 2 - 5}  # fmt: skip
    lost = made.assign(abstained=False)
    with pytest.raises(ValueError, match="expected a grade, an abstention or a reason"):
        grade_counts(lost)


def test_grades_of_nulls_and_rows_without_a_grade_are_no_part_of_the_regression(made):
    found = of_organisms(made, FAMILIES)
    assert len(found) == len(made) / 2 - 5 and set(found["family"]) == set(FAMILIES.values())
    # Two repeats and three graders of one hypothesis are one investigation.
    assert found["investigation"].nunique() == 4 * 2 * 2
    with pytest.raises(ValueError, match="the organism bees, which has no family"):
        of_organisms(made, {})


@pytest.mark.parametrize("k", [2, 3, 7])
def test_effects_sum_to_zero_and_have_the_same_prior(k):
    basis = zero_sum_basis(k)
    np.testing.assert_allclose(basis.sum(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose((basis**2).sum(axis=1), 1)


def test_a_design_has_the_factors_that_vary_and_says_which_coincide(made):
    frame = of_organisms(made, FAMILIES)
    coded = design(frame)
    assert coded.levels == {
        "agent": ["black_box", "lens"],
        "prompt": ["neutral", "presupposing"],
        "family": ["false_facts", "misalignment", "taboo"],
        "grader_model": ["one", "three", "two"],
    }
    assert coded.matrix.shape == (len(frame), 1 + 1 + 2 + 2) and all(coded.estimable.values())
    alike = design(frame.assign(interactions=frame["agent"].map({"lens": 0, "black_box": 50})))
    unknown = {name for name, one in alike.estimable.items() if not one}
    assert unknown == {"agent", "interactions"}
    # The row of a level is its effect as a function of the weights.
    weights = np.arange(coded.matrix.shape[1], dtype=float)
    effect = coded.bases["family"] @ weights[coded.columns["family"]]
    only = coded.matrix[:, coded.columns["family"]] @ weights[coded.columns["family"]]
    assert only[frame["family"] == "taboo"] == pytest.approx(effect[2])


def test_alpha_of_the_worked_example():
    found = ordinal_alpha(EXAMPLE, seed=0)
    assert found.alpha == pytest.approx(0.815, abs=5e-4)
    assert found.low < found.alpha < found.high and (found.n_units, found.n_values) == (11, 40)
    # Two categories: the same as nominal.
    two = np.where(np.isnan(EXAMPLE), np.nan, EXAMPLE > 2)
    assert ordinal_alpha(two, seed=0).alpha == pytest.approx(ordinal_alpha(1 - two, seed=0).alpha)


def alpha_pair_by_pair(values: np.ndarray) -> float:
    """Alpha by its definition: over pairs within units, and over all pairs of values."""
    units = [unit[~np.isnan(unit)] for unit in values]
    units = [unit for unit in units if len(unit) > 1]
    pooled = np.concatenate(units)
    counts = {one: int((pooled == one).sum()) for one in np.unique(pooled)}

    def distance(one: float, other: float) -> float:
        low, high = sorted((one, other))
        between = sum(n for value, n in counts.items() if low <= value <= high)
        return (between - (counts[low] + counts[high]) / 2) ** 2

    within = sum(
        distance(one, other) / (len(unit) - 1)
        for unit in units
        for one, other in itertools.permutations(unit, 2)
    )
    every = sum(distance(one, other) for one, other in itertools.permutations(pooled, 2))
    return 1 - (len(pooled) - 1) * within / every


def test_alpha_is_that_of_its_definition():
    assert alpha_pair_by_pair(np.asarray(EXAMPLE, dtype=float)) == pytest.approx(0.815, abs=5e-4)
    rng = np.random.default_rng(0)
    for _n in range(20):
        values = rng.integers(1, 6, size=(30, 4)) + rng.integers(0, 2, size=(30, 1)) * 2.0
        values[rng.random(values.shape) < 0.3] = np.nan
        found = ordinal_alpha(values, seed=0, resamples=2).alpha
        assert found == pytest.approx(alpha_pair_by_pair(values))


@pytest.mark.parametrize(
    ("values", "alpha"),
    [
        (np.tile(np.arange(1.0, 6), (3, 1)).T, 1.0),
        (np.full((5, 3), 2.0), np.nan),
        (np.array([[1.0, np.nan], [np.nan, 2.0]]), np.nan),
        (np.array([[1.0, 2.0], [2.0, 1.0]]), -0.5),
    ],
    ids=["agreed", "all the same", "none meet", "opposed"],
)
def test_alpha_at_its_ends(values, alpha):
    assert ordinal_alpha(values, seed=0).alpha == pytest.approx(alpha, nan_ok=True)


def test_an_interval_of_alpha_holds_the_alpha_of_many_units():
    def drawn(n, seed):
        rng = np.random.default_rng(seed)
        truth = rng.integers(1, 6, size=(n, 1))
        return np.clip(truth + rng.integers(-1, 2, size=(n, 3)), 1, 5).astype(float)

    whole = ordinal_alpha(drawn(20_000, 0), seed=0, resamples=2).alpha
    found = [ordinal_alpha(drawn(60, seed), seed=seed, resamples=400) for seed in range(1, 81)]
    assert 0.88 <= np.mean([one.low <= whole <= one.high for one in found]) <= 0.995


def test_repeats_of_one_hypothesis_are_no_further_evidence():
    """Three repeats that say the same make an interval no narrower than one."""
    once = np.asarray(EXAMPLE, dtype=float)
    thrice, hypothesis = np.repeat(once, 3, axis=0), np.repeat(np.arange(len(once)), 3)
    one, three = ordinal_alpha(once, seed=0), ordinal_alpha(thrice, seed=0, drawn_with=hypothesis)
    assert (three.low, three.high) == pytest.approx((one.low, one.high), abs=0.01)
    apart = ordinal_alpha(thrice, seed=0)
    assert apart.high - apart.low < 0.8 * (three.high - three.low)


def test_graders_agree_with_one_another_and_each_with_itself():
    rng = np.random.default_rng(0)
    noise = {"investigation": 3.0, "grader_of_investigation": 3.0}
    frame = agents(rng, {}, deviations=noise, runs=20, repeats=2)
    found = agreement(frame, seed=0)
    (between,) = found.query("between == 'graders' and of == 'grade'").to_dict("records")
    own = found.query("between == 'repeats' and of == 'grade'")
    # A grader has views of its own, which its repeats share.
    assert (own["alpha"] > between["alpha"] + 0.1).all() and between["alpha"] > 0.2
    assert (own["n_units"] == 4 * 2 * 2 * 20).all() and between["n_units"] == 2 * 4 * 2 * 2 * 20
    assert found.loc[found["of"] == "abstention", "alpha"].isna().all()  # nobody abstained
