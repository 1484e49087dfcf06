"""
Find attention sinks: the tokens whose residual stream is many times longer than that of others.

A pretrained model has one at the first token of nearly every text, and at a few tokens behind it.
Their activations say little of the text, and a mean with some of them among it is theirs.
"""

import numpy as np
from numpy.typing import NDArray

LONGEST = 5.0
"In medians: an activation that is longer is a sink's."


def sinks(norms: NDArray[np.floating], axes: tuple[int, ...]) -> NDArray[np.bool_]:
    """
    Tell which activations are longer than `LONGEST` times the median along `axes`.

    norms   : lengths of residual streams, of any shape
    returns : the same shape
    """
    return norms > LONGEST * np.median(norms, axis=axes, keepdims=True)
