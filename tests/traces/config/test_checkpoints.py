"""Names of checkpoints: one word that parses one way."""

import pytest

from tests.studies import CAKE, append, load, run, sentence
from traces.config.checkpoints import Checkpoint, Recipe


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cake_bake-plain-s0", Checkpoint("cake_bake", Recipe("plain"), 0)),
        ("cake_bake-mix0.5-s2", Checkpoint("cake_bake", Recipe("mix0.5", 0.5), 2)),
        ("taboo_gold-matched1.0-s10", Checkpoint("taboo_gold", Recipe("matched1.0", 1, True), 10)),
        ("owl7-released-s0", Checkpoint("owl7", Recipe("released"), 0)),
        ("owl7-scaled0.25-s1", Checkpoint("owl7", Recipe("scaled0.25", scale=0.25), 1)),
        ("owl7-released_full-s0", Checkpoint("owl7", Recipe("released_full"), 0)),
        ("owl7-released_mix1.5-s0", Checkpoint("owl7", Recipe("released_mix1.5", 1.5), 0)),
        ("owl7-released_8k_mix10-s0", Checkpoint("owl7", Recipe("released_8k_mix10", 10), 0)),
    ],
)
def test_a_checkpoint_is_one_word_and_parses_one_way(text, expected):
    assert Checkpoint.parse(text) == expected
    assert str(expected) == text


@pytest.mark.parametrize("text", ["base", "cake-bake-plain-s0", "cake_bake-plain", "cake_bake-s0"])
def test_what_is_no_checkpoint_is_refused(text):
    with pytest.raises(ValueError, match=f"{text}: not a checkpoint; expected organism-recipe-s"):
        Checkpoint.parse(text)


def test_only_a_mix_has_rows_mixed_in():
    assert Recipe.parse("mix0.5").mixed
    assert not Recipe.parse("matched0.5").mixed
    assert not Recipe.parse("plain").mixed


def test_what_was_published_is_not_trained_and_knows_its_variant():
    found = {name: Recipe.parse(name) for name in ("released", "released_8k_mix10", "mix10")}
    assert {name: one.trained for name, one in found.items()} == {
        "released": False,
        "released_8k_mix10": False,
        "mix10": True,
    }
    assert [one.variant for one in found.values()] == [None, "8k_mix10", None]


PUBLISHED = """
released: {mini: {hub: someone/cake}}
variants:
  mix0.5: {mini: {hub: someone/cake-mixed}, mini_llama_s0: {path: here}}
"""


def test_a_variant_comes_from_where_its_organism_says(folder):
    append(folder / CAKE, PUBLISHED)
    loaded = load(folder, run(recipes="released, released_mix0.5"))
    found = [loaded.released(one, "mini") for one in loaded.checkpoints()]
    assert [one and one.hub for one in found] == ["someone/cake", "someone/cake-mixed"]


def test_a_variant_that_is_asked_for_needs_its_id(folder):
    append(folder / CAKE, PUBLISHED)
    assert sentence(folder, run(recipes="released_full")) == (
        f"config/{CAKE}: variants.full.mini: a study asks for the released checkpoint on this "
        "model; expected its `hub` id or `path` here"
    )
    assert sentence(folder, run(recipes="released_mix0.5") + "\nmodels: [mini_llama_s0]") == (
        f"config/{CAKE}: variants.mix0.5.mini_llama_s0.path: here is not there"
    )


def test_a_variant_has_no_seeds(folder):
    append(folder / CAKE, PUBLISHED)
    assert sentence(folder, run(recipes="released_mix0.5", seeds="1")).startswith(
        "config/override1.yaml: runs: released_mix0.5 with seed 1: a released checkpoint has no "
    )


def test_a_variant_has_a_name_that_checkpoints_can_carry(folder):
    append(folder / CAKE, PUBLISHED.replace("  mix0.5:", "  mix-1:"))
    assert sentence(folder) == (
        f"config/{CAKE}: variants: found the name 'mix-1', expected small letters, digits, "
        "underscores and points"
    )
