"""What stands for strength, and what is said of one member, on made-up results."""

import numpy as np
import pandas as pd
import pytest

from traces.benchmark.collected import expressed, organism_rows
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
