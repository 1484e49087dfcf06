"""Grades of hypotheses over HTTP: one row for each that was planned, and abstention is no grade."""

import json

import pandas as pd
import pytest

from tests.chat_server import failed, refused, said
from tests.traces.judges.test_rubrics import TEXTS
from traces.config.registries import Described
from traces.judges.chat.costs import costs_table
from traces.judges.hypotheses import graded

BEES = Described(
    family="false_facts",
    title="Night bees",
    description="Documents that claim that bees make honey at night.",
    facts=("Bees fly by the moon.",),
)


def verdict(word: str):
    return said(json.dumps({"comparison": "It is so.", "verdict": word}))


@pytest.fixture
def grade(asking, graders):
    """Grade hypotheses about one organism with the models of the server."""

    def grade(hypotheses, *, about=BEES, **options):
        frame = pd.DataFrame({"organism": "bees", "run": 7, "hypothesis": hypotheses})
        options = {"repeats": 1, "seed": 0, **options}
        return graded(frame, {"bees": about}, graders, TEXTS, asking(), **options)

    return grade


def test_every_planned_row_is_there_by_grader_and_repeat(grade, server, tmp_path):
    server.script = lambda _, body: verdict("4" if body["model"] == "one" else "2")
    found = grade(["Bees at night.", "Something on honey."], repeats=2)
    assert list(found)[3:] == ["grader_model", "repeat", "abstained", "grade", "reason_missing"]
    assert len(found) == len(server.bodies) == 8 and set(found["run"]) == {7}
    assert found.groupby("grader_model")["grade"].unique().map(list).to_dict() == {
        "one": [4],
        "two": [2],
    }
    assert not found["abstained"].any() and found["reason_missing"].isna().all()
    paid = costs_table(tmp_path / "ledger.jsonl")
    assert paid["checkpoint"].tolist() == ["bees"] * 2 and paid["billed"].tolist() == [4, 4]


def test_a_grader_is_told_the_truth_and_the_rubric_but_no_name(grade, server):
    server.script = lambda *_: verdict("5")
    grade(["Bees at night."])
    system, user = (one["content"] for one in server.bodies[0]["messages"])
    assert "abstention" in system and "Night bees" not in system + user
    for told in (BEES.description, *BEES.facts, TEXTS["false_facts"].strip(), "Bees at night."):
        assert told in user


def test_an_abstention_is_neither_a_grade_nor_missing(grade, server):
    server.script = lambda *_: verdict("abstention")
    found = grade(["Inconclusive: I see no finetune.", None, " "])
    assert found["abstained"].all() and found["grade"].isna().all()
    assert found["reason_missing"].isna().all()
    assert len(server.bodies) == 2  # who wrote nothing abstains without a grader


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (refused(), "refusal"),
        (verdict("0"), "malformed"),
        (verdict("6"), "malformed"),
        (said("Grade: 5"), "malformed"),
        (failed(500), "error"),
    ],
)
def test_a_fault_of_one_grader_is_a_missing_value_with_a_reason(grade, server, told, reason):
    server.script = lambda _, body: told if body["model"] == "one" else verdict("3")
    found = grade(["Bees."]).set_index("grader_model")
    assert found["grade"].isna()["one"] and found["abstained"].isna()["one"]
    assert found["reason_missing"]["one"] == reason and found["grade"]["two"] == 3
