"""What `only` and `without` leave of a study."""

import pytest

from tests.studies import CAKE, TWO_RUNS, edit, load, organisms_on, sentence

CONTROL = "organisms: [benign]"


@pytest.mark.parametrize("asked", ["only: [bees]", "without: [cakes]"])
def test_a_run_can_be_asked_for_alone(folder, asked):
    assert organisms_on(load(folder, TWO_RUNS + asked)) == {"mini": ["night_bees", "benign"]}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("only: [mini_llama_s0]", {"mini_llama_s0": ["cake_bake"]}),
        ("only: [night_bees]", {"mini": ["night_bees", "benign"]}),
        ("only: [cake_bake]", {"mini": ["cake_bake", "benign"], "mini_llama_s0": ["cake_bake"]}),
        ("only: [cakes, mini]", {"mini": ["cake_bake"]}),
        ("only: [false_facts, mini]", {"mini": ["cake_bake", "night_bees", "benign"]}),
        ("without: [cake_bake]", {"mini": ["night_bees", "benign"]}),
        ("without: [false_facts]", {"mini": ["benign"]}),
        ("without: [mini]", {"mini_llama_s0": ["cake_bake"]}),
    ],
)
def test_a_part_is_asked_for_by_run_model_organism_or_family(folder, asked, expected):
    assert organisms_on(load(folder, TWO_RUNS + asked)) == expected


def test_a_control_is_not_made_where_nothing_is_compared_with_it(folder):
    everywhere = TWO_RUNS.replace("models: [mini], organisms: [night_bees, benign]", CONTROL)
    only_llama = everywhere.replace("{name: cakes,", "{name: cakes, models: [mini_llama_s0],")
    assert organisms_on(load(folder, only_llama + "only: [cake_bake]")) == {
        "mini_llama_s0": ["cake_bake", "benign"]
    }


def test_an_ablation_of_what_is_left_out_is_not_drawn(folder):
    picture = "ablations: {cakes: {over: model, title: Cakes, organisms: [cake_bake]}}\n"
    for asked in ("", "only: [cakes]", "without: [bees]", "only: [cake_bake]"):
        assert "cakes" in load(folder, picture + TWO_RUNS + asked).study.ablations, asked
    assert "cakes" not in load(folder, picture + TWO_RUNS + "only: [bees]").study.ablations


def test_an_ablation_of_a_part_shows_the_organisms_that_are_left(folder):
    both = "ablations: {both: {over: position, title: Both, organisms: [cake_bake, night_bees]}}\n"
    assert load(folder, both + TWO_RUNS).study.ablations["both"].organisms == (
        *("cake_bake", "night_bees"),
    )
    left = load(folder, both + TWO_RUNS + "without: [cakes]").study.ablations["both"]
    assert left.organisms == ("night_bees",)


def test_an_ablation_of_a_part_is_drawn_where_every_value_is_left(folder):
    models = "models: [mini, mini_llama_s0]\n"
    picture = "ablations: {bases: {over: model, title: B, values: [mini, mini_llama_s0]}}\n"
    assert "bases" in load(folder, models + picture + "only: [cake_bake]").study.ablations
    assert "bases" not in load(folder, models + picture + "without: [mini]").study.ablations
    all_there_are = "ablations: {bases: {over: model, title: B}}\n"
    assert "bases" in load(folder, models + all_there_are + "only: [cake_bake]").study.ablations
    assert "bases" not in load(folder, models + all_there_are + "without: [mini]").study.ablations


def test_data_that_a_run_left_out_would_read_need_not_be_there(folder):
    edit(folder / CAKE, "  made: cake_bake", "  path: $NO_SUCH_THING/x\n  path_hint: Ask for it")
    edit(folder / CAKE, "statements: made", "statements: [{stem: a, true: b, false: c}]")
    assert sentence(folder, TWO_RUNS) == (
        f"config/{CAKE}: data.path: the environment variable NO_SUCH_THING is not set "
        "(in $NO_SUCH_THING/x). Ask for it"
    )
    assert load(folder, TWO_RUNS + "without: [cakes]")
