"""
Ask every grader about every row of a table, in several orders, and bring the votes together.

A row has a value if enough of its votes agree, else a reason why there is none.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pandas as pd

from traces.config.schema import Grader
from traces.config.vocabularies import Agreement, Reason
from traces.judges.chat.asking import Asking
from traces.judges.chat.questions import Answer, Question
from traces.seeding import array_generator

# The columns that say who judged, and why there is no value.
JUDGED_BY = ["grader_model", "repeat", "reason_missing"]


class Vote(NamedTuple):
    """One question about a row, and what its answer means whatever the order it was asked in."""

    question: Question
    means: Callable[[Any], Any]


# The questions about a row, by one grader, the so-manieth time; none where nothing can be judged.
Votes = Callable[[dict[str, Any], Grader, int], Sequence[Vote]]


class Outcome(NamedTuple):
    """What votes agree on: a value, or the reason why there is none."""

    value: Any
    reason: Reason | None
    share: float
    "Share of the votes that are for the value; 0 without one."


def judged(
    rows: pd.DataFrame,
    graders: Sequence[Grader],
    votes: Votes,
    asking: Asking,
    *,
    repeats: int,
    agreement: Agreement,
    column: str,
) -> pd.DataFrame:
    """
    Judge every row with every grader, `repeats` times each.

    column  : what the value is called
    returns : the rows' columns, `column`, and JUDGED_BY. Every planned row is there; one about
              which nothing is asked has the reason `empty`
    """
    planned = [
        (row, grader.name, repeat, votes(row, grader, repeat))
        for grader in graders
        for repeat in range(repeats)
        for row in rows.to_dict("records")
    ]
    answers = iter(asking.answers([vote.question for *_, asked in planned for vote in asked]))
    found = []
    for row, name, repeat, asked in planned:
        outcome = agreed([read(vote, next(answers)) for vote in asked], agreement)
        said = (outcome.value, name, repeat, outcome.reason)
        found.append(row | dict(zip([column, *JUDGED_BY], said, strict=True)))
    frame = pd.DataFrame(found, columns=[*rows.columns, column, *JUDGED_BY])
    # Rows lose what kind of missing value they have.
    return frame.astype({**rows.dtypes, "reason_missing": "string"})


def read(vote: Vote, answer: Answer) -> Outcome:
    """What one answer says."""
    if answer.reason is not None:
        return Outcome(None, answer.reason, 0.0)
    return Outcome(vote.means(answer.value), None, 1.0)


def orders_of(n: int, wanted: int, seed: int, name: str) -> list[list[int]]:
    """
    Draw orders in which `n` things are shown, no two alike: `wanted`, or all where there are fewer.

    An order that is drawn twice would be one question whose answer counts as two votes.
    """
    found: list[list[int]] = []
    for number in range(min(wanted, math.factorial(n))):
        draws = array_generator(seed, name, number)
        order = draws.permutation(n).tolist()
        while order in found:
            order = draws.permutation(n).tolist()
        found.append(order)
    return found


def agreed(votes: Sequence[Outcome], agreement: Agreement) -> Outcome:
    """
    What all votes, or more than half of them, are for.

    A vote without an answer counts for nothing. Where it could decide, its reason is given; else
    votes that do not agree are a `disagreement`.
    """
    if not votes:
        return Outcome(None, "empty", 0.0)
    reasons: list[Reason] = [one.reason for one in votes if one.reason is not None]
    counted = Counter(one.value for one in votes if one.reason is None).most_common(1)
    value, most = counted[0] if counted else (None, 0)
    enough = most == len(votes) if agreement == "all" else most > len(votes) / 2
    if enough:
        return Outcome(value, None, most / len(votes))
    return Outcome(None, reasons[0] if reasons else "disagreement", 0.0)
