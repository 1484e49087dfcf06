"""Means of differences, and of what readers measured."""

from dataclasses import fields

import numpy as np
import pandas as pd

from traces.artifacts.arrays import Differences
from traces.benchmark.detectors import of_difference, of_readers


def test_a_mean_is_of_one_layer_and_of_the_positions_that_count():
    known = {"positions": [0, 1, 4]}
    known |= {
        name: [[9.0, 9.0, 9.0], [100.0, 1.0, 3.0]]
        for name in ("relative_norm", "static_share", "split_half_cosine")
    }
    found = Differences(
        **{one.name: np.asarray(known.get(one.name, 0.0)) for one in fields(Differences)}
    )
    names = ("relative_norm", "static_share", "split_half")
    assert of_difference(found, 1, [1, 4]) == dict.fromkeys(names, 2.0)


def test_a_statistic_is_a_mean_and_what_is_no_number_speaks_for_nothing():
    rows = [("kl", 1.0), ("kl", 3.0), ("weight_first", None), ("weight_rank", 5.0)]
    found = of_readers(pd.DataFrame(rows, columns=["statistic", "value"]))
    assert found == {"kl": (2.0, "logit_difference"), "spectrum": (0.0, "weight_change")}
