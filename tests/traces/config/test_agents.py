"""Investigators in a study: who grades, what they cost, which twins there are."""

import pytest

from tests.studies import CAKE, edit, load, sentence

ONE = "{name: one, model: openai-api/a/b"
FREE = f"{ONE}, price: unknown"


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
        (agents("models: [{name: one, model: openai/gpt-5-mini, price: unknown}]"),
         "agents.models.0.price: found unknown for openai/gpt-5-mini, whose price is in "
         "config/prices.yaml and counts; expected one of the two"),
        (agents(f"models: [{FREE}}}, {FREE.replace('one', 'two')}}}]"),
         "agents.models.1: found the model and settings of one, whose answers it would get; "
         "expected another model or setting, or `agents.runs` for several answers"),
        (agents(f"models: [{FREE}, base_url: 'http://b/v1'}}]")
         + f"judges: {{graders: [{FREE.replace('one', 'two')}, base_url: 'http://a/v1'}}]}}",
         "agents.models.0.base_url: found another address than that of two, which has the same "
         "model openai-api/a/b; expected one address a model"),
        (agents(f"models: [{FREE}, base_url: 'localhost'}}]"),
         "agents.models.0.base_url: found localhost, expected an address that begins with http:// "
         "or https://, such as http://127.0.0.1:8000/v1"),
        (agents("served: {base_url: 'http://a/v1', name: '{checkpoint}'}, asked: {top_k: 5}"),
         "agents: asked.top_k: found it beside `served`, expected null: it is not sent to a "
         "server"),
        (agents("served: {base_url: 'http://a:b/v1', name: '{checkpoint}'}"),
         "agents.served.base_url: found http://a:b/v1, expected an address that begins with "
         "http:// or https://, such as http://127.0.0.1:8000/v1"),
        (agents("graders: [two]") + f"judges: {{graders: [{FREE.replace('one', 'two')}, "
         "base_url: a}]}",
         "judges.graders.0.base_url: found a, expected an address that begins with http:// or "
         "https://, such as http://127.0.0.1:8000/v1"),
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
