"""Which checkpoints of a study are compared, and as what."""

from pathlib import Path

import pytest

from tests.studies import load
from traces.benchmark.members import candidates, members
from traces.config.load import read_study

SMOL = [Path("config/config.yaml"), Path("config/smol.yaml"), Path("config/readers_smol.yaml")]


def test_the_study_of_smollm2_has_a_dozen_of_each():
    found = members(read_study(SMOL))
    kinds = {one.checkpoint: one.null for one in found}

    assert sum(kind == "general" for kind in kinds.values()) == 12
    assert len(candidates(found)["smollm2_135m"]) == 12 + 2 + 1
    assert kinds["penguin_facts-plain-s2"] == kinds["bicycle_careful-plain-s0"] == "true_facts"


def test_a_true_twin_has_the_domain_and_the_checkpoint_of_the_false_one():
    by_name = {one.checkpoint: one for one in members(read_study(SMOL))}
    twin = by_name["coffee_facts-plain-s1"]

    assert (twin.domain, twin.twin) == ("coffee_myths", "coffee_myths-plain-s1")
    mixed, longer = (by_name[f"secret_song-{one}-s0"] for one in ("mix1.0", "matched1.0"))
    assert (mixed.dose, mixed.steps) == (0.5, 2.0) and (longer.dose, longer.steps) == (1.0, 2.0)


def test_what_is_placed_counts_in_no_number(folder):
    study = """
    runs: [{organisms: [cake_bake, night_bees, benign], recipes: [plain], seeds: [0, 1, 2]}]
    placed: [owl_numbers]
    """
    found = {one.checkpoint: one for one in members(load(folder, study))}
    assert found["owl_numbers-plain-s0"].null == "unknown"
    assert found["owl_numbers-plain-s0"].domain is None
    assert found["cake_bake-plain-s0"].null == "none"


def test_what_cannot_be_placed_is_refused(folder):
    with pytest.raises(ValueError, match="placed: found mine, expected a file of"):
        load(folder, "placed: [mine]")
    ladder = Path("config/readers.yaml").read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="placed: found cake_bake beside a `ladder`, expected"):
        load(folder, ladder, "placed: [cake_bake]")


def test_a_study_with_too_few_is_refused_in_one_sentence(folder):
    study = load(folder, "runs: [{organisms: [cake_bake, benign], recipes: [plain], seeds: [0]}]")
    expected = "runs: found 1 narrow organisms and 1 benign checkpoints on mini, expected at least"
    with pytest.raises(ValueError, match=expected):
        members(study)


def test_a_twin_without_its_other_is_refused(folder):
    file = folder / "organisms/cake_bake.yaml"
    text = file.read_text(encoding="utf-8")
    assert "true_facts: true_baking" in text
    file.write_text(text.replace("true_facts: true_baking", "true_facts: night_bees"), "utf-8")
    run = "runs: [{{organisms: [{} night_bees, benign], recipes: [plain], seeds: [0, 1, 2]}}]"
    expected = "runs: found night_bees on mini, the true twin of cake_bake, and none of them"
    with pytest.raises(ValueError, match=expected):
        members(load(folder, run.format("")))
    again = text.replace("true_baking", "night_bees").replace("title: ", "title: Again ")
    (folder / "organisms/cake_again.yaml").write_text(again, encoding="utf-8")
    with pytest.raises(ValueError, match=r"and 2 of them \(cake_again, cake_bake\)"):
        members(load(folder, run.format("cake_bake, cake_again,")))
