"""What stands for strength, and what is said of one member, on made-up results."""

from dataclasses import fields

import numpy as np
import pandas as pd
import pytest

from traces.artifacts.arrays import Differences
from traces.benchmark.collected import Compared, expressed, organism_rows
from traces.benchmark.members import Member


def test_strength_is_the_fall_from_the_first_to_the_last_tenth_of_steps():
    losses = [4.0, 3.0, *[9.0] * 16, 2.0, 1.0]
    table = pd.DataFrame(
        {"model": "mini", "checkpoint": "a", "step": range(20), "loss": losses}
    ).sample(frac=1, random_state=0)
    assert expressed(table) == {("mini", "a"): pytest.approx(3.5 - 1.5)}
    assert expressed(table[table["step"].isin([0, 19])]) == {("mini", "a"): pytest.approx(3.0)}


def test_what_was_not_trained_here_has_no_strength():
    own = {"organism": "a", "domain": None, "null": "unknown", "twin": None, "recipe": "released"}
    one = Member(model="mini", checkpoint="a", dose=1.0, steps=1.0, seed=0, **own)
    rows = organism_rows([one], {})
    assert np.isnan(rows.loc[0, "strength"]) and np.isnan(rows.loc[0, "damage"])


def test_all_members_of_a_model_count_the_same_positions():
    """A member with another model in the base's place may have its sinks elsewhere."""
    own = {"organism": "a", "domain": None, "null": "unknown", "twin": None, "recipe": "released"}
    members = [
        Member(model=model, checkpoint=name, dose=1.0, steps=1.0, seed=0, **own)
        for model, name in (("mini", "a"), ("mini", "b"), ("other", "a"))
    ]
    told = {"members": members, "candidates": {}, "layers": [0.5], "layer": 0.5}
    readers = {"readings": ["difference"], "top_k": 5, "readers": {}}
    compared = Compared(**told, average_sinks=False, readers=readers)

    def difference(sunk):
        known = {"layers": [3], "positions": [0, 1, 2], "n_samples": 4}
        known["sinks_base"] = [[4 * (place in sunk) for place in range(3)]]
        return Differences(
            **{one.name: np.asarray(known.get(one.name, 0.0)) for one in fields(Differences)}
        )

    found = compared.positions([difference({0}), difference({1}), difference(())])
    assert found == {"mini": [2], "other": [0, 1, 2]}
    everywhere = compared.positions([difference({0, 1}), difference({2}), difference(())])
    assert everywhere["mini"] == [2]
