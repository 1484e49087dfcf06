"""
Is a token about what an organism was trained on? Judges of lists of tokens.

A judge sees one list at a time and answers for each token: yes, no, or nothing. The judge here
needs no network and always gives the same answer: a token is relevant when it is one of the words
that set the organism's data apart from general text.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from traces.artifacts import tables
from traces.config.readers import NOWHERE
from traces.config.words import plain_word

# The columns that name one list of tokens; a lens without one of them gets a value in `lists_of`.
LIST_KEYS = ["lens", "reading", "layer", "position", "sign", "scale", "head", "null"]


@dataclass(frozen=True)
class Subject:
    """What a judge is told of an organism; each judge uses what it needs."""

    organism: str
    # the words that set its data apart, the most distinctive first
    words: Sequence[str] = ()
    # what it was trained on, in sentences
    description: str = ""


@dataclass(frozen=True)
class WordFiles:
    """The words of some organisms; an argument of a script."""

    words: list[Path]
    organisms: list[str]
    "Whose words they are, in this order."

    def subjects(self) -> list[Subject]:
        """What a judge that compares words is told of them."""
        return [
            Subject(organism, words=tables.read(file)["word"].tolist())
            for organism, file in zip(self.organisms, self.words, strict=True)
        ]


@dataclass(frozen=True)
class DescribedFiles(WordFiles):
    """The words of some organisms, and what each was trained on."""

    about: list[str]
    "In sentences, in the order of the organisms."

    def subjects(self) -> list[Subject]:
        """What a model that judges is told of them."""
        found = zip(super().subjects(), self.about, strict=True)
        return [replace(subject, description=text) for subject, text in found]


class TokenJudge(Protocol):
    """Anything that can say which tokens of a list have to do with a subject."""

    name: str

    def grade(self, tokens: Sequence[str], subject: Subject) -> list[bool | None]:
        """One answer a token, in order; None where the judge failed, which is never a score."""
        ...


@dataclass(frozen=True)
class DistinctiveWordsJudge:
    """
    Relevant is a token that is one of the subject's words, both without white space around them,
    composed (NFC) and casefolded.
    """

    name: str = "distinctive_words"

    def grade(self, tokens: Sequence[str], subject: Subject) -> list[bool | None]:
        words = frozenset(map(plain_word, subject.words))
        return [plain_word(token) in words for token in tokens]


def token_relevance(
    lenses: Mapping[str, pd.DataFrame],
    planned: Mapping[str, pd.DataFrame],
    subjects: Sequence[Subject],
    judge: TokenJudge,
    *,
    candidates: int = 20,
    at_once: int = 1,
) -> pd.DataFrame:
    """
    The share of each list of tokens that `judge` calls relevant, for every subject.

    lenses     : what each reader read, by its name
    planned    : the lists that each reader was asked for, one row a list
    candidates : tokens of a list that are judged, from the first
    at_once    : lists that a judge is asked about at the same time
    returns    : lens, reading, layer, position, sign, scale, head, null, graded_on, relevance (0 to
                 1), n (tokens that got an answer), candidates, judge

    The share is of `candidates` tokens, whatever the length of the list: one that holds fewer
    (Patchscope reads only what all its prompts agree on) could otherwise be all relevant by a
    single token. An answer that failed is no part of it, and where all failed it is missing. A list
    without any token stands in the table, with a share and an `n` of 0.

    Raises ValueError for a list that was not planned.
    """
    tokens = pd.concat([lists_of(lens, frame) for lens, frame in lenses.items()])
    tokens = tokens.loc[tokens["rank"] < candidates].sort_values(by=[*LIST_KEYS, "rank"])
    starts = np.flatnonzero(~tokens.duplicated(LIST_KEYS).to_numpy())
    lists = [list(one) for one in np.split(tokens["token"].to_numpy(dtype=object), starts[1:])]
    keys = tokens[LIST_KEYS].iloc[starts].reset_index(drop=True)
    empty = _empty_lists(keys, pd.concat([_placed(*one) for one in planned.items()]))
    keys, lists = pd.concat([keys, empty], ignore_index=True), [*lists, *[[]] * len(empty)]

    graded = []
    for subject in subjects:
        with ThreadPoolExecutor(at_once) as threads:
            given = list(threads.map(judge.grade, lists, repeat(subject)))
        answers = [_share(*pair, candidates=candidates) for pair in zip(given, lists, strict=True)]
        relevance, n = zip(*answers, strict=True) if answers else ((), ())
        graded.append(
            keys.assign(
                graded_on=subject.organism,
                relevance=np.array(relevance, dtype=np.float64),
                n=np.array(n, dtype=np.int64),
                candidates=candidates,
                judge=judge.name,
            )
        )
    return pd.concat(graded, ignore_index=True)


def lists_of(lens: str, frame: pd.DataFrame) -> pd.DataFrame:
    """A reader's table as LIST_KEYS, rank and token."""
    return _placed(lens, frame, "rank", "token")


def _placed(lens: str, frame: pd.DataFrame, *others: str) -> pd.DataFrame:
    """
    A table with all of LIST_KEYS and `others`.

    An axis that the reader lacks has the value of `config.readers.NOWHERE`. A head is that of the
    model that was read: the base model for the base mean, the tuned one for all else.
    """
    frame = frame.assign(lens=lens)
    frame = frame.assign(**{axis: one for axis, one in NOWHERE.items() if axis not in frame})
    if "head" not in frame:
        frame = frame.assign(head=np.where(frame["reading"] == "base_mean", "base", "tuned"))
    return frame.loc[:, [*LIST_KEYS, *others]]


def _empty_lists(keys: pd.DataFrame, planned: pd.DataFrame) -> pd.DataFrame:
    """The planned lists that a reader gave no token for; ValueError for one that is not planned."""
    both = pd.concat([planned, keys], ignore_index=True)
    beside = both[~both.duplicated(LIST_KEYS)].iloc[len(planned) :]
    if len(beside):
        which = ", ".join(f"{name} {value}" for name, value in beside.iloc[0].items())
        raise ValueError(f"found a list of tokens that was not asked for: {which}")
    both = pd.concat([keys, planned], ignore_index=True)
    return both[~both.duplicated(LIST_KEYS)].iloc[len(keys) :]


def _share(
    answers: Sequence[bool | None], tokens: Sequence[str], candidates: int
) -> tuple[float, int]:
    if len(answers) != len(tokens):
        raise ValueError(f"the judge gave {len(answers)} answers for {len(tokens)} tokens")
    given = [answer for answer in answers if answer is not None]
    failed = len(answers) - len(given)
    if failed and not given:
        return float("nan"), 0
    return sum(given) / (candidates - failed), len(given)
