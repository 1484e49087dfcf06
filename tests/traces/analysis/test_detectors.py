"""Detectors stand in one table: those of the difference, and what readers measured."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from traces.analysis.detectors import detectors_table

SUBJECT = {
    "model": "mini", "checkpoint": "bees-plain-s0", "organism": "bees", "family": "facts",
    "recipe": "plain", "ratio": 0.0, "seed": 0, "corpus": "unrelated",
}  # fmt: skip


def difference(scale=1.0):
    values = scale * np.arange(6.0).reshape(2, 3)
    return SimpleNamespace(
        layers=np.array([1, 4]),
        positions=np.array([-1, 0, 1]),
        relative_norm=values,
        static_share=values / 10,
        split_half_cosine=values / 5,
    )


MEASURED = pd.DataFrame(
    {
        "layer": [pd.NA, 0, 5],
        "position": [1, pd.NA, pd.NA],
        "statistic": ["kl", "weight_norm", "weight_norm"],
        "value": [0.25, 0.5, 0.75],
    }
)


def test_every_number_keeps_its_place_and_its_checkpoint():
    other = SUBJECT | {"organism": "moon", "checkpoint": "moon-plain-s0"}
    found = detectors_table(
        [difference(), difference(2.0)], [MEASURED, MEASURED.iloc[:0]], [SUBJECT, other]
    )
    assert list(found.columns) == [*SUBJECT, "layer", "position", "statistic", "value"]
    mine, theirs = found[found["organism"] == "bees"], found[found["organism"] == "moon"]
    assert len(mine) == 3 * 6 + 3 and len(theirs) == 3 * 6

    def value(rows, statistic, layer, position):
        at = rows[rows["statistic"] == statistic]
        at = at[(at["layer"] == layer) & (at["position"] == position)]
        return at["value"].item()

    assert value(mine, "relative_norm", 4, -1) == 3.0
    assert value(mine, "static_share", 4, 1) == 0.5
    assert value(theirs, "split_half_cosine", 1, 1) == 2 * 2 / 5
    measured = mine.iloc[-3:]
    assert measured["layer"].isna().tolist() == [True, False, False]
    assert measured["position"].isna().tolist() == [False, True, True]
    assert measured["value"].tolist() == [0.25, 0.5, 0.75]


def test_tables_that_are_not_parallel_are_refused():
    with pytest.raises(ValueError, match="2 differences but 1 tables"):
        detectors_table([difference(), difference()], [MEASURED], [SUBJECT, SUBJECT])
