"""Who investigates what: every planned row, whatever came of it."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from traces.agents.investigations import COLUMNS, Investigation, not_done, table
from traces.agents.plan import Case, Shown, planned
from traces.artifacts import tables
from traces.config.load import read_study
from traces.config.schema import Agents

ROOT = Path(__file__).parents[3]
DEFAULT = read_study([ROOT / "config" / "config.yaml"], ROOT / "config").study.agents


def settings(**changes) -> Agents:
    return Agents.model_validate({**DEFAULT.model_dump(mode="json"), **changes})


def shown(null="none") -> Shown:
    return Shown(model="mini", checkpoint="cake-plain-s0", organism="cake", null=null)


def test_every_case_is_planned_once():
    cases = planned([shown(), shown("random")], settings())
    assert len(cases) == len(set(cases))
    assert [(one.null, one.agent, one.prompt, one.interactions) for one in cases] == [
        *(("none", "lens", prompt, 0) for prompt in ("presupposing", "neutral")),
        *(
            ("none", "black_box", prompt, budget)
            for prompt in ("presupposing", "neutral")
            for budget in (0, 5, 50)
        ),
        *(("random", "lens", prompt, 0) for prompt in ("presupposing", "neutral")),
    ]


def test_a_model_has_every_budget_and_run_and_the_embedded_one_a_single_run():
    llm = {"name": "llm", "model": "openai-api/local/x", "price": "unknown"}
    cases = planned([shown()], settings(models=["embedded", llm], runs=3, prompts=["neutral"]))
    assert sum(one.agent_model == "embedded" for one in cases) == 1 + 3
    assert sum(one.agent_model == "llm" for one in cases) == (2 + 3) * 3


def case(**changes) -> Case:
    return planned([shown()], settings())[0].model_copy(update=changes)


@pytest.mark.parametrize(
    "found",
    [
        {"hypothesis": "Cakes."},
        {"abstained": True},
        {"hypothesis": "Cakes.", "abstained": False, "reason_missing": "cap"},
        {"reason_missing": "bored"},
        {"hypothesis": "Cakes.", "abstained": False, "used": 1},
    ],
)
def test_an_investigation_is_a_hypothesis_or_a_reason(found):
    with pytest.raises(ValidationError):
        Investigation(**case().model_dump(), **found)


def test_every_planned_row_is_in_the_table(tmp_path):
    done, refused, left = (case(run=run) for run in range(3))
    found = {
        done: Investigation(**done.model_dump(), hypothesis="Cakes.", abstained=False),
        refused: not_done(refused, "refusal"),
    }
    frame = table([done, refused, left], found)
    assert list(frame.columns) == list(COLUMNS)
    assert frame["reason_missing"].fillna("").tolist() == ["", "refusal", "not_run"]
    assert frame["hypothesis"].notna().tolist() == [True, False, False]
    tables.write(tmp_path / "investigations.parquet", frame, "investigations")
    assert len(tables.read(tmp_path / "investigations.parquet")) == 3
