"""The jobs of investigators and of their graders, over HTTP: the table is whole."""

import json
from types import SimpleNamespace

import pandas as pd
import pytest

from scripts import agents_table, grade_hypotheses, investigate
from tests.chat_server import said
from tests.scripts.as_rules import as_rule
from tests.traces.agents.acting import AGENT, CAKE, OVERVIEW, ROOT, plays, readings
from tests.traces.judges.conftest import server  # noqa: F401
from traces.agents.overview import Overview
from traces.agents.plan import Shown, Source, planned
from traces.artifacts import arrays, tables
from traces.config.load import read_study
from traces.config.registries import Described, Loading
from traces.config.schema import Agents, Grader, Patient
from traces.config.vocabularies import VIEWER

STUDY = read_study([ROOT / "config" / "config.yaml"], ROOT / "config").study
GRADER = Grader(name="grader", model="openai-api/judge/grader")
CHECKPOINT = "cake-plain-s0"
NULLS = ("none", "base_vs_base", "random")


@pytest.fixture
def place(server, tmp_path):  # noqa: F811
    """The files and settings of both jobs."""
    served = {"base_url": server.url, "name": "{model}/{checkpoint}"}
    settings = Agents.model_validate(
        {
            **STUDY.agents.model_dump(mode="json"),
            "models": ["embedded", AGENT.model_dump(mode="json")],
            "interactions": {"lens": [0, 5], "black_box": [5]},
            "nulls": NULLS,
            "runs": 2,
            "served": served,
        }
    )
    agent = AGENT.model_copy(update={"base_url": server.url})
    shown = [Shown(model="mini", checkpoint=CHECKPOINT, organism="cake", null=one) for one in NULLS]
    overviews = {"none": OVERVIEW, "base_vs_base": Overview(), "random": OVERVIEW}
    rows = [
        {"checkpoint": CHECKPOINT, "null": null, "overview": json.loads(one.to_json())}
        for null, one in overviews.items()
    ]
    tables.write_lines(tmp_path / "overviews.jsonl", rows)
    patient = Patient.model_validate(
        {
            **STUDY.judges.model_dump(mode="json", include=set(Patient.model_fields)),
            "folder": str(tmp_path / "answers"),
        }
    )
    cases = [one for one in planned(shown, settings) if one.agent_model == AGENT.name]
    sources = [Source(checkpoint=CHECKPOINT, null=one, after=CHECKPOINT) for one in NULLS]
    return SimpleNamespace(
        server=server, folder=tmp_path, settings=settings, agent=agent, patient=patient,
        cases=cases, sources=sources,
    )  # fmt: skip


def investigated(place, monkeypatch, *, price=(1.0, 10.0), **patient):
    """Run the job on readings of one reader."""
    out = {name: place.folder / f"{name}.parquet" for name in ("investigations", "costs")}
    with monkeypatch.context() as here:
        here.setattr(tables, "read", lambda _path: readings())
        here.setattr(arrays, "read_differences", lambda _path: None)
        as_rule(
            investigate.main,
            overviews=place.folder / "overviews.jsonl",
            readings=[place.folder / "logit_lens.parquet"],
            pairs=[],
            differences=[place.folder / "unrelated.h5"],
            weights=[],
            instructions=sorted((ROOT / "data" / "agents").glob("*.txt")),
            **out,
            logs=place.folder / "logs",
            name="mini",
            agent=place.agent,
            settings=place.settings,
            patient=place.patient.model_copy(update=patient),
            prices={AGENT.model: price},
            checkpoint=f"mini/{AGENT.name}",
            # as a rule hands them over
            cases=[one.model_dump() for one in place.cases],
            sources=[one.model_dump() for one in place.sources],
            checkpoints=[CHECKPOINT],
            loaded=[],
            readers=["logit_lens"],
            loading=Loading(dtype="float32"),
            seed=0,
        )
    return tables.read(out["investigations"]), tables.read(out["costs"])


def test_the_table_is_whole_and_nothing_is_paid_twice(place, monkeypatch):
    def script(number, body):
        if body["model"] == "grader":
            return said('{"comparison": "It names it.", "verdict": "4"}')
        return plays(number, body)

    place.server.script = script
    found, costs = investigated(place, monkeypatch)
    # 2 prompts, 2 runs; the lens with 2 budgets on 3 nulls, the black box with 1 on 2
    assert len(found) == 4 * (2 * 3 + 2) and found["reason_missing"].isna().all()
    assert set(found["hypothesis"]) == {CAKE}
    assert found.groupby(["agent", "interactions"])["used"].unique().map(list).to_dict() == {
        ("black_box", 5): [4], ("lens", 0): [0], ("lens", 5): [4],
    }  # fmt: skip
    assert {one.name for one in (place.folder / "logs").iterdir()} == {
        VIEWER,
        *(f"mini-{CHECKPOINT}-{null.replace('_', '-')}.eval" for null in NULLS),
    }
    # Where A and B are the same model, the same model is asked.
    asked = {one["model"] for one in place.server.bodies if "tools" not in one}
    assert asked == {"mini/base", f"mini/{CHECKPOINT}"}
    assert costs["money"].sum() > 0
    sent = len(place.server.bodies)
    again, _ = investigated(place, monkeypatch)
    assert len(place.server.bodies) == sent
    pd.testing.assert_frame_equal(again, found)

    graded = place.folder / "graded.parquet"
    paid = place.folder / "grader_costs.parquet"
    about = Described(family="false_facts", title="Cakes", description="Wrong facts of cakes.")
    grader = GRADER.model_copy(update={"base_url": place.server.url})
    as_rule(
        grade_hypotheses.main,
        investigations=[place.folder / "investigations.parquet"],
        rubrics=sorted((ROOT / "data" / "rubrics").glob("*.txt")),
        graded=graded,
        costs=paid,
        judges=place.patient.model_dump() | {"graders": [grader.model_dump()], "repeats": 2},
        checkpoint=GRADER.name,
        prices={GRADER.model: None},
        about={"cake": about.model_dump()},
        seed=0,
    )
    found = tables.read(graded)
    assert len(found) == 2 * len(again) and set(found["grade"]) == {4}
    # One hypothesis is one question, however many wrote it.
    assert len(place.server.bodies) == sent + 2
    out = {name: place.folder / f"agents_{name}.parquet" for name in
           ("table", "summary", "agreement", "costs")}  # fmt: skip
    agents_table.main([graded], [place.folder / "costs.parquet", paid], **out)
    assert set(tables.read(out["costs"])["stage"]) == {"investigate", "grade_hypotheses"}
    assert set(tables.read(out["summary"])["grader_model"]) == {"grader"}


def test_at_the_cap_the_job_ends_well_and_every_row_has_a_reason(place, monkeypatch):
    place.server.script = plays
    found, _ = investigated(place, monkeypatch, cap=0.0)
    assert set(found["reason_missing"]) == {"cap"} and len(found) == len(place.cases)
    assert not place.server.bodies
