"""What judging would cost, counted by hand."""

import math
from pathlib import Path

import pytest

from tests.studies import load
from traces.judges.estimates import estimated, lists_judged

TEXT = Path("data/rubrics/judge_tokens.txt").read_text(encoding="utf-8")
GRADERS = """
judges:
  graders:
    - {name: one, model: openrouter/openai/gpt-5-mini}
    - {name: two, model: openai-api/local/two, price: unknown}
"""
RUN = "runs: [{{organisms: [{}], recipes: [plain], seeds: [0, 1], measures: [{}]}}]\n"


def test_calls_of_an_organism_are_the_papers(folder):
    loaded = load(folder, RUN.format("cake_bake", "judges") + GRADERS)
    # Two readers, five positions, three readings, each in three orders.
    assert lists_judged(loaded, "unrelated") * loaded.study.judges.tokens.orders == 90
    found = estimated(loaded, TEXT).set_index("model_id")
    assert found["calls"].tolist() == [2 * 90] * 2
    one = found.loc["openrouter/openai/gpt-5-mini"]
    assert one["money"] == pytest.approx(
        one["input_tokens"] * 0.25e-6 + one["output_tokens"] * 2e-6
    )
    assert one["most"] > one["money"] and math.isnan(found.loc["openai-api/local/two", "money"])


def test_the_control_is_judged_on_the_others_and_repeats_are_counted(folder):
    run = RUN.format("cake_bake, night_bees, benign", "judges")
    loaded = load(folder, run + GRADERS + "  repeats: 2\n")
    assert estimated(loaded, TEXT)["calls"].tolist() == [2 * 2 * 90 * (1 + 1 + 2)] * 2


def test_without_the_measure_all_of_the_study_is_counted(folder):
    asked, not_asked = (
        load(folder, RUN.format("cake_bake", one) + GRADERS) for one in ("judges", "")
    )
    assert estimated(asked, TEXT).equals(estimated(not_asked, TEXT))
