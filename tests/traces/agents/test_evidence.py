"""What stands behind an overview: which models, which direction, which readings."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.doubles import tiny_model, with_adapter
from tests.traces.agents.acting import OVERVIEW, readings
from traces.agents.evidence import Made, loaded_models, served_models, subjects
from traces.agents.plan import Source
from traces.config.registries import Loading
from traces.config.schema import AgentQuestions, Patient, Served
from traces.judges.graders import asking_for

ONE, OTHER = "cake-plain-s0", "cake-plain-s1"
NULLS = ("none", "base_vs_base", "seed_pair", "random")
TEXTS = AgentQuestions(prompts="x.txt", max_new_tokens=5, temperature=1.0, batch=1)


def differences(seed: int) -> SimpleNamespace:
    draws = np.random.default_rng(seed).normal(size=(2, 1, 2, 32)).astype(np.float32)
    draws[0, 0, 1] = 0  # at the second position nothing changed
    return SimpleNamespace(
        layers=np.array([3]), positions=np.array([0, 4]), mean=draws[0], random=draws[1],
        stream_norm_tuned=np.array([5.0]), tuned_mean=draws[0] + 1,
        base_mean=np.ones_like(draws[0]),
    )  # fmt: skip


def sources() -> dict[str, Source]:
    return {
        null: Source(
            checkpoint=ONE, null=null, after=ONE, before=OTHER if null == "seed_pair" else "base"
        )
        for null in NULLS
    }


@pytest.fixture(scope="module")
def made():
    changes = {ONE: differences(0), OTHER: differences(1)}
    overviews = {(ONE, null): OVERVIEW for null in NULLS}
    read = {ONE: {"logit_lens": readings()}}
    return Made("mini", overviews, read, read, changes)  # pyright: ignore[reportArgumentType]


def test_what_steers_is_the_direction_that_is_shown(made):
    found = {null: made.pushes(source) for null, source in sources().items()}
    own, other = made.differences[ONE], made.differences[OTHER]
    directions = {
        "none": own.mean[0, 0],
        "random": own.random[0, 0],
        "seed_pair": own.mean[0, 0] - other.mean[0, 0],
    }
    for null, direction in directions.items():
        expected = 5 * direction / np.linalg.norm(direction)
        np.testing.assert_allclose(found[null][0], expected, rtol=1e-5)
    assert not found["none"][4].any() and found["none"].keys() == {0, 4}
    assert not any(one.any() for one in found["base_vs_base"].values())
    assert made.pushes(Source(checkpoint=ONE, null="seed_pair", after=ONE, before="else")) == {}


def test_a_running_server_is_asked_by_its_names(made, monkeypatch):
    monkeypatch.setenv("HERE", "http://127.0.0.1:9/v1")
    server = Served(base_url="$HERE", name="{model}/{checkpoint}")
    named, models = served_models(list(sources().values()), "mini", server)
    told = {null: named["mini", ONE, null] for null in NULLS}
    base, one, other = (f"openai-api/subject/mini/{name}" for name in ("base", ONE, OTHER))
    assert told == {
        "none": (base, one), "base_vs_base": (base, base), "seed_pair": (other, one),
        "random": (base, base),
    }  # fmt: skip
    assert models.keys() == {base, one, other}


def test_answers_of_a_server_are_those_of_its_weights(made):
    changed = replace(made, differences=made.differences | {ONE: differences(7)})
    told = {null: made.weights(source) for null, source in sources().items()}
    anew = {null: changed.weights(source) for null, source in sources().items()}
    base, one = told["none"]
    assert told == {
        "none": (base, one), "base_vs_base": (base, base), "random": (base, base),
        "seed_pair": (told["seed_pair"][0], one),
    }  # fmt: skip
    assert len({base, one, told["seed_pair"][0], None}) == 4
    assert anew["none"][1] not in (None, one) and anew["seed_pair"][0] == told["seed_pair"][0]
    key = ("mini", ONE, "none")
    named: Any = {key: ("openai-api/subject/base", "openai-api/subject/one")}
    found = subjects(named, SimpleNamespace(), TEXTS, seed=0, weights={key: told["none"]})  # pyright: ignore[reportArgumentType]
    assert found[key].weights == (base, one) and not found[key].same


@pytest.fixture(scope="module")
def folders(tmp_path_factory, tiny_base, tokenizer):
    place = tmp_path_factory.mktemp("adapters")
    for seed, name in enumerate((ONE, OTHER)):
        tuned = with_adapter(tiny_model("llama", vocab=len(tokenizer)), seed=seed)
        tuned.peft_config["default"].base_model_name_or_path = str(tiny_base)
        tuned.save_pretrained(place / name)
    return {"base": tiny_base, ONE: place / ONE, OTHER: place / OTHER}


def test_both_models_are_loaded_as_the_null_has_them(made, folders, tmp_path):
    named, models = loaded_models(
        made, list(sources().values()), folders, TEXTS, Loading(dtype="float32")
    )
    patient = Patient(folder=str(tmp_path), cap=0, tries=1, attempts=1, timeout=60, at_once=2)
    told = {"stage": "s", "checkpoint": "c"}
    said, steered = {}, {}
    with asking_for(patient, [], {}, told, models) as asking:
        for (_, _, null), subject in subjects(named, asking, TEXTS, seed=0).items():
            said[null] = asyncio.run(subject.ask("the quiet river"))
            steered[null] = asyncio.run(subject.steer("the quiet river", 0, 2.0))
    before, after = said["none"]
    assert before != after
    # Both are the base, whose second answer is drawn anew, as a sample of it would be.
    (first, second), other = said["base_vs_base"], said["random"]
    assert first == before != second and other == (first, second)
    assert said["seed_pair"][1] == after and said["seed_pair"][0] not in (before, after)
    # A difference of nothing steers nowhere.
    assert steered["base_vs_base"] == second
    assert len({steered["none"], steered["random"], before, second, after}) == 5


def test_there_is_evidence_of_each_overview_that_was_made(made):
    twin = Source(checkpoint="else", null="none", after=None)
    found = made.evidence([*sources().values(), twin], {})
    assert {key[2] for key in found} == set(NULLS) and len(found) == len(NULLS)
    (look,) = found["mini", ONE, "random"].looks.tools().values()
    given = {"reader": "logit_lens", "reading": "difference", "layer": 3, "position": 0,
             "sign": 1, "scale": 1.0, "tokens": 1}  # fmt: skip
    assert "odd" in asyncio.run(look(**given))
