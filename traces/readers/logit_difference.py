"""
The mean logit difference: which next tokens a finetune makes more probable on unrelated text.

No direction is read. The mean is that of log-probabilities, tuned minus base, over all texts and
positions together: a mean at each position would be over fewer texts, and says the same of the
miniature. So a reading stands beside every layer and position.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from traces.artifacts.scores import Scores
from traces.config.readers import SIGNS, reader
from traces.readers.next_tokens import Means, Settings, passed
from traces.readers.ranking import named
from traces.readers.reading import Found, Loaded, Probe


def read(loaded: Loaded, probe: Probe, settings: Mapping[str, Any]) -> Found:
    """
    The reader's function: a row a reading, sign and rank.

    difference is the mean over rows (text and position) of log p_tuned - log p_base, in nats.
    tuned_mean and base_mean are the means of either alone, what it says of any text. random is the
    difference between the base's means over two random halves of the texts. A random sign for
    each text's difference is no null: the words of a domain vary most over texts, and lead it, too.

    Only tokens are ranked whose mean probability is at least `floor`, under the model that makes
    them more probable: of the difference the tuned one for sign 1, the base for sign -1. Without
    it, tokens that no training ever touched lead every list.

    Its scores have no standard scores. A null of directions does not exist here; and over texts
    the standard error is smallest for tokens whose logit moves alike everywhere, which are the
    ones that were never trained.

    It also measures `kl`: the mean Kullback-Leibler divergence of the base's next-token
    distribution from the tuned model's, KL(tuned || base) in nats, at each position.
    """
    own = Settings.model_validate(settings)
    means = passed(loaded, probe, settings).means
    names = reader("logit_difference").readings_of(probe.readings)
    rows = pd.MultiIndex.from_product([names, SIGNS], names=["reading", "sign"])
    lists = [ranked_by(means, name, sign, probe) for name, sign in rows]
    tokens = named(
        rows.to_frame(index=False),
        np.array([score for score, _ in lists], dtype=np.float32),
        np.array([probability for _, probability in lists], dtype=np.float32),
        loaded.tokenizer,
        probe.vocabulary,
        probe.top_k,
        own.floor,
    )
    plain = np.array(
        [score for (_, sign), (score, _) in zip(rows, lists, strict=True) if sign == 1]
    )
    score = plain.astype(np.float32)
    scores = Scores(pd.DataFrame({"reading": names}), score, np.full_like(score, np.nan))
    return Found(tokens, scores, statistics=divergences(means))


def ranked_by(
    means: Means, name: str, sign: int, probe: Probe
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The score and the probability of every token that may be ranked, for one list."""
    plain = {"difference": "tuned" if sign == 1 else "base", "tuned_mean": "tuned"}
    speaks = plain.get(name, "base")
    both = sign * means.mean(name), means.mean(f"{speaks}_probability")
    if probe.vocabulary is None:
        return both
    return both[0][list(probe.vocabulary)], both[1][list(probe.vocabulary)]


def divergences(means: Means) -> pd.DataFrame:
    """The mean KL(tuned || base) at each position that some text has, one row a position."""
    there = means.counts > 0
    return pd.DataFrame(
        {
            "layer": pd.NA,
            "position": np.asarray(means.positions)[there],
            "statistic": "kl",
            "value": means.divergence[there] / means.counts[there],
        }
    )
