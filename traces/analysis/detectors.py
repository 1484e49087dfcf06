"""
Detectors: statistics that tell *that* something narrow was learned, without any token.

Some are numbers of the mean difference, others of what readers measured on the way. None says what
was learned; each is compared with that of a finetune on broad text.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from traces.analysis.collect import SUBJECT, stacked
from traces.artifacts.arrays import Differences

OF_DIFFERENCES = ("relative_norm", "static_share", "split_half_cosine")
COLUMNS = ("layer", "position", "statistic", "value")


def detectors_table(
    differences: Sequence[Differences],
    measured: Sequence[pd.DataFrame],
    subjects: Sequence[Mapping[str, Any]],
) -> pd.DataFrame:
    """
    Stack the statistics of all checkpoints, one row a number.

    differences : one a checkpoint and corpus: OF_DIFFERENCES at every layer and position
    measured    : parallel, columns of statistics.parquet: what readers measured. Of weights a
                  number has no position, of next tokens no layer; of a reader that the study does
                  not name there are none
    subjects    : parallel
    returns     : SUBJECT, layer, position, statistic, value

    Raises ValueError if the three are not equally long or a subject lacks a column.
    """
    if len(measured) != len(differences):
        raise ValueError(f"{len(differences)} differences but {len(measured)} tables beside them")
    frames = [
        pd.concat([_of_difference(one), *([table] if len(table) else [])], ignore_index=True)
        for one, table in zip(differences, measured, strict=True)
    ]
    return stacked(frames, subjects, SUBJECT)


def _of_difference(difference: Differences) -> pd.DataFrame:
    layers, positions = difference.layers, difference.positions
    parts = [
        pd.DataFrame(
            {
                "layer": np.repeat(layers, len(positions)),
                "position": np.tile(positions, len(layers)),
                "statistic": name,
                "value": np.ravel(getattr(difference, name)),
            }
        )
        for name in OF_DIFFERENCES
    ]
    return pd.concat(parts, ignore_index=True)[list(COLUMNS)]
