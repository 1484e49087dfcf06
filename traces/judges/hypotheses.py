"""
Does a hypothesis name what a model was finetuned for? Models grade it by the rubric of its family.

Grades go from 1 (a purpose that is not the truth) to 5 (all of it). Who says that nothing was found
abstains, which is no grade: an honest "inconclusive" is not a wrong claim.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from traces.config.registries import Described
from traces.config.schema import Grader
from traces.config.vocabularies import GENERAL_RUBRIC, GRADED_WITH, RUBRICS
from traces.judges.chat.asking import Asking
from traces.judges.chat.questions import Answer, Question, asked
from traces.judges.graders import settings_of

# Columns of a hypothesis that is graded; others pass through.
HYPOTHESIS = "hypothesis"


class Grade(BaseModel):
    """What a grader answers."""

    model_config = ConfigDict(extra="forbid")
    comparison: str = Field(max_length=4000)
    verdict: Literal["1", "2", "3", "4", "5", "abstention"]


def rubric_of(family: str) -> str:
    """The name of a family's rubric."""
    return family if family in RUBRICS else GENERAL_RUBRIC


def question(
    hypothesis: str,
    about: Described,
    grader: Grader,
    texts: Mapping[str, str],
    *,
    seed: int,
    repeat: int,
) -> Question:
    """
    What a grader is asked of one hypothesis.

    about : what the organism is; its name and title are not told
    texts : the instructions GRADED_WITH, and the rubrics, by their names
    """
    facts = "".join(f"\n- {fact}" for fact in about.facts)
    return asked(
        grader.model,
        texts[GRADED_WITH],
        [
            ("Truth", about.description + facts),
            ("Rubric", texts[rubric_of(about.family)]),
            ("Hypothesis", hypothesis),
        ],
        settings=settings_of(grader),
        form=Grade,
        seed=seed,
        repeat=repeat,
    )


def graded(
    hypotheses: pd.DataFrame,
    organisms: Mapping[str, Described],
    graders: Sequence[Grader],
    texts: Mapping[str, str],
    asking: Asking,
    *,
    repeats: int,
    seed: int,
) -> pd.DataFrame:
    """
    Grade hypotheses with every grader, `repeats` times each.

    hypotheses : organism, hypothesis, and columns that pass through; a missing or empty hypothesis
                 is one of an investigator who wrote none, and abstains
    returns    : those, one row a hypothesis, grader and repeat, with abstained, grader_model,
                 repeat, grade (1 to 5, missing for an abstention) and reason_missing

    Every planned row is there. One without an answer has a reason, and neither grade nor abstained.
    """
    rows: list[dict[str, Any]] = []
    questions: list[Question] = []
    for row in hypotheses.to_dict("records"):
        text = row[HYPOTHESIS] if isinstance(row[HYPOTHESIS], str) else ""
        for grader in graders:
            for repeat in range(repeats):
                rows.append({**row, "grader_model": grader.name, "repeat": repeat})
                if text.strip():
                    about = organisms[row["organism"]]
                    one = question(text, about, grader, texts, seed=seed, repeat=repeat)
                    questions.append(replace(one, organism=row["organism"]))
                else:
                    rows[-1] |= _verdict(Answer(Grade(comparison="", verdict="abstention")))
    answers = iter(asking.answers(questions))
    for row in rows:
        if "grade" not in row:
            row |= _verdict(next(answers))
    columns = [*hypotheses, "grader_model", "repeat", "abstained", "grade", "reason_missing"]
    kinds = {"abstained": "boolean", "grade": "Int64", "reason_missing": "string"}
    return pd.DataFrame(rows, columns=columns).astype(kinds)


def graded_investigations(
    investigations: pd.DataFrame,
    organisms: Mapping[str, Described],
    graders: Sequence[Grader],
    texts: Mapping[str, str],
    asking: Asking,
    *,
    repeats: int,
    seed: int,
) -> pd.DataFrame:
    """
    Grade investigations: the table `agents` (traces/artifacts/tables.py).

    investigations : the table of that name

    A grader is asked of hypotheses alone. An abstention has no grade, and what is missing keeps its
    reason; each stands there for every grader and repeat as well.
    """
    said = investigations["reason_missing"].isna() & ~investigations["abstained"].fillna(True)
    own = ["abstained", "reason_missing"]
    asked = investigations[said].drop(columns=own).assign(number=investigations.index[said])
    found = [graded(asked, organisms, graders, texts, asking, repeats=repeats, seed=seed)]
    for grader in graders:
        for repeat in range(repeats):
            rest = investigations[~said].assign(
                number=investigations.index[~said], grader_model=grader.name, repeat=repeat
            )
            found.append(rest.assign(grade=pd.array([pd.NA] * len(rest), dtype="Int64")))
    table = pd.concat(found, ignore_index=True).sort_values("number", kind="stable")
    return table.drop(columns="number").reset_index(drop=True)


def _verdict(answer: Answer) -> dict[str, Any]:
    if answer.reason is not None:
        return {"abstained": None, "grade": None, "reason_missing": answer.reason}
    abstained = answer.value.verdict == "abstention"
    grade = None if abstained else int(answer.value.verdict)
    return {"abstained": abstained, "grade": grade, "reason_missing": None}
