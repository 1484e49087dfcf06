"""
Black box: the words by which texts of the tuned model differ from texts of its base.

Nothing of the models is needed but what they write.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from traces.readers import word_shift
from traces.readers.reading import Found, Loaded, Probe
from traces.readers.texts import Text
from traces.readers.word_shift import Held


def read(loaded: Loaded, probe: Probe, _settings: Mapping[str, Any]) -> Found:
    """
    The reader's function: a row a reading, sign and rank. Tokens are ranked by z.

    difference : the tuned model's texts against as many of the base's
    base_mean  : the base's second set of texts in their place: no difference at all
    random     : half of both models' texts against the other half: each has as many of both
    """

    def compared(texts: list[Text], held: Held) -> dict[str, tuple[Held, Held]]:
        tuned = np.array([one.writer == "tuned" for one in texts])
        series = np.array([one.series for one in texts])
        base, again = ~tuned & (series == 0), ~tuned & (series == 1)
        # All prompts are on both sides: those of one parity come from one model, the others from
        # the other.
        even = np.array([one.number % 2 == 0 for one in texts])
        dealt = (tuned | base) & (tuned == even)
        return {
            "difference": (held[tuned], held[base]),
            "base_mean": (held[again], held[base]),
            "random": (held[dealt], held[(tuned | base) & ~dealt]),
        }

    return word_shift.read(loaded, probe, compared)
