"""How much more often a word is in one set of texts than in another, and how sure that is."""

import numpy as np
from numpy.typing import NDArray


def log_odds(
    own: NDArray[np.float64], general: NDArray[np.float64], prior: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """
    Log-odds of each word in the one set against the other, in nats, and its standard error.

    own, general : counts of each word, [word]; each word stands in one of them at least
    prior        : both are drawn towards the two together by a Dirichlet prior worth so many words

    Source: Monroe, Colaresi & Quinn 2008, Fightin' Words, eqs. 15-22 (informative Dirichlet prior).
    """
    pooled = own + general
    expected = prior * pooled / pooled.sum()

    def odds(y: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.log((y + expected) / (y.sum() + expected.sum() - y - expected))

    variance = 1 / (own + expected) + 1 / (general + expected)
    return odds(own) - odds(general), np.sqrt(variance)
