"""The words by which some texts differ from others: what readers of samples rank."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from traces.artifacts.scores import Scores
from traces.config.readers import SIGNS
from traces.corpora.log_odds import log_odds
from traces.readers.ranking import named
from traces.readers.reading import Found, Loaded, Probe
from traces.readers.texts import Text
from traces.readers.vocabulary import tokens_of, words_of

PRIOR = 0.1
"What the prior is worth, as a share of all that was counted: it never outweighs a few texts."
Held = NDArray[np.bool_]
"Which tokens a text holds, [text, token]."


def held(tokenizer: Any, texts: Sequence[Text], vocabulary: Iterable[int]) -> Held:
    """
    Which of the tokens in `vocabulary` each text holds as a whole word, [text, token].

    A text is tokenised anew, so that its words are spelled as text that is read is.
    """
    return _held(texts, vocabulary, lambda text: words_of(tokenizer, text).tokens)


def held_anywhere(tokenizer: Any, texts: Sequence[Text], n: int) -> Held:
    """Which of all `n` tokens each text holds, whole words or not, [text, token]."""
    return _held(texts, range(n), lambda text: tokens_of(tokenizer, text))


def _held(
    texts: Sequence[Text], vocabulary: Iterable[int], read: Callable[[str], Iterable[int]]
) -> Held:
    place = {int(token): index for index, token in enumerate(vocabulary)}
    found = np.zeros((len(texts), len(place)), dtype=np.bool_)
    for row, one in enumerate(texts):
        found[row, [place[token] for token in read(one.text) if token in place]] = True
    return found


def shift(own: Held, other: Held) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """
    How much more of the own texts hold each token than of the others, [token] each.

    returns : log-odds in nats, and the same in standard errors (z); both 0 for a token of no text,
              and for all tokens where one side has no text

    Each token's count is the number of texts that hold it, so that a text which repeats a word
    counts once. The odds are against all other tokens' counts: longer texts alone shift nothing.
    """
    counts = [one.sum(axis=0).astype(np.float64) for one in (own, other)]
    pooled = counts[0] + counts[1]
    seen = pooled > 0
    score, z = np.zeros((2, len(pooled)), dtype=np.float32)
    # One token has nothing to be compared with, nor has a side without texts.
    if seen.sum() > 1 and len(own) and len(other):
        gap, error = log_odds(counts[0][seen], counts[1][seen], PRIOR * pooled.sum())
        score[seen], z[seen] = gap, gap / error
    return score, z


def listed(
    compared: Mapping[str, tuple[Held, Held]],
    tokenizer: Any,
    vocabulary: NDArray[np.int64],
    top_k: int,
) -> tuple[pd.DataFrame, Scores]:
    """
    The tokens by which sets of texts differ, and the scores of all tokens.

    compared   : by reading, which tokens the own texts hold and the others
    vocabulary : token ids, [token]
    returns    : reading, sign, rank, token_id, token, probability (the share of the texts that hold
                 it, in the set that holds it more), score (z)

    A list holds tokens with a z above 0 alone, so that there may be fewer than `top_k`.
    """
    found = [shift(*both) for both in compared.values()]
    score, z = np.array([one for one, _ in found]), np.array([one for _, one in found])
    rows = pd.MultiIndex.from_product([compared, SIGNS], names=["reading", "sign"])
    turned = np.concatenate([sign * one[None] for one in z for sign in SIGNS])
    shares = np.stack([_shares(held) for both in compared.values() for held in both])
    shares = np.where(turned > 0, shares, 0)
    tokens = named(rows.to_frame(index=False), turned, shares, tokenizer, vocabulary, top_k, 0.0)
    return tokens, Scores(pd.DataFrame({"reading": list(compared)}), score, z)


def _shares(held: Held) -> NDArray[np.float32]:
    """The share of texts that hold each token."""
    return held.sum(axis=0, dtype=np.float32) / max(len(held), 1)


def read(
    loaded: Loaded,
    probe: Probe,
    compared: Callable[[list[Text], Held], Mapping[str, tuple[Held, Held]]],
) -> Found:
    """
    What a reader of samples finds.

    compared : from the texts and which tokens each holds to the sets that each reading compares
    """
    assert loaded.samples is not None, "the entry of a reader of samples says that it needs them"
    texts = list(loaded.samples())
    if probe.vocabulary is None:
        vocabulary = np.arange(loaded.readout("base").head.weight.shape[0])
        tokens = held_anywhere(loaded.tokenizer, texts, len(vocabulary))
    else:
        vocabulary = np.asarray(probe.vocabulary, dtype=np.int64)
        tokens = held(loaded.tokenizer, texts, vocabulary)
    sets = compared(texts, tokens)
    sets = {name: sets[name] for name in probe.readings}
    return Found(*listed(sets, loaded.tokenizer, vocabulary, probe.top_k))
