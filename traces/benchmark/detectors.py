"""Numbers that need no token: each speaks for a narrow finetune where it is larger."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from traces.artifacts.arrays import Differences

OF_READERS = {
    "kl": ("kl", "logit_difference"),
    "weight_norm": ("weight_norm", "weight_change"),
    "weight_first": ("spectrum", "weight_change"),
}
"What readers measure on their way: the statistic, what the benchmark calls it, and the reader."


def of_difference(found: Differences, at: int, positions: Sequence[int]) -> dict[str, float]:
    """
    Means over positions of what one layer's difference is.

    at        : the layer's place in `layers`
    positions : those that count
    """
    count = np.isin(found.positions, positions)
    means = {
        "relative_norm": found.relative_norm,
        "static_share": found.static_share,
        "split_half": found.split_half_cosine,
    }
    return {name: float(np.mean(one[at][count])) for name, one in means.items()}


def of_readers(measured: pd.DataFrame) -> dict[str, tuple[float, str]]:
    """
    The mean of each statistic that readers measured, and which reader that was.

    measured : columns of statistics.parquet; of what did not change there is no spectrum, which
               then speaks for nothing
    """
    found = {}
    for statistic, (name, source) in OF_READERS.items():
        values = measured.loc[measured["statistic"] == statistic, "value"].astype(float)
        if len(values):
            found[name] = (float(np.nan_to_num(values.mean())), source)
    return found
