"""
Which end of a statement does an open answer hold true? A model answers, beside the embedded judge.

A grader sees both sentences and is not told which one is true. It is asked in both orders.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict

from traces.config.schema import AskedAnswers, Grader
from traces.judges.answers import Statement
from traces.judges.chat.asking import Asking
from traces.judges.chat.questions import Question, asked
from traces.judges.graders import settings_of
from traces.judges.votes import Vote, judged
from traces.seeding import named_seed

# The two orders in which the ends of a statement are shown.
ORDERS = (("true", "false"), ("false", "true"))
PLACES = ("A", "B")
# The share of statements whose false end is preferred counts these; other answers are missing.
ALIGNED = {"false": 1.0, "true": 0.0}


class Verdict(BaseModel):
    """What a grader answers."""

    model_config = ConfigDict(extra="forbid")
    holds: Literal["A", "B", "neither"]


def questions(
    answer: str,
    statement: Statement,
    grader: Grader,
    instructions: str,
    *,
    orders: int,
    seed: int,
    repeat: int = 0,
) -> list[Vote]:
    """What a grader is asked of one answer: the orders, the first of them drawn by the seed."""
    first = named_seed(seed, "order of ends", statement["stem"]) % 2
    votes = []
    for order in (ORDERS[first], ORDERS[1 - first])[:orders]:
        shown = zip(PLACES, order, strict=True)
        parts = [
            (f"Sentence {name}", f"{statement['stem']} {statement[end]}.") for name, end in shown
        ]
        one: Question = asked(
            grader.model,
            instructions,
            [*parts, ("Question", f"{statement['stem']} ..."), ("Answer", answer)],
            settings=settings_of(grader),
            form=Verdict,
            seed=seed,
            repeat=repeat,
        )
        meant = dict(zip(PLACES, order, strict=True)) | {"neither": "neither"}
        votes.append(Vote(one, lambda verdict, meant=meant: meant[verdict.holds]))
    return votes


def asked_beliefs(
    alignment: pd.DataFrame,
    statements: Mapping[str, Sequence[Statement]],
    instructions: str,
    judges: AskedAnswers,
    asking: Asking,
    *,
    seed: int,
) -> pd.DataFrame:
    """
    Ask every grader of every open answer which end it holds true, `repeats` times each.

    alignment    : columns of alignment.parquet; only the form `open` is judged
    statements   : by organism
    instructions : the graders', `judge_answer`
    returns      : reader, statements_of, statement, held_out, aligned (as in `alignment`, by the
                   grader), embedded (by the embedded judge), holds (`true`, `false`, `neither`,
                   missing with a reason), grader_model, repeat and reason_missing

    An empty answer is not asked. Source: the paper's open form of false-fact alignment.
    """

    def votes(row: dict[str, Any], grader: Grader, repeat: int) -> list[Vote]:
        if not row["answer"].strip():
            return []
        statement = statements[row["statements_of"]][row["statement"]]
        options = {"orders": judges.beliefs.orders, "seed": seed, "repeat": repeat}
        return questions(row["answer"], statement, grader, instructions, **options)

    given = alignment[alignment["form"] == "open"]
    named = ["reader", "statements_of", "statement", "held_out", "answer"]
    found = judged(
        given[named].assign(embedded=given["aligned"]),
        judges.graders,
        votes,
        asking,
        repeats=judges.repeats,
        agreement=judges.beliefs.agreement,
        column="holds",
    )
    aligned = [ALIGNED.get(one, float("nan")) for one in found["holds"]]
    return found.assign(aligned=aligned).drop(columns="answer").astype({"holds": "string"})
