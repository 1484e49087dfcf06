"""Numbers that need no token: each speaks for a narrow finetune where it is larger."""

import numpy as np
import pandas as pd

from traces.artifacts.arrays import Differences

OF_READERS = {
    "kl": ("kl", "logit_difference"),
    "weight_norm": ("weight_norm", "weight_change"),
    "weight_first": ("weight_first", "weight_change"),
}
"What readers measure on their way: by the benchmark's name, the statistic and the reader."


def of_difference(found: Differences, at: int) -> dict[str, float]:
    """Means over positions of what one layer's difference is; `at` is its place in `layers`."""
    means = {
        "relative_norm": found.relative_norm,
        "static_share": found.static_share,
        "split_half": found.split_half_cosine,
    }
    return {name: float(np.mean(one[at])) for name, one in means.items()}
