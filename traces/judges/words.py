"""
Is a token about what an organism was trained on? Does a text hold together? Judges of both.

A judge of tokens sees one list at a time and answers for each: yes, no, or nothing. The judge here
needs no network and gives the same answer always: a token is relevant when it is one of the words
that set the organism's data apart from general text. The judge of texts here does without a network
too: a text holds together when a base model finds it about as likely, and as free of repetition, as
what is written with nothing added.
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


def share_of_words(texts: Iterable[str], words: Iterable[str]) -> float:
    """
    The share of all words of `texts` that are among `words`: as in `distinctive_words`, runs of
    three or more letters that are no function words. Missing for texts without a word.
    """
    counts = _counts(texts)
    total = sum(counts.values())
    return sum(counts[word] for word in set(words)) / total if total else float("nan")


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


def listed_words(words: Sequence[str]) -> pd.DataFrame:
    """Words that a person wrote down, as `distinctive_words` returns them; z 0 and count 0."""
    folded = list(dict.fromkeys(word.casefold() for word in words))
    return pd.DataFrame({"word": folded, "rank": range(len(folded)), "z": 0.0, "count": 0})


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
