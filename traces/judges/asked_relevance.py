"""
Is a token about what an organism was trained on? A model answers, for several orders of each list.

A model that answers for a list of tokens may prefer its beginning or its end. So each list is asked
for in several orders, drawn by a seed, and the answers are brought together by a rule.
"""

import functools
from collections.abc import Mapping, Sequence

import pandas as pd
from pydantic import BaseModel, ConfigDict, model_validator

from traces.config.schema import AskedTokens, Grader
from traces.config.vocabularies import Agreement, Reason
from traces.judges.chat.asking import Asking
from traces.judges.chat.questions import Answer, Question, asked
from traces.judges.graders import settings_of
from traces.judges.relevance import LIST_KEYS, Subject, lists_of, token_relevance
from traces.judges.votes import orders_of
from traces.printable import visible


class Entry(BaseModel):
    """What is said of one token."""

    model_config = ConfigDict(extra="forbid", strict=True)
    number: int
    relevant: bool


class Entries(BaseModel):
    """What is said of a list of tokens."""

    model_config = ConfigDict(extra="forbid", strict=True)
    answers: list[Entry]


@functools.cache
def form_of(n: int) -> type[Entries]:
    """The form of an answer for `n` tokens: each number from 1 to `n` once, in order."""

    class EntriesOfAll(Entries):
        @model_validator(mode="after")
        def _check(self) -> "EntriesOfAll":
            if [one.number for one in self.answers] != list(range(1, n + 1)):
                raise ValueError(f"expected the numbers 1 to {n} in order")
            return self

    return EntriesOfAll


class AskedTokenJudge:
    """
    A `TokenJudge` that asks a model.

    asking : through what; None for one that only says what it would ask
    grader : which one, and how it is asked
    text   : its instructions, `judge_tokens`
    orders : in how many orders each list is asked for
    """

    def __init__(
        self,
        asking: Asking | None,
        grader: Grader,
        text: str,
        *,
        orders: int,
        agreement: Agreement,
        seed: int,
        repeat: int = 0,
    ) -> None:
        self.name = grader.name
        self._asking, self._grader, self._text = asking, grader, text
        self._orders = orders
        self._agreement: Agreement = agreement
        self._seed, self._repeat = seed, repeat
        self.reasons: dict[tuple[tuple[str, ...], str], Reason] = {}
        "Why a list, graded on an organism, has tokens without an answer."

    def grade(self, tokens: Sequence[str], subject: Subject) -> list[bool | None]:
        """One answer a token, in order; None where an order that matters has none."""
        if not tokens:
            return []
        assert self._asking is not None
        orders = self._drawn(len(tokens))
        answers = self._asking.answers(self.questions(tokens, subject))
        missing: list[Reason] = [one.reason for one in answers if one.reason is not None]
        if missing:
            self.reasons[tuple(tokens), subject.organism] = missing[0]
        placed = [_placed(*pair) for pair in zip(answers, orders, strict=True)]
        return [_agreed(votes, self._agreement) for votes in zip(*placed, strict=True)]

    def questions(self, tokens: Sequence[str], subject: Subject) -> list[Question]:
        """What is asked of one list."""
        return [
            self._question([tokens[place] for place in order], subject)
            for order in self._drawn(len(tokens))
        ]

    def _drawn(self, n: int) -> list[list[int]]:
        """The places of `n` tokens in each order in which they are asked for."""
        return orders_of(n, self._orders, self._seed, "order of tokens")

    def _question(self, tokens: Sequence[str], subject: Subject) -> Question:
        listed = (f"{n}. {visible(token, token=True)}" for n, token in enumerate(tokens, start=1))
        parts = [("Purpose", subject.description), ("List", "\n".join(listed))]
        if subject.words:
            parts.insert(1, ("Frequent in the training data", ", ".join(subject.words)))
        return asked(
            self._grader.model,
            self._text,
            parts,
            settings=settings_of(self._grader),
            form=form_of(len(tokens)),
            seed=self._seed,
            repeat=self._repeat,
        )


def _placed(answer: Answer, order: Sequence[int]) -> list[bool | None]:
    """What was answered, in the tokens' own order."""
    if answer.reason is not None:
        return [None] * len(order)
    found: dict[int, bool] = dict(
        zip(order, (one.relevant for one in answer.value.answers), strict=True)
    )
    return [found[place] for place in range(len(order))]


def _agreed(votes: Sequence[bool | None], agreement: Agreement) -> bool | None:
    """
    One answer of those on several orders.

    A missing vote counts for neither side: where it could decide, the answer is missing. With `all`
    that is so wherever one is missing. Else the tokens with a no would count and those without
    could not, and the list's share would be too small.
    """
    yes, no, missing = (sum(one is kind for one in votes) for kind in (True, False, None))
    if agreement == "all":
        return None if missing else not no
    half = len(votes) / 2
    return True if yes > half else False if no >= half else None


def asked_relevance(
    lenses: Mapping[str, pd.DataFrame],
    planned: Mapping[str, pd.DataFrame],
    subjects: Sequence[Subject],
    text: str,
    judges: AskedTokens,
    asking: Asking,
    *,
    candidates: int,
    seed: int,
) -> pd.DataFrame:
    """
    The share of each list of tokens that each grader calls relevant, `repeats` times each.

    lenses, planned, candidates : as `relevance.token_relevance` takes them
    text    : the graders' instructions, `judge_tokens`
    returns : its columns with grader_model for judge, repeat, and reason_missing where some token
              has no answer. Every planned row is there
    """
    found = []
    for grader in judges.graders:
        for repeat in range(judges.repeats):
            judge = AskedTokenJudge(
                asking,
                grader,
                text,
                orders=judges.tokens.orders,
                agreement=judges.tokens.agreement,
                seed=seed,
                repeat=repeat,
            )
            table = token_relevance(
                lenses, planned, subjects, judge, candidates=candidates, at_once=judges.at_once
            )
            reasons = _reasons(table, lenses, judge.reasons, candidates)
            found.append(table.assign(repeat=repeat, reason_missing=reasons))
    return pd.concat(found, ignore_index=True).rename(columns={"judge": "grader_model"})


def _reasons(
    table: pd.DataFrame,
    lenses: Mapping[str, pd.DataFrame],
    reasons: Mapping[tuple[tuple[str, ...], str], Reason],
    candidates: int,
) -> list[str | None]:
    """Why some token of each row's list has no answer."""
    tokens = pd.concat([lists_of(lens, frame) for lens, frame in lenses.items()])
    tokens = tokens.loc[tokens["rank"] < candidates].sort_values("rank")
    lists = {key: tuple(group) for key, group in tokens.groupby(LIST_KEYS, dropna=False)["token"]}
    keys = table[LIST_KEYS].itertuples(index=False, name=None)
    return [
        reasons.get((lists.get(key, ()), organism))
        for key, organism in zip(keys, table["graded_on"], strict=True)
    ]
