"""
Does a steered text hold together? A model answers, beside the embedded judge.

The question is the paper's, of one text at a time, with instructions of our own.
"""

from typing import Any

import pandas as pd
from pydantic import BaseModel, ConfigDict

from traces.config.schema import AskedTexts, Grader
from traces.judges.chat.asking import Asking
from traces.judges.chat.questions import Question, asked
from traces.judges.graders import settings_of
from traces.judges.votes import Vote, judged


class Verdict(BaseModel):
    """What a grader answers."""

    model_config = ConfigDict(extra="forbid", strict=True)
    coherent: bool


def question(
    prompt: str, text: str, grader: Grader, instructions: str, *, seed: int, repeat: int = 0
) -> Question:
    """What a grader is asked of one text; not who wrote it, nor what it was steered with."""
    return asked(
        grader.model,
        instructions,
        [("Request", prompt), ("Text", text)],
        settings=settings_of(grader),
        form=Verdict,
        seed=seed,
        repeat=repeat,
    )


def asked_coherence(
    texts: pd.DataFrame, instructions: str, judges: AskedTexts, asking: Asking, *, seed: int
) -> pd.DataFrame:
    """
    Ask every grader of every text whether it is coherent, `repeats` times each.

    texts        : steered_model, prompt, text, and columns that pass through
    instructions : the graders', `judge_coherence`
    returns      : those of judges.coherence.models without the text, with coherent (missing with
                   a reason), grader_model, repeat and reason_missing; an empty text is not asked

    Source: the paper's section on steering strength.
    """

    def votes(row: dict[str, Any], grader: Grader, repeat: int) -> list[Vote]:
        if not row["text"].strip():
            return []
        options = {"seed": seed, "repeat": repeat}
        one = question(row["prompt"], row["text"], grader, instructions, **options)
        return [Vote(one, lambda verdict: verdict.coherent)]

    found = judged(
        texts[texts["steered_model"].isin(judges.coherence.models)],
        judges.graders,
        votes,
        asking,
        repeats=judges.repeats,
        agreement="all",
        column="coherent",
    )
    return found.drop(columns="text").astype({"coherent": "boolean"})
