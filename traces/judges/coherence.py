"""
Does a text hold together? Judges of steered text.

The judge here needs no network: a text holds together when a base model finds it about as likely,
and as free of repetition, as what is written with nothing added.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd

from traces.judges.words import share_of_words


@dataclass(frozen=True)
class Writing:
    """A text that a model wrote, and what is measured of it; each judge uses what it needs."""

    prompt: str
    text: str
    # mean negative log-likelihood under the unsteered base, nats a token
    nll: float
    # share of its token pairs that stood in it before
    repetition: float


class CoherenceJudge(Protocol):
    """Anything that can say which texts hold together."""

    name: str

    def grade(self, texts: Sequence[Writing], unsteered: Sequence[Writing]) -> list[bool | None]:
        """
        One answer a text, in order; None where the judge failed, which is never a score.

        unsteered : what the same model writes with nothing added, for comparison
        """
        ...


@dataclass(frozen=True)
class FluencyJudge:
    """
    Coherent is a text that the base finds likely enough and that does not go round in circles.

    Enough is, by either measure, no worse than the unsteered text at the `quantile` (the next one
    up where it falls between two): that a model writes strangely by itself is not held against the
    steering.
    """

    quantile: float
    name: str = "fluency"

    def grade(self, texts: Sequence[Writing], unsteered: Sequence[Writing]) -> list[bool | None]:
        worst_nll, worst_repetition = (
            np.quantile([getattr(one, name) for one in unsteered], self.quantile, method="higher")
            for name in ("nll", "repetition")
        )
        return [bool(one.nll <= worst_nll and one.repetition <= worst_repetition) for one in texts]


def coherence(texts: pd.DataFrame, judge: CoherenceJudge) -> pd.DataFrame:
    """
    The texts with the columns `coherent` and `judge`.

    texts : steered_model, vector (`none` for an unsteered text), prompt, text, nll, repetition

    An empty text is not judged: its `coherent` is missing, as it is where the judge failed. Raises
    ValueError for a model all of whose unsteered texts are empty.
    """
    texts = texts.assign(coherent=pd.array([pd.NA] * len(texts), dtype="boolean"), judge=judge.name)
    written = texts[texts["text"].str.strip() != ""]
    for model, group in written.groupby("steered_model", sort=False):
        unsteered = _writings(group[group["vector"] == "none"])
        if not unsteered:
            raise ValueError(f"the {model} model wrote no unsteered text that is not empty")
        answers = judge.grade(_writings(group), unsteered)
        texts.loc[group.index, "coherent"] = pd.array(answers, dtype="boolean")
    return texts


def _writings(texts: pd.DataFrame) -> list[Writing]:
    columns = [texts[name] for name in ("prompt", "text", "nll", "repetition")]
    return [Writing(*values) for values in zip(*columns, strict=True)]


def group_shares(graded: pd.DataFrame, by: Sequence[str], words: Iterable[str]) -> pd.DataFrame:
    """
    How coherent groups of texts are, and how many of their words are an organism's own.

    graded  : what `coherence` returns
    by      : its columns that make groups
    returns : those, coherence (share of the judged texts, missing without any), own_words, judge
    """
    known, rows = set(words), []
    for key, group in graded.groupby(list(by), dropna=False, sort=False):
        rows.append(
            dict(zip(by, key, strict=True))
            | {
                "coherence": group["coherent"].astype("Float64").mean(),
                "own_words": share_of_words(group["text"], known),
                "judge": group["judge"].iloc[0],
            }
        )
    return pd.DataFrame(rows).astype({name: graded[name].dtype for name in by})
