"""Votes become a value or a reason, and every planned row is there, whichever judge it is of."""

import json
from types import SimpleNamespace

import pandas as pd
import pytest

from tests.chat_server import failed, refused, said
from tests.traces.judges.test_asked_answers import ALIGNMENT, STATEMENTS
from tests.traces.judges.test_asked_coherence import TEXTS as WRITTEN
from tests.traces.judges.test_asked_scales import LISTS
from tests.traces.judges.test_rubrics import TEXTS
from traces.judges.asked_answers import asked_beliefs
from traces.judges.asked_coherence import asked_coherence
from traces.judges.asked_scales import PLACE, asked_scales
from traces.judges.votes import Outcome, agreed, judged


def outcomes(votes):
    """Values, or reasons where they are one."""
    reasons = ("error", "cap")
    return [Outcome(None, one, 0.0) if one in reasons else Outcome(one, None, 1.0) for one in votes]


@pytest.mark.parametrize(
    ("votes", "every", "most"),
    [
        (["a", "a", "a"], ("a", None, 1), ("a", None, 1)),
        (["a", "b", "a"], (None, "disagreement", 0), ("a", None, 2 / 3)),
        (["a", "b", "c"], (None, "disagreement", 0), (None, "disagreement", 0)),
        (["a", "b"], (None, "disagreement", 0), (None, "disagreement", 0)),
        (["a", "error", "a"], (None, "error", 0), ("a", None, 2 / 3)),
        (["a", "error", "cap"], (None, "error", 0), (None, "error", 0)),
        ([False, False], (False, None, 1), (False, None, 1)),
        ([], (None, "empty", 0), (None, "empty", 0)),
    ],
)
def test_what_agreement_makes_of_votes(votes, every, most):
    assert agreed(outcomes(votes), "all") == every
    assert agreed(outcomes(votes), "majority") == pytest.approx(most)


def settings(graders, repeats=1):
    """What the three judges take of a study."""
    several = {"orders": 2, "agreement": "all"}
    return SimpleNamespace(
        graders=graders,
        repeats=repeats,
        coherence=SimpleNamespace(models=["tuned"]),
        scales=SimpleNamespace(group=2, entries=20, **several),
        beliefs=SimpleNamespace(**several),
    )


def judged_by(name, judges, asking):
    """What a judge says of its rows, its value as the column `value`."""
    found = {
        "coherence": lambda: asked_coherence(
            WRITTEN, TEXTS["judge_coherence"], judges, asking, seed=0
        ).rename(columns={"coherent": "value"}),
        "scales": lambda: asked_scales(
            LISTS[PLACE].drop_duplicates(), LISTS, TEXTS["choose_scale"], judges, asking, seed=0
        ).rename(columns={"chosen_scale": "value"}),
        "beliefs": lambda: asked_beliefs(
            ALIGNMENT, STATEMENTS, TEXTS["judge_answer"], judges, asking, seed=0
        ).rename(columns={"holds": "value"}),
    }
    return found[name]()


PLANNED = {"coherence": 3, "scales": 3, "beliefs": 3}
ANSWERS = {
    "coherence": {"coherent": True},
    "scales": {"best": 1},
    "beliefs": {"holds": "neither"},
}


@pytest.mark.parametrize("name", PLANNED)
@pytest.mark.parametrize("fault", ["refusal", "error", "malformed"])
def test_every_planned_row_is_there_and_a_fault_is_a_reason(name, fault, asking, graders, server):
    told = {
        "refusal": refused(),
        "error": failed(400),
        "malformed": said(json.dumps(ANSWERS[name] | {"sure": True})),
    }
    right = said(json.dumps(ANSWERS[name]))
    server.script = lambda _, body: told[fault] if body["model"] == "one" else right
    found = judged_by(name, settings(graders, repeats=2), asking())
    assert len(found) == PLANNED[name] * 2 * 2 and set(found["repeat"]) == {0, 1}
    of_one = found[found["grader_model"] == "one"]
    assert of_one["value"].isna().all()
    # The one row that holds nothing to judge is not asked.
    assert set(of_one["reason_missing"]) == {fault, "empty"}
    assert (found["reason_missing"] == "empty").sum() == 2 * 2


@pytest.mark.parametrize("name", PLANNED)
def test_no_grader_is_told_an_organisms_name_or_a_scale(name, asking, graders, server):
    server.script = lambda *_: said(json.dumps(ANSWERS[name]))
    judged_by(name, settings(graders), asking())
    assert server.bodies
    for body in server.bodies:
        told = json.dumps(body["messages"])
        assert not [
            one for one in ("night_bees", "tuned", "steered", "0.25", "0.75") if one in told
        ]


def test_rows_keep_what_they_had():
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    asking = SimpleNamespace(answers=lambda questions: [])
    grader = SimpleNamespace(name="one")
    found = judged(
        frame, [grader], lambda *_: [], asking, repeats=1, agreement="all", column="value"
    )
    pd.testing.assert_frame_equal(found[["a", "b"]], frame)
    assert found["reason_missing"].tolist() == ["empty"] * 2
