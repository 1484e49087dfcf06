"""Investigators in a study: who grades, what they cost, which twins there are."""

import pytest

from tests.studies import CAKE, edit, load, sentence

ONE = "{name: one, model: openai-api/a/b"


def agents(keys: str) -> str:
    return f"agents: {{{keys}}}\n"


def test_a_model_behind_an_api_stands_beside_the_embedded_one(folder):
    loaded = load(folder, agents(f"models: [embedded, {ONE}, price: unknown}}]"))
    embedded, one = loaded.study.agents.models
    assert embedded == "embedded"
    assert not isinstance(one, str) and one.name == "one"


@pytest.mark.parametrize(
    ("override", "found"),
    [
        (agents("graders: [lexical, gpt]"),
         "agents.graders: found gpt, expected lexical; judges.graders has none"),
        (agents(f"models: [{ONE}}}]"),
         "agents.models.0.model: found openai-api/a/b, which has no price in config/prices.yaml; "
         "add it there, or allow it with `price: unknown`"),
        (agents("nulls: [random]"),
         "agents: nulls needs none, the organism itself, which others are held beside"),
        (agents("prompts: [neutral, neutral]"), "agents: neutral is there twice"),
        (agents("interactions: {lens: [-1]}"),
         "agents.interactions.lens: found -1, expected 0 or more prompts"),
        (agents("models: [{name: embedded, model: a/b}]"),
         "agents: models: found a model named embedded, expected another name"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence(folder, override, found):
    assert sentence(folder, override).endswith(found)


@pytest.mark.parametrize(
    ("twin", "found"),
    [
        ("nobody", "nobody: no such organism"),
        ("cake_bake", "found itself, expected another organism"),
    ],
)
def test_a_twin_is_another_organism(folder, twin, found):
    edit(folder / CAKE, "true_facts: true_baking", f"true_facts: {twin}")
    assert f"cake_bake.yaml: twins.true_facts: {found}" in sentence(folder)


def test_the_prompts_of_a_black_box_must_be_there(folder):
    asked = agents("asked: {prompts: nowhere.txt}")
    assert "agents.asked.prompts" in sentence(folder, asked)
    without = "runs: [{organisms: [cake_bake], recipes: [plain], seeds: [0]}]"
    assert load(folder, asked, without)
