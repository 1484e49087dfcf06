"""Means of what readers measured."""

import pandas as pd

from traces.benchmark.detectors import of_readers


def test_a_statistic_is_a_mean_and_what_is_no_number_speaks_for_nothing():
    rows = [("kl", 1.0), ("kl", 3.0), ("weight_first", None), ("weight_rank", 5.0)]
    found = of_readers(pd.DataFrame(rows, columns=["statistic", "value"]))
    assert found == {"kl": (2.0, "logit_difference"), "spectrum": (0.0, "weight_change")}
