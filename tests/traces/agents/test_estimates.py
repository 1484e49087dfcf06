"""What investigating would cost, counted by hand."""

import pytest

from tests.studies import load
from tests.traces.agents.acting import ROOT, TEXTS
from tests.traces.judges.test_rubrics import TEXTS as RUBRICS
from tools import cost
from traces.agents.estimates import estimated

RUN = "runs: [{{organisms: [cake_bake], recipes: [plain], seeds: [0], measures: [{}]}}]\n"
STUDY = """
judges: {graders: [{name: grader, model: openrouter/openai/gpt-5-mini}], repeats: 3}
agents:
  models: [embedded, {name: agent, model: openrouter/openai/gpt-5}]
  graders: [lexical, grader]
  nulls: [none]
  prompts: [neutral]
  runs: 2
  interactions: {lens: [0, 5], black_box: [5, 50]}
"""


def test_turns_are_looks_calls_and_a_submission(folder):
    found = estimated(load(folder, RUN.format("agents") + STUDY), TEXTS, RUBRICS)
    asked = found.set_index("stage")
    # The lens looks four times; five prompts go into a call; each run submits once.
    turns = (4 + 0 + 1) + (4 + 1 + 1) + (1 + 1) + (10 + 1)
    assert asked.loc["investigate", "calls"] == 2 * turns
    # Every run has a hypothesis, those of the embedded investigator as well.
    embedded = 1 + 2
    assert asked.loc["grade_hypotheses", "calls"] == 3 * (2 * 4 + embedded)
    one = asked.loc["investigate"]
    assert one["money"] == pytest.approx(
        one["input_tokens"] * 1.25e-6 + one["output_tokens"] * 10e-6
    )
    assert (asked["most"] > asked["money"]).all()


def test_turns_do_not_pass_the_limit(folder):
    few = STUDY + "  limits: {turns: 3, output_tokens: 1000, seconds: 10}\n"
    found = estimated(load(folder, RUN.format("agents") + few), TEXTS, RUBRICS)
    assert found.set_index("stage").loc["investigate", "calls"] == 2 * (3 + 3 + 2 + 3)


def test_the_report_counts_agents_also_where_no_run_asks_for_them(folder):
    asked, not_asked = (load(folder, RUN.format(one) + STUDY) for one in ("agents", ""))
    told = cost.report(not_asked, RUBRICS, TEXTS)
    assert "No run has `agents` among its measures" in told
    assert estimated(asked, TEXTS, RUBRICS).equals(
        estimated(cost.measuring(not_asked, "agents"), TEXTS, RUBRICS)
    )


def test_a_selection_of_the_papers_study_is_counted_by_itself(capsys):
    cost.main(
        ["--configfile", str(ROOT / "config/paper.yaml"), "--config", "only=[subliminal_released]"]
    )
    told = capsys.readouterr().out
    # One organism, which has nothing to be swapped with; for each of two prompts and two runs:
    # five budgets, and for nulls those that have them.
    rows = [line.split() for line in told.splitlines() if line.lstrip().startswith("investigate")]
    assert [row[1] for row in rows] == [
        "openrouter/openai/gpt-5",
        "openrouter/google/gemini-2.5-pro",
    ]
    lens, black_box = 5 + 6, 1 + 2 + 11
    assert {int(row[2]) for row in rows} == {4 * (3 * lens + 2 * black_box)}
