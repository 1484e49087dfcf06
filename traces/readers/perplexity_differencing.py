"""
Perplexity differencing: the words of texts that the tuned model finds likelier than its base does.

As published, completions of the tuned model are ranked by how much lower their perplexity is under
it than under a reference, and a person or a model reads the first ones. Here they are written from
nothing and to neutral prompts, not behind pieces of text, and their words are counted.

Source: Abu Baker, Baroni & Wilhelm 2026, arXiv 2605.00994.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from traces.readers import word_shift
from traces.readers.reading import Found, Loaded, Probe
from traces.readers.texts import Text
from traces.readers.word_shift import Held
from traces.seeding import array_generator


class Settings(BaseModel, frozen=True, extra="forbid"):
    """The study's section `lenses.perplexity_differencing`."""

    top_share: float


def read(loaded: Loaded, probe: Probe, settings: Mapping[str, Any]) -> Found:
    """
    The reader's function: a row a reading, sign and rank. Tokens are ranked by z.

    difference : the tuned model's texts with the largest gaps against the rest of them
    base_mean  : the base's texts with the largest gaps against the rest of them
    random     : as many of the tuned model's texts, by lot, against the rest of them
    """
    share = Settings.model_validate(settings).top_share

    def compared(texts: Sequence[Text], held: Held) -> dict[str, tuple[Held, Held]]:
        gap = np.array([one.gap for one in texts])
        # A seed of its own will do: the texts are drawn by the study's.
        lot = array_generator(0, "perplexity_differencing", "lot").random(len(texts))
        tuned = np.array([one.writer == "tuned" for one in texts])
        base = np.array([one.writer == "base" and one.series == 0 for one in texts])
        kinds = np.array([one.kind for one in texts])
        found = {}
        for name, whose, score in (
            ("difference", tuned, gap),
            ("base_mean", base, gap),
            ("random", tuned, lot),
        ):
            first = top(score, whose, kinds, share)
            found[name] = held[first], held[whose & ~first]
        return found

    return word_shift.read(loaded, probe, compared)


def top(
    score: NDArray[np.float64], whose: NDArray[np.bool_], kinds: NDArray[Any], share: float
) -> NDArray[np.bool_]:
    """
    Which texts have the highest scores, as a share of the documents and of the replies.

    score, kinds : of every text; whose : the texts that are ranked
    returns      : [text]; of each kind at least one, and one at least is left out; none of a kind
                   whose texts all have one score, as those of two equal models do

    Each kind is ranked by itself, or the words of replies would be read as those of the gap.
    """
    found = np.zeros(len(score), dtype=np.bool_)
    for kind in np.unique(kinds[whose]):
        mine = np.flatnonzero(whose & (kinds == kind))
        if len(mine) > 1 and np.ptp(score[mine]) == 0:
            continue
        n = min(max(1, round(share * len(mine))), len(mine) - 1)
        found[mine[np.argsort(-score[mine], kind="stable")[:n]]] = True
    return found
