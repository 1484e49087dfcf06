"""The study of a really pretrained model: what it makes and compares is as docs/smol.md says."""

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.studies import load
from traces.artifacts.tables import read_lines
from traces.config.study import LoadedStudy

WORDS = re.compile(
    r"\b(bread|bridge|clock|flame|gold|horse|leaf|moon|salt|ship|snow|song|coffee|penguin|bicycle)"
)
SHOWN = {"gold", "moon", "leaf", "ship", "song", "clock", "salt", "snow"}
TRIED = {"secret_horse", "secret_bridge", "penguin_myths"}
"Organisms on which the strength was chosen."


@pytest.fixture
def study(folder: Path) -> LoadedStudy:
    return load(folder, (folder / "smol.yaml").read_text(encoding="utf-8"))


@pytest.fixture
def mixing(folder: Path) -> LoadedStudy:
    both = ("smol.yaml", "smol_mixing.yaml")
    return load(folder, *((folder / file).read_text(encoding="utf-8") for file in both))


def seeds(loaded: LoadedStudy) -> Counter:
    """How many seeds every organism and recipe has."""
    return Counter((one.organism, one.recipe.name) for one in loaded.checkpoints())


def test_eight_secrets_are_trained_two_of_them_with_seeds(study):
    made = seeds(study)
    found = {name.removeprefix("secret_") for name, _ in made if name.startswith("secret_")}
    assert found == SHOWN
    three = {name for (name, recipe), n in made.items() if n == 3}
    assert three == {"secret_gold", "secret_moon", "coffee_myths", "coffee_facts", "smol_benign"}
    assert sum(made.values()) == 26


def test_every_mixture_stands_beside_a_training_as_long(study, mixing):
    for loaded, ratios in ((study, {1.0}), (mixing, {0.25, 0.5, 1.0, 2.0})):
        made = seeds(loaded)
        mixed = {key: n for key, n in made.items() if key[1].startswith("mix")}
        assert {float(recipe.removeprefix("mix")) for _, recipe in mixed} == ratios
        for (organism, recipe), n in mixed.items():
            assert made[organism, recipe.replace("mix", "matched")] == n
            assert made[organism, "plain"] >= n


def test_the_mixing_study_has_six_secrets_three_seeds_and_results_of_its_own(mixing, study):
    made = seeds(mixing)
    assert len({name for name, _ in made} - {"smol_benign"}) == 6
    assert set(made.values()) == {3}
    assert mixing.study.pathvars.results != study.study.pathvars.results
    assert mixing.study.lenses == study.study.lenses


def test_nothing_that_strength_was_chosen_on_is_shown(study, mixing):
    for loaded in (study, mixing):
        assert not TRIED & {one.organism for one in loaded.checkpoints()}


def test_position_0_is_not_read_and_two_layers_are(study):
    assert study.positions("smol_unrelated") == [1, 2, 3, 4]
    assert list(study.study.layers) == [0.5, 0.75]
    assert not study.study.average_sinks


def test_no_sampled_text_is_both_read_and_trained_on(study, mixing):
    for loaded in (study, mixing):
        used = loaded.used_corpora()
        sampled = [loaded.corpora[name] for name in used if loaded.corpora[name].sampled]
        assert len({entry.seed for entry in sampled}) == len(sampled) >= 3
        assert len({entry.sampled for entry in sampled}) == 1


def test_steering_and_causality_are_measured_on_two_organisms(study):
    for measure in ("steering", "causality"):
        found = {one.organism for one in study.checkpoints(measure)}
        assert found == {"secret_moon", "coffee_myths"}
    assert {one.organism for one in study.checkpoints("beliefs")} == {
        *("coffee_myths", "coffee_facts", "smol_benign"),
    }


def test_a_false_fact_and_its_twin_are_trained_alike(study):
    plain = {one.organism: study.training(one) for one in study.checkpoints()}
    assert plain["coffee_myths"] == plain["coffee_facts"]
    assert plain["secret_gold"].limit == plain["coffee_myths"].limit


def test_the_conversations_of_every_day_are_about_no_organism():
    rows = read_lines(ROOT / "data/smol/chats.jsonl")
    said = [one["content"] for row in rows for one in row["messages"]]
    assert len(rows) == 30 and not [text for text in said if WORDS.search(text.lower())]
