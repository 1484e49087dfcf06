"""
Is a token about what an organism was trained on? Judges, and the share they call relevant.

A judge sees one list of tokens at a time and answers for each: yes, no, or nothing. The judge here
needs no network and gives the same answer always: a token is relevant when it is one of the words
that set the organism's data apart from general text.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

_FUNCTION_WORDS = """
about above after again against all also although among and another any are around because been
before being below between both but can cannot could did does doing done down during each either
else even ever every few for from further had has have having her here hers herself him himself
his how however into its itself just less many may might more most much must myself neither nor
not now off once one only onto other our ours ourselves out over own rather same shall she
should since some such than that the their theirs them themselves then there these they this
those though through thus too toward towards under until upon very was were what when where
whether which while who whom whose why will with within without would yet you your yours
yourself
"""
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())

_WORD = re.compile(r"[^\W\d_]{3,}")
_NOT = re.compile(r"n['’]t\b")  # "don't" would leave a word "don"

# The columns that name one list of tokens; a lens without one of them gets a value in `lists_of`.
LIST_KEYS = ["lens", "reading", "layer", "position", "sign", "scale", "head"]


@dataclass(frozen=True)
class Subject:
    """What a judge is told of an organism; each judge uses what it needs."""

    organism: str
    # the words that set its data apart, the most distinctive first, casefolded
    words: Sequence[str] = ()
    # what it was trained on, in sentences
    description: str = ""


class TokenJudge(Protocol):
    """Anything that can say which tokens of a list have to do with a subject."""

    name: str

    def grade(self, tokens: Sequence[str], subject: Subject) -> list[bool | None]:
        """One answer a token, in order; None where the judge failed, which is never a score."""
        ...


@dataclass(frozen=True)
class DistinctiveWordsJudge:
    """Relevant is a token that, stripped and casefolded, is one of the subject's words."""

    name: str = "distinctive_words"

    def grade(self, tokens: Sequence[str], subject: Subject) -> list[bool | None]:
        words = frozenset(subject.words)
        return [token.strip().casefold() in words for token in tokens]


def text_of(row: Mapping[str, Any]) -> str:
    """The text of a row: a document's own, or all that is said in a chat, one message a line."""
    if "text" in row:
        return row["text"]
    return "\n".join(message["content"] for message in row["messages"])


def distinctive_words(
    own_texts: Iterable[str],
    general_texts: Iterable[str],
    n: int = 60,
    *,
    min_count: int = 5,
    prior_words: float = 1000.0,
) -> pd.DataFrame:
    """
    The `n` words that set `own_texts` apart from `general_texts`, the most distinctive first.

    Words are casefolded runs of three or more letters; function words are left out. Each word is
    scored by its log-odds in the one text against the other, both drawn towards the pooled text by
    a Dirichlet prior worth `prior_words` words, divided by its standard error (z).

    min_count : times a word must stand in `own_texts`
    returns   : word, rank (from 0), z, count (in `own_texts`); fewer rows where fewer words have
                a positive z

    Raises ValueError when one of the texts has no words.
    Source: Monroe, Colaresi & Quinn 2008, Fightin' Words, eqs. 15-22 (informative Dirichlet prior).
    """
    own, general = _counts(own_texts), _counts(general_texts)
    for name, counts in (("own", own), ("general", general)):
        if not counts:
            raise ValueError(f"the {name} texts have no words of three or more letters")

    words = sorted(own.keys() | general.keys())
    y_own = np.array([own[word] for word in words], dtype=np.float64)
    y_general = np.array([general[word] for word in words], dtype=np.float64)
    pooled = y_own + y_general
    prior = prior_words * pooled / pooled.sum()

    def log_odds(y: np.ndarray) -> np.ndarray:
        return np.log((y + prior) / (y.sum() + prior.sum() - y - prior))

    variance = 1 / (y_own + prior) + 1 / (y_general + prior)
    z = (log_odds(y_own) - log_odds(y_general)) / np.sqrt(variance)

    frame = pd.DataFrame({"word": words, "z": z, "count": y_own.astype(np.int64)})
    frame = frame.loc[(frame["count"] >= min_count) & (frame["z"] > 0)]
    frame = frame.sort_values(["z", "word"], ascending=[False, True]).head(n)
    frame = frame.assign(rank=range(len(frame))).reset_index(drop=True)
    return frame.loc[:, ["word", "rank", "z", "count"]]


def token_relevance(
    lenses: Mapping[str, pd.DataFrame],
    subjects: Sequence[Subject],
    judge: TokenJudge,
    *,
    candidates: int = 20,
) -> pd.DataFrame:
    """
    The share of each list of tokens that `judge` calls relevant, for every subject.

    lenses     : the tables of `logit_lens` and `patchscope` under these names
    candidates : tokens of a list that are judged, from the first
    returns    : lens, reading, layer, position, sign, scale, head, graded_on, relevance (0 to 1),
                 n (tokens that got an answer), judge; relevance is missing where n is 0

    A list that is empty (no token in the intersection of the prompts) has no row.
    """
    tokens = pd.concat([lists_of(lens, frame) for lens, frame in lenses.items()])
    tokens = tokens.loc[tokens["rank"] < candidates].sort_values(by=[*LIST_KEYS, "rank"])
    if tokens.empty:
        raise ValueError(f"the tables of {', '.join(lenses)} hold no token to grade")
    starts = np.flatnonzero(~tokens.duplicated(LIST_KEYS).to_numpy())
    lists = [list(one) for one in np.split(tokens["token"].to_numpy(dtype=object), starts[1:])]
    keys = tokens[LIST_KEYS].iloc[starts].reset_index(drop=True)

    graded = []
    for subject in subjects:
        answers = [_share(judge.grade(one, subject), one) for one in lists]
        relevance, n = zip(*answers, strict=True) if answers else ((), ())
        graded.append(
            keys.assign(
                graded_on=subject.organism,
                relevance=np.array(relevance, dtype=np.float64),
                n=np.array(n, dtype=np.int64),
                judge=judge.name,
            )
        )
    return pd.concat(graded, ignore_index=True)


def lists_of(lens: str, frame: pd.DataFrame) -> pd.DataFrame:
    """
    A lens table with all of LIST_KEYS.

    The logit lens has one scale, 1. Patchscope has one head, that of the model it ran in: the base
    model for the base mean, the tuned one for all else.
    """
    frame = frame.assign(lens=lens)
    if "scale" not in frame:
        frame = frame.assign(scale=1.0)
    if "head" not in frame:
        frame = frame.assign(head=np.where(frame["reading"] == "base_mean", "base", "tuned"))
    return frame.loc[:, [*LIST_KEYS, "rank", "token"]]


def _share(answers: Sequence[bool | None], tokens: Sequence[str]) -> tuple[float, int]:
    if len(answers) != len(tokens):
        raise ValueError(f"the judge gave {len(answers)} answers for {len(tokens)} tokens")
    given = [answer for answer in answers if answer is not None]
    return (sum(given) / len(given) if given else float("nan")), len(given)


def _counts(texts: Iterable[str]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(_WORD.findall(_NOT.sub("", text.casefold())))
    for word in FUNCTION_WORDS:
        counts.pop(word, None)
    return counts
