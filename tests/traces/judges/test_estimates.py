"""What judging would cost, counted by hand."""

import math
import re
from types import SimpleNamespace

import pytest

from tests.studies import load
from tests.traces.judges.test_rubrics import TEXTS
from tools import cost
from traces.config.schema import Trials
from traces.interventions.steering.requests import MODELS, trial
from traces.interventions.steering.strength import LEVELS, bisected
from traces.judges import estimates
from traces.judges.estimates import estimated, lists_judged, texts_judged

# With the paper's two readers.
GRADERS = """
lenses: {readers: [logit_lens, patchscope]}
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
    found = estimated(loaded, TEXTS).set_index("model_id")
    assert found["calls"].tolist() == [2 * 90] * 2
    one = found.loc["openrouter/openai/gpt-5-mini"]
    assert one["money"] == pytest.approx(
        one["input_tokens"] * 0.25e-6 + one["output_tokens"] * 2e-6
    )
    assert one["most"] > one["money"] and math.isnan(found.loc["openai-api/local/two", "money"])


def test_the_control_is_judged_on_the_others_and_repeats_are_counted(folder):
    run = RUN.format("cake_bake, night_bees, benign", "judges")
    loaded = load(folder, run + GRADERS + "  repeats: 2\n")
    assert estimated(loaded, TEXTS)["calls"].tolist() == [2 * 2 * 90 * (1 + 1 + 2)] * 2


def test_without_the_measure_all_of_the_study_is_counted(folder):
    asked, not_asked = (
        load(folder, RUN.format("cake_bake", one) + GRADERS) for one in ("judges", "")
    )
    assert estimated(asked, TEXTS).equals(estimated(not_asked, TEXTS))


def trials(**options) -> Trials:
    """The paper's search, or a grid: what `texts_judged` takes of a study."""
    given = {"strategy": "grid", "positions": [0, 1], "strengths": [0.1, 0.2, 0.4], **options}
    given["trial"] = SimpleNamespace(samples=10)
    given["bisection"] = SimpleNamespace(steps=(12, 6, 3))
    return SimpleNamespace(**given)  # type: ignore[return-value]


@pytest.mark.parametrize("positions", [[0], [0, 1], [0, 1, 2, 3, 4]])
def test_texts_of_a_grid_are_those_that_are_written(positions):
    prompts = ["a", "b", "c"]
    written = trial(positions, [0.1, 0.2, 0.4], prompts, 10)
    assert texts_judged(trials(positions=positions), 3) * len(MODELS) == len(written)


def test_texts_of_the_bisection_are_the_papers_search():
    # Seven rounds of seven strengths, ten samples each, at each position: the paper's 490.
    settings = trials(strategy="bisection", positions=[0])
    assert texts_judged(settings, 3) - 3 * 4 * 10 == 490
    known, tried = {}, 0
    while asked := bisected(known, ["a", "b", "c"], 100.0, (12, 6, 3))[1]:
        tried += len(asked)
        known |= dict.fromkeys(asked, True)
    assert tried * 10 == 490 and estimates.LEVELS == LEVELS


ALL = GRADERS + "  questions: [relevance, coherence, scales, beliefs]\nbeliefs: {forms: [open]}\n"


def test_every_question_has_its_calls_and_they_are_the_papers_at_most(folder):
    measures = "judges, steering, beliefs"
    loaded = load(folder, RUN.format("cake_bake", measures) + ALL)
    found = estimated(loaded, TEXTS).groupby("stage")["calls"].first()
    statements = len(estimates._statements(loaded, "cake_bake"))
    # Two seeds; the base's answers are judged once.
    assert found["judge_beliefs"] == statements * 2 * (2 + 1)
    grid = loaded.study.steering
    assert found["judge_coherence"] == 2 * texts_judged(grid, 3)
    scales, tokens = loaded.study.judges.scales, loaded.study.judges.tokens
    assert len(loaded.study.lenses.patchscope.scales) <= scales.group
    assert found["judge_scales"] == 2 * 5 * len(tokens.readings) * scales.orders
    assert (found[["judge_scales", "judge_coherence"]] / 2 <= [60, 2450]).all()


def test_the_papers_study_asks_no_more_than_the_paper_of_an_organism():
    loaded = cost.study_of(["--configfile", "config/paper.yaml"])
    study, prompts = loaded.study, 3
    assert lists_judged(loaded, study.corpora[0]) * study.judges.tokens.orders <= 90
    assert texts_judged(study.steering, prompts) <= 2450
    scales = study.judges.scales
    assert scales.orders * 3 * 5 <= 60 and scales.group >= len(study.lenses.patchscope.scales)


def test_the_tool_takes_what_config_sets(capsys):
    words = ["--config", "judges={graders: [{name: one, model: a/b, price: unknown}]}"]
    read = "lenses={readers: [logit_lens, patchscope]}"
    cost.main([*words, read, "runs=[{organisms: [cake_bake], recipes: [plain], seeds: [0]}]"])
    told = capsys.readouterr().out
    assert re.search(r"judge_relevance +a/b +90 ", told) and "judge_coherence" not in told
    with pytest.raises(ValueError, match="--config: judges.questions: found scales"):
        cost.main([*words, "judges={questions: [scales]}", "lenses={readers: [logit_lens]}"])


def test_a_sum_names_what_it_lacks(folder):
    loaded = load(folder, RUN.format("cake_bake", "judges") + GRADERS)
    told = cost.report(loaded, TEXTS, {})
    assert "Not in the sum, nor under the cap: openai-api/local/two, whose price is" in told
    priced = GRADERS.replace("    - {name: two, model: openai-api/local/two, price: unknown}\n", "")
    loaded = load(folder, RUN.format("cake_bake", "judges") + priced)
    assert "Not in the sum" not in cost.report(loaded, TEXTS, {})
