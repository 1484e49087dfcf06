"""A planted effect is readable, an absent one is not, and few seeds decide nothing."""

import numpy as np
import pandas as pd
import pytest

from tests.traces.analysis.planted import CONTROL, OTHERS, PLANTED, relevance, row
from traces.analysis import readability


def test_a_planted_effect_is_readable_and_an_absent_one_is_reported():
    table = readability.readability_table(relevance(), control="benign")

    assert list(table["organism"].unique()) == list(PLANTED)
    assert row(table, "cake_bake")["verdict"] == "readable"
    assert row(table, "subliminal_owl")["verdict"] == "not readable"
    assert row(table, "benign")["verdict"] == "not readable"


def test_means_are_those_planted():
    found = row(readability.readability_table(relevance(), control="benign"), "cake_bake")

    assert found["relevance"] == pytest.approx(0.6)
    assert found["benign"] == pytest.approx(0.1)
    assert found["other_words"] == pytest.approx(OTHERS)
    for reading, planted in CONTROL.items():
        assert found[reading] == pytest.approx(planted)
    assert (found["strongest_control"], found["seeds"]) == ("benign", 3)
    assert found["gap"] == pytest.approx(0.5)


def test_the_interval_is_that_over_seeds_not_over_positions():
    found = row(readability.readability_table(relevance(), control="benign"), "cake_bake")

    half = 4.302653 * np.std([0.58, 0.6, 0.62], ddof=1) / np.sqrt(3)
    assert found["relevance_high"] - found["relevance"] == pytest.approx(half, rel=1e-5)


def test_one_seed_is_undecided_and_has_no_interval():
    found = row(readability.readability_table(relevance(seeds=(0,)), control="benign"), "cake_bake")

    assert found["verdict"] == "undecided"
    assert np.isnan(found["relevance_low"]) and np.isnan(found["gap_low"])


def test_an_organism_that_reads_no_better_than_a_control_is_not_readable(monkeypatch):
    monkeypatch.setitem(CONTROL, "random", 0.6)

    found = row(readability.readability_table(relevance(), control="benign"), "cake_bake")

    assert (found["verdict"], found["strongest_control"]) == ("not readable", "random")


def test_two_seeds_that_disagree_a_little_show_nothing_of_a_large_gap():
    table = relevance(seeds=(0, 1))
    apart = table["seed"].map({0: -0.1, 1: 0.1}) * (table["reading"] == "difference")
    table = table.assign(relevance=table["relevance"] + apart * (table["relevance"] > 0.5))

    found = row(readability.readability_table(table, control="benign"), "cake_bake")

    assert found["gap"] > 0.4 and found["gap_low"] < 0
    assert found["verdict"] == "not shown"


def test_the_best_scale_is_an_oracle_for_controls_too_and_never_the_headline():
    found = row(readability.readability_table(relevance(), control="benign"), "cake_bake")

    assert found["relevance"] == pytest.approx(0.6)
    assert found["oracle_relevance"] == pytest.approx(0.8)
    assert found["oracle_strongest_control"] == pytest.approx(0.3)


def test_a_benign_organism_without_this_seed_lends_the_mean_of_its_seeds():
    table = relevance()
    kept = table[(table["organism"] != "benign") | (table["seed"] != 0)]

    seeds = readability.seed_table(kept, control="benign")

    own = seeds[(seeds["organism"] == "cake_bake") & (seeds["reading"] == "benign")]
    values = own[own["lens"] == "patchscope"].set_index("seed")["relevance"]
    assert values[0] == pytest.approx(0.11)
    assert values[2] == pytest.approx(0.12)


def test_a_mixed_recipe_is_held_against_the_plain_benign_organism():
    table = relevance()
    mixed = table[table["organism"] == "cake_bake"].assign(recipe="mix1.0", ratio=1.0)

    found = readability.readability_table(pd.concat([table, mixed]), control="benign")

    again = found[(found["organism"] == "cake_bake") & (found["recipe"] == "mix1.0")]
    assert again["benign"].to_numpy() == pytest.approx([0.1, 0.1])


def test_without_a_benign_organism_the_other_controls_decide():
    table = readability.readability_table(relevance(organisms=("cake_bake", "subliminal_owl")))

    found = row(table, "cake_bake")
    assert np.isnan(found["benign"])
    assert (found["verdict"], found["strongest_control"]) == ("readable", "tuned_mean")


def test_an_organism_whose_readings_are_empty_is_undecided_not_left_out():
    table = relevance()
    empty = (
        (table["organism"] == "cake_bake")
        & (table["reading"] == "difference")
        & (table["graded_on"] == "cake_bake")
    )

    found = row(readability.readability_table(table[~empty], control="benign"), "cake_bake")

    assert np.isnan(found["relevance"])
    assert found["verdict"] == "undecided"


@pytest.mark.parametrize("how", ["averaged", "position"])
def test_only_the_positions_asked_for_are_averaged(how):
    table = relevance(seeds=(1,))
    if how == "averaged":
        table = table.assign(averaged=table["position"] == 2)
    seeds = readability.seed_table(table, position=2 if how == "position" else None)

    own = seeds[(seeds["organism"] == "cake_bake") & (seeds["reading"] == "difference")]
    assert own["relevance"].to_numpy() == pytest.approx([0.61, 0.61])


def test_places_hold_the_difference_on_its_own_words_at_scale_1_and_no_mean():
    found = readability.place_table(relevance(seeds=(1,), organisms=("cake_bake",)))

    by_place = found.set_index(["lens", "position"])["relevance"]
    assert len(by_place) == 6
    for lens in ("logit_lens", "patchscope"):
        assert by_place[lens].to_dict() == pytest.approx({0: 0.59, 1: 0.6, 2: 0.61})


def test_the_tuned_head_is_the_headline_where_the_logit_lens_has_two():
    table = relevance(seeds=(1,))
    base = table[table["lens"] == "logit_lens"].assign(head="base", relevance=1.0)

    seeds = readability.seed_table(pd.concat([table, base]))

    assert seeds["relevance"].max() < 0.7


def test_chance_is_the_share_of_the_vocabulary_among_the_words():
    vocabulary = pd.DataFrame({"token": [" Oven", "oven", " the", " cake", " of"]})
    words = pd.DataFrame({"word": ["oven", "vinegar"]})

    found = readability.chance_table(
        [({"model": "mini", "organism": "cake_bake"}, words)], {"mini": vocabulary}
    )

    assert found["chance"].tolist() == [0.4]
    table = readability.readability_table(relevance(), chance=found, control="benign")
    assert row(table, "cake_bake")["chance"] == 0.4
    assert np.isnan(row(table, "benign")["chance"])


def test_the_tokens_of_a_short_list_are_counted():
    table = relevance()
    short = (table["lens"] == "patchscope") & (table["seed"] == 0) & (table["sign"] > 0)
    table.loc[short, "n"] = 8
    found = readability.readability_table(table, control="benign")
    counts = found[found["organism"] == "cake_bake"].set_index("lens")[["n", "candidates"]]
    assert counts.loc["logit_lens"].tolist() == [20, 20]
    assert counts.loc["patchscope"].tolist() == [pytest.approx((8 + 20 + 20) / 3), 20]
