"""
Logit-difference mining: which tokens are most often among those that a finetune raises the most.

Unlike a mean it does not ask by how much, so that a few contexts cannot make a list.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from traces.artifacts.scores import Scores
from traces.config.readers import SIGNS, reader
from traces.readers.logit_difference import ranked_by
from traces.readers.next_tokens import Occurrences, passed
from traces.readers.ranking import named
from traces.readers.reading import Found, Loaded, Probe
from traces.seeding import array_generator


def read(loaded: Loaded, probe: Probe, settings: Mapping[str, Any]) -> Found:
    """
    The reader's function: a row a reading, sign and rank.

    difference ranks tokens by the share of rows (text and position, `mined_positions` of each
    text) in which log p_tuned - log p_base is among the `mined_top` largest of all tokens that may
    be ranked; sign -1 among the smallest. tuned_mean and base_mean rank each model's
    log-probabilities in the same way. random gives the shares of the difference to tokens at
    random: a list as long and as sure of itself, of tokens that mean nothing. Signs at random for
    each text would be no null, since the texts that keep theirs name the domain as before.

    A token that is never among them is not listed. Of tokens with the same share the first id
    comes first. The probability beside a score is the token's mean probability. There is no floor,
    as published: rank whole words (`lenses.vocabulary`), or tokens that no training ever touched
    lead.

    Source: top-K occurrence in Diff Mining (Minder, Dumas et al., 2026).
    """
    found = passed(loaded, probe, settings)
    assert found.occurrences is not None, "the job names this reader among those that are asked"
    names = reader("logit_mining").readings_of(probe.readings)
    rows = pd.MultiIndex.from_product([names, SIGNS], names=["reading", "sign"])
    mined = found.occurrences
    shares = np.array([_shares(mined, name, sign, probe.seed) for name, sign in rows])
    shares = shares.astype(np.float32)
    beside = [ranked_by(found.means, name, sign, probe)[1] for name, sign in rows]
    # A probability of 0 would say that there is no token.
    least = np.finfo(np.float32).tiny
    beside = np.where(shares > 0, np.maximum(beside, least), 0).astype(np.float32)
    tokens = named(
        rows.to_frame(index=False),
        *(shares, beside, loaded.tokenizer, probe.vocabulary, probe.top_k, 0.0),
    )
    plain = shares[[sign == 1 for _, sign in rows]]
    lists = pd.DataFrame({"reading": names})
    return Found(tokens, Scores(lists, plain, np.full_like(plain, np.nan)))


def _shares(mined: Occurrences, reading: str, sign: int, seed: int) -> NDArray[np.float64]:
    """The shares that one list is ranked by, [token]."""
    if reading != "random":
        return mined.share(reading, sign)
    plain = mined.share("difference", sign)
    return array_generator(seed, "tokens at random").permutation(plain)
