"""
Find attention sinks: the tokens whose residual stream is many times longer than that of others.

A pretrained model has one at the first token of nearly every text, and at a few tokens behind it.
Their activations say little of the text, and a mean with some of them among it is theirs.
"""

import numpy as np
from numpy.typing import NDArray

LONGEST = 5.0
"In typical lengths: an activation that is longer is a sink's."


def sinks(norms: NDArray[np.floating], typical: NDArray[np.floating] | float) -> NDArray[np.bool_]:
    """
    Tell which activations are longer than `LONGEST` times what is typical of their layer.

    norms   : lengths of residual streams, of any shape
    typical : the length of other tokens there, which broadcasts to that shape. It must not come
              from `norms` where most of them may be sinks, as at the first tokens of texts
    returns : the shape of `norms`
    """
    return norms > LONGEST * np.asarray(typical)
