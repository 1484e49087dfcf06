"""Graders in a study: each has a price, and is there where it is needed."""

import pytest

from tests.studies import load, sentence

ASKED = "runs: [{organisms: [cake_bake], recipes: [plain], seeds: [0], measures: [judges]}]\n"
ONE = "{name: one, model: openrouter/openai/gpt-5-mini}"


def judges(keys: str) -> str:
    return f"{ASKED}judges: {{{keys}}}\n"


def test_a_grader_with_a_price_is_taken(folder):
    loaded = load(folder, judges(f"graders: [{ONE}]"))
    assert loaded.study.judges.graders[0].max_tokens == 4000
    assert loaded.prices.models["openrouter/openai/gpt-5-mini"].output == 2


@pytest.mark.parametrize(
    ("override", "found"),
    [
        (ASKED, "judges.graders: found none, expected a model that judges, since a run has "
         "`judges` among its measures (docs/judges.md)"),
        (judges("graders: [{name: one, model: openai-api/a/b}]"),
         "judges.graders.0.model: found openai-api/a/b, which has no price in config/prices.yaml; "
         "add it there, or allow it with `price: unknown`"),
        (judges(f"graders: [{ONE}, {ONE}]"), "judges.graders: one is there twice"),
        (judges("graders: [{name: one, model: a/b, base_url: 'http://me:secret@host/v1'}]"),
         "judges.graders.0.base_url: found a user or password in it, expected an address without "
         "one"),
        (judges(f"graders: [{ONE}], tokens: {{readings: [singular_1]}}"),
         "judges.tokens.readings: found singular_1, expected one of lenses.readings"),
        (judges(f"graders: [{ONE}], cap: -1"),
         "judges.cap: expected greater than or equal to 0, found -1"),
        (judges(f"graders: [{ONE}], questions: [coherence]"),
         "judges.questions: found coherence, expected a run that has both `judges` and `steering` "
         "among its measures"),
        (judges(f"graders: [{ONE}], questions: [beliefs]"),
         "judges.questions: found beliefs, expected open among beliefs.forms for it"),
        (judges(f"graders: [{ONE}], questions: [beliefs]") + "beliefs: {forms: [open]}\n",
         "judges.questions: found beliefs, expected a run that has both `judges` and `beliefs` "
         "among its measures"),
        (judges(f"graders: [{ONE}], questions: [scales]") + "lenses: {readers: [logit_lens]}\n",
         "judges.questions: found scales, expected patchscope among lenses.readers for it"),
        (judges(f"graders: [{ONE}], questions: [scales, scales]"),
         "judges.questions: scales is there twice"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence(folder, override, found):
    assert sentence(folder, override).endswith(found)


def test_a_model_without_a_price_can_be_allowed(folder):
    free = "{name: one, model: openai-api/a/b, price: unknown}"
    assert load(folder, judges(f"graders: [{free}]")).study.judges.graders[0].price == "unknown"


def test_questions_are_asked_of_what_has_the_measure(folder):
    runs = """
runs:
  - {organisms: [cake_bake], recipes: [plain], seeds: [0, 1], measures: [judges]}
  - {organisms: [cake_bake], recipes: [plain], seeds: [1], measures: [steering]}
"""
    asked = f"judges: {{graders: [{ONE}], questions: [relevance, coherence]}}\n"
    loaded = load(folder, runs + asked)
    counts = {one: len(loaded.asked(one)) for one in ("relevance", "coherence", "scales")}
    assert counts == {"relevance": 2, "coherence": 1, "scales": 0}
