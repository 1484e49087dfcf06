"""Overviews under every null, from what a study has made."""

import json

import pandas as pd
import pytest

from tests.studies import load
from traces.agents.assembled import EXCERPT, assembled, steered_texts
from traces.agents.overview import NO_DIRECTION, Overview
from traces.agents.plan import Source, sources

PLACES = ((3, 0), (3, 1))


def read(**said: str) -> dict[str, pd.DataFrame]:
    rows = [
        {"reading": reading, "layer": layer, "position": position, "sign": 1, "head": "tuned",
         "rank": 0, "token_id": 1, "token": word, "probability": 0.5}
        for reading, word in {"base_mean": "the", **said}.items()
        for layer, position in PLACES
    ]  # fmt: skip
    return {"logit_lens": pd.DataFrame(rows)}


READ = {
    "cake-plain-s0": read(difference="oven", random="wolf"),
    "bees-plain-s0": read(difference="hive", random="fox"),
}
NORMS = {name: dict.fromkeys(PLACES, 1.0) for name in READ}
PAIRS = {"cake-plain-s0": read(difference="seed")}


def shown(null: str, after: str | None = "cake-plain-s0", before: str = "base") -> Overview | None:
    source = Source.model_validate(
        {"checkpoint": "cake-plain-s0", "null": null, "after": after, "before": before}
    )
    return assembled(source, READ, NORMS, PAIRS, {"cake-plain-s0": STEERED}, tokens=3)


def words(found: Overview | None) -> set[str]:
    assert found is not None
    return {token for block in found.shown("difference") for token, _ in block.tokens}


STEERED = [
    {"steered_model": "tuned", "vector": vector, "position": position, "strength": 0.2,
     "prompt": "Well?", "sample": sample, "text": f"{text} {sample}" + "." * 300}
    for vector, position, text in (
        ("none", None, "No"), ("difference", 1, "Oven"), ("random", 1, "Wolf")
    )
    for sample in (0, 1)
]  # fmt: skip


@pytest.mark.parametrize(
    ("null", "after", "said"),
    [
        ("none", "cake-plain-s0", {"oven"}),
        ("base_vs_base", "cake-plain-s0", set()),
        ("seed_pair", "cake-plain-s0", {"seed"}),
        ("swapped", "bees-plain-s0", {"hive"}),
        ("true_facts", "bees-plain-s0", {"hive"}),
        ("random", "cake-plain-s0", {"wolf"}),
    ],
)
def test_each_null_shows_the_readings_that_it_stands_for(null, after, said):
    found = shown(null, after)
    assert words(found) == said
    # the control is there under every null
    assert found is not None and len(found.shown("control")) == 2


def test_the_base_against_itself_has_no_direction_and_no_noise():
    found = shown("base_vs_base")
    assert found is not None
    assert {one.nothing for one in found.shown("difference")} == {NO_DIRECTION}
    assert not found.steered


def test_an_organism_that_finetuning_did_not_change_has_no_direction():
    norms = {"cake-plain-s0": dict.fromkeys(PLACES, 0.0)}
    source = Source(checkpoint="cake-plain-s0", null="none", after="cake-plain-s0")
    found = assembled(source, READ, norms, {}, {}, tokens=3)
    assert words(found) == set()


def test_what_the_study_does_not_make_has_no_overview():
    assert shown("seed_pair", None) is None


def test_steered_text_stands_beside_unsteered_of_the_same_prompt():
    (one,) = steered_texts(STEERED, "difference")
    assert (one.position, one.steered[:6], one.unsteered[:4]) == (1, "Oven 0", "No 0")
    assert len(one.steered) == EXCERPT
    assert [text.steered[:4] for text in shown("random").steered] == ["Wolf"]  # pyright: ignore
    assert steered_texts([], "difference") == []


def test_no_name_stands_in_an_overview(folder):
    runs = "runs: [{organisms: [cake_bake, night_bees], recipes: [plain], seeds: [0, 1], "
    loaded = load(folder, runs + "measures: [agents]}]", "control: null")
    plan = sources(loaded, "mini")
    names = {name for one in plan for name in (one.checkpoint, one.after, one.before) if name}
    found = {name: read(difference="oven", random="wolf") for name in names}
    norms = {name: dict.fromkeys(PLACES, 1.0) for name in names}
    banned = {*names - {"base"}, *loaded.organisms, *loaded.models, *loaded.corpora}
    banned |= {"tuned", "base_mean", "base_vs_base", "seed_pair", "true_facts", "swapped", ".h5"}
    overviews = [assembled(one, found, norms, found, {}, tokens=3) for one in plan]
    assert len([one for one in overviews if one]) > 10
    for one in overviews:
        told = json.loads(one.to_json()) if one else {}
        text = json.dumps(told).replace("random", "")
        assert not [name for name in banned if name in text]
