"""Steering and ablating against other directions, with planted effects."""

import pandas as pd
import pytest

from tests.traces.analysis.planted import subject
from traces.analysis import collect, comparisons
from traces.artifacts import tables


def steered(values, recipe="plain", model="base"):
    """Texts of two positions and three seeds; `values` maps a vector to its mean similarity."""
    return pd.DataFrame(
        [
            subject("cake_bake", recipe, seed)
            | {"steered_model": model, "vector": vector, "position": position, "averaged": True}
            | {"similarity_own": value + gap + seed / 100 + 0.4, "own_words": value}
            | {"similarity_unrelated": 0.4}
            for vector, value in values.items()
            for seed in range(3)
            for position, gap in ([(None, 0)] if vector == "none" else [(0, -0.05), (1, 0.05)])
        ]
    )


def test_the_steering_table_is_as_its_schema_says():
    written = {name: [0.5] for name in tables.SCHEMAS["steering_similarity"]}
    frame = pd.DataFrame(written).assign(vector="none", position=pd.NA, n_texts=3)
    found = collect.steering_table([frame], [subject("cake_bake")])
    assert [*found.columns] == [one for one in tables.SCHEMAS["steering"] if one != "averaged"]


def test_steering_is_held_against_the_stronger_control_by_seed():
    frame = pd.concat(
        [
            steered({"difference": 0.5, "random": 0.2, "none": 0.3}),
            steered({"difference": 0.3, "random": 0.3, "none": 0.1}, recipe="rslora"),
        ]
    )
    found = comparisons.steering_verdicts(comparisons.steering_seeds(frame))
    found = found.set_index(["recipe", "measure"])
    row = found.loc[("plain", "steering_margin")]
    assert row[["difference", "random", "none"]].tolist() == pytest.approx([0.51, 0.21, 0.31])
    assert row["difference_low"] < 0.5 < row["difference_high"]
    assert (row["strongest_control"], row["verdict"]) == ("none", "steers")
    assert [row[f"gap{end}"] for end in ("", "_low", "_high")] == pytest.approx([0.2] * 3)
    row = found.loc[("rslora", "own_words")]
    assert (row["strongest_control"], row["verdict"]) == ("random", "not shown")


def test_steering_less_than_a_control_in_every_seed_is_a_finding():
    frame = steered({"difference": 0.1, "random": 0.3, "none": 0.2})
    found = comparisons.steering_verdicts(comparisons.steering_seeds(frame))
    assert (found["gap_high"] < 0).all()
    assert set(found["verdict"]) == {"does not steer"}


def test_steering_with_one_seed_is_undecided():
    frame = steered({"difference": 0.5, "random": 0.2, "none": 0.3})
    found = comparisons.steering_verdicts(comparisons.steering_seeds(frame[frame["seed"] == 0]))
    assert set(found["verdict"]) == {"undecided"}
    assert found["gap"].notna().all()


def taken_out(effect=0.1, spread=0.0, seeds=3, **case):
    """The difference changes the loss by `effect`, controls by -.01 and .01 in turn."""
    plain = {**subject("cake_bake"), "corpus": "unrelated", "layer": 2, "evaluated_on": "own"}
    plain |= {"intervention": "base_to_tuned", "aggregation": "without_position", "n_tokens": 50}
    plain |= {"averaged": True}
    rows = []
    for seed in range(seeds):
        one = plain | case | {"seed": seed}
        for position in (0, 1):
            value = effect + (0.01 if position else -0.01) + spread * (seed - 1)
            rows.append(one | {"direction": "difference", "position": position,
                               "direction_id": position, "delta_loss": value})  # fmt: skip
            for kind in comparisons.OTHER_DIRECTIONS:
                for number in range(20):
                    value = 0.01 * (-1) ** number
                    rows.append(one | {"direction": kind, "position": position,
                                       "direction_id": number, "delta_loss": value})  # fmt: skip
    return pd.DataFrame(rows)


def verdict_of(frame):
    (row,) = comparisons.causality_verdicts(comparisons.causality_effects(frame)).to_dict("records")
    return row


def test_the_causality_table_is_as_its_schema_says():
    frame = pd.DataFrame({name: [0] for name in tables.SCHEMAS["effects"]})
    found = collect.causality_table([frame], [subject("cake_bake")])
    assert {*found.columns, "averaged"} == set(tables.SCHEMAS["causality"])


def test_an_effect_is_one_number_a_seed_and_direction():
    frame = taken_out()
    other = frame.assign(delta_loss=9.0)
    more = [other.assign(aggregation="all"), other.assign(intervention="zero"), frame]
    found = comparisons.causality_effects(pd.concat(more))
    counts = found.groupby(["seed", "direction"]).size().unstack()
    assert (counts == [20, 1, 20]).all(axis=None)
    own = found.loc[found["direction"] == "difference", "delta_loss"]
    assert own.tolist() == pytest.approx([0.1] * 3)


@pytest.mark.parametrize(("effect", "verdict"), [(0.1, "raises"), (-0.1, "lowers")])
def test_a_clear_effect_is_beyond_0_and_the_other_directions(effect, verdict):
    row = verdict_of(taken_out(effect, spread=0.005))
    assert (row["verdict"], row["beyond"], row["seeds"]) == (verdict, 1.0, 3)
    assert row["effect"] == pytest.approx(effect)
    assert row["times_random"] == pytest.approx(10)
    assert (row["random"], row["random_size"]) == (pytest.approx(0), pytest.approx(0.01))


def test_an_effect_that_other_directions_have_or_seeds_disagree_on_is_not_clear():
    like_others = verdict_of(taken_out(0.01))
    assert like_others["low"] > 0 and like_others["beyond"] == 0.5
    in_one_seed = taken_out(0.1)
    in_one_seed.loc[(in_one_seed["seed"] == 1) & (in_one_seed["direction"] == "random"),
                    "delta_loss"] = 0.2  # fmt: skip
    assert verdict_of(in_one_seed)["beyond"] == 0.5
    for frame in (taken_out(0.01), in_one_seed, taken_out(0.1, spread=0.2)):
        assert verdict_of(frame)["verdict"] == "not shown"
    assert verdict_of(taken_out(seeds=1))["verdict"] == "undecided"
