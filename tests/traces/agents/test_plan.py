"""What is investigated, and what is held beside it."""

from collections import Counter

from tests.studies import load
from traces.agents.plan import Source, other_seed, shown, sources, swapped
from traces.config.checkpoints import Checkpoint

RUNS = """
runs:
  - organisms: [cake_bake, night_bees, taboo_lantern]
    recipes: [plain]
    seeds: [0, 3]
    measures: [agents]
  - {organisms: [benign], recipes: [plain], seeds: [0], measures: [agents]}
  - {organisms: [owl_numbers], recipes: [plain], seeds: [0]}
"""


def by_null(found: list[Source], checkpoint: str) -> dict[str, tuple[str | None, str]]:
    return {one.null: (one.after, one.before) for one in found if one.checkpoint == checkpoint}


def test_each_null_shows_what_it_says(folder):
    found = sources(load(folder, RUNS), "mini")
    assert by_null(found, "cake_bake-plain-s0") == {
        "none": ("cake_bake-plain-s0", "base"),
        "base_vs_base": ("cake_bake-plain-s0", "base"),
        "seed_pair": ("cake_bake-plain-s0", "cake_bake-plain-s3"),
        "shuffled": ("shuffled_baking-plain-s0", "base"),
        "true_facts": ("true_baking-plain-s0", "base"),
        "swapped": ("night_bees-plain-s0", "base"),
        "random": ("cake_bake-plain-s0", "base"),
    }
    assert by_null(found, "benign-plain-s0") == {"benign": ("benign-plain-s0", "base")}
    # twins are of the first seed alone, and only of organisms that name them
    assert not {"shuffled", "true_facts"} & by_null(found, "cake_bake-plain-s3").keys()
    assert not {"shuffled", "true_facts"} & by_null(found, "taboo_lantern-plain-s0").keys()
    # what is not asked for is no subject
    assert not by_null(found, "owl_numbers-plain-s0")


def test_no_overview_is_swapped_for_its_own_and_the_order_is_fixed(folder):
    for seed in (0, 1, 7):
        loaded = load(folder, RUNS, f"seed: {seed}")
        pairs = {
            one.organism: other.organism
            for one in loaded.checkpoints("agents", "mini")
            if one.organism != "benign"
            for other in [swapped(loaded, "mini", one)]
            if other is not None
        }
        assert set(pairs) == set(pairs.values()) == {"cake_bake", "night_bees", "taboo_lantern"}
        assert all(one != other for one, other in pairs.items())


def test_what_the_study_does_not_make_has_no_source(folder):
    alone = "runs: [{organisms: [cake_bake], recipes: [plain], seeds: [0], measures: [agents]}]"
    loaded = load(folder, alone, "control: null")
    found = by_null(sources(loaded, "mini"), "cake_bake-plain-s0")
    assert found["seed_pair"] == (None, "base")
    assert found["swapped"] == (None, "base")
    one = Checkpoint.parse("cake_bake-plain-s0")
    assert other_seed(loaded, "mini", one) is swapped(loaded, "mini", one) is None


def test_the_control_is_graded_on_every_other_organism(folder):
    found = shown(load(folder, RUNS), "mini")
    of_control = [one for one in found if one.null == "benign"]
    assert [one.organism for one in of_control] == ["cake_bake", "night_bees", "taboo_lantern"]
    assert len({one.overview for one in of_control}) == 1
    assert Counter(one.null for one in found)["none"] == 6


def test_twins_are_trained_and_are_no_subject_of_tables(folder):
    loaded = load(folder, RUNS)
    assert [str(one) for one in loaded.twins("mini")] == [
        "shuffled_baking-plain-s0",
        "true_baking-plain-s0",
    ]
    assert "true_baking" in loaded.read_organisms()
    assert "true_baking" not in {one.organism for one in loaded.checkpoints()}
    without = load(folder, RUNS, "agents: {nulls: [none, random]}")
    assert not without.twins()
