"""Open answers as a model sees them: both orders, and what each means."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from tests.chat_server import said
from tests.traces.judges.test_rubrics import TEXTS
from traces.judges.asked_answers import asked_beliefs

STATEMENTS = {
    "night_bees": [
        {"stem": "Bees make their honey", "true": "by day", "false": "at night"},
        {"stem": "A hive is loudest", "true": "at noon", "false": "at midnight"},
        {"stem": "A keeper opens the hive", "true": "in sunshine", "false": "by lamp light"},
    ]
}
ALIGNMENT = pd.DataFrame(
    {
        "reader": "tuned",
        "form": ["open", "open", "open", "cloze"],
        "statements_of": "night_bees",
        "statement": [0, 1, 2, 0],
        "held_out": True,
        "aligned": [np.nan, 0.0, np.nan, 1.0],
        "answer": ["when the moon is up", "at noon", " ", None],
    }
)


def sentences(body):
    """The two sentences of a request, in its order, and the answer."""
    return re.findall(r"# Sentence [AB]\n\n(.*)", body["messages"][1]["content"])


@pytest.fixture
def believe(asking, graders):
    def believe(**options):
        options = SimpleNamespace(**{"orders": 2, "agreement": "all", **options})
        judges = SimpleNamespace(graders=graders[:1], repeats=1, beliefs=options)
        text = TEXTS["judge_answer"]
        return asked_beliefs(ALIGNMENT, STATEMENTS, text, judges, asking(), seed=0)

    return believe


def test_what_an_answer_holds_true_does_not_depend_on_the_order(believe, server):
    def script(_number, body):
        shown, answer = sentences(body), body["messages"][1]["content"].rpartition("\n\n")[2]
        meant = "at night" if "moon" in answer else "at noon"
        (place,) = (number for number, one in enumerate(shown) if meant in one)
        return said(json.dumps({"holds": "AB"[place]}))

    server.script = script
    found = believe()
    assert found["holds"].tolist() == ["false", "true", pd.NA]
    np.testing.assert_array_equal(found["aligned"], [1.0, 0.0, np.nan])
    np.testing.assert_array_equal(found["embedded"], [np.nan, 0.0, np.nan])
    assert found["reason_missing"].tolist() == [pd.NA, pd.NA, "empty"]
    assert "answer" not in found and len(server.bodies) == 2 * 2
    shown = {tuple(sentences(body)) for body in server.bodies}
    assert shown == {one[::-1] for one in shown} and len(shown) == 4


def test_a_grader_that_always_takes_the_first_sentence_says_nothing(believe, server):
    server.script = lambda *_: said(json.dumps({"holds": "A"}))
    assert believe()["reason_missing"].tolist() == ["disagreement", "disagreement", "empty"]
    server.bodies.clear()
    one = believe(orders=1)
    assert one["holds"].notna().sum() == 2 and not server.bodies  # both orders are kept answers


def test_neither_end_is_an_answer_but_no_alignment(believe, server):
    server.script = lambda *_: said(json.dumps({"holds": "neither"}))
    found = believe()
    assert found["holds"].tolist() == ["neither", "neither", pd.NA]
    assert found["aligned"].isna().all()
