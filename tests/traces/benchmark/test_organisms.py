"""Who counts, on which rung, and what is refused."""

import pandas as pd
import pytest

from tests.traces.benchmark import planted
from traces.benchmark import organisms as org


def test_the_pilot_is_in_no_score():
    table = planted.organisms(models=("mini", "other"), seeds=(0, 7))
    ready = org.prepared(table, planted.scoring(pilot_models=("other",), pilot_seeds=(7,)))

    counted, pilot = org.scored(ready), org.piloted(ready)

    assert len(counted) + len(pilot) == len(table)
    assert set(counted["model"]) == {"mini"} and 7 not in set(counted["seed"])
    assert set(pilot["model"]) == {"mini", "other"}


def test_a_pilot_without_nulls_is_none():
    table = planted.organisms(seeds=(0, 50))
    ready = org.prepared(table, planted.scoring(pilot_seeds=(50,)))
    assert ready["pilot"].any() and org.piloted(ready).empty


def test_doses_of_a_domain_are_one_unit_and_every_null_is_its_own():
    ready = org.prepared(planted.organisms(), planted.scoring())

    narrow = ready["null"] == "none"
    assert ready.loc[narrow].groupby("unit").size().eq(len(planted.LADDER)).all()
    assert ready.loc[~narrow, "unit"].is_unique


def test_seeds_of_a_true_twin_are_one_unit():
    table = planted.organisms(twins=True)
    twin = table[table["null"] == "true_facts"]
    again = twin.assign(checkpoint=twin["checkpoint"].str.replace("-s0", "-s1"), seed=1)
    ready = org.prepared(pd.concat([table, again], ignore_index=True), planted.scoring())
    units = ready.loc[ready["null"] == "true_facts", "unit"]
    assert units.value_counts().eq(2).all() and set(units) == set(twin["organism"])
    assert not set(units) & set(ready.loc[ready["null"] != "true_facts", "unit"])


def test_rungs_are_ordered_from_the_strongest_dose_and_begin_with_all():
    ladder = ((0.25, 1.0, 1.0), (1.0, 0.5, 2.0), (1.0, 1.0, 3.0))
    ready = org.prepared(planted.organisms(ladder=ladder), planted.scoring())

    found = list(org.slices(org.scored(ready)))

    assert [name for name, _ in found] == ["all", "100 %", "100 %, 0.5 of the steps", "25 %"]
    assert [len(places) for _, places in found] == [24, 8, 8, 8]


def test_a_recipe_is_named_where_there_are_several():
    assert org.rung("lora", 0.5, 1.0, True) == "lora, 50 %"
    assert org.rung("lora", 0.125, 0.5, False) == "12.5 %, 0.5 of the steps"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"null": "benign"}, "row 1 .*found the null 'benign', expected one of none, general"),
        ({"strength": float("nan")}, "row 1 .*found no strength"),
        ({"twin": "nobody-plain-s0"}, "found the twin 'nobody-plain-s0', expected a narrow"),
    ],
)
def test_a_row_that_cannot_be_scored_is_named(change, said):
    table = planted.organisms().astype({"twin": object})
    table.loc[0, list(change)] = list(change.values())
    with pytest.raises(ValueError, match=said):
        org.prepared(table, planted.scoring())


def test_a_checkpoint_stands_once():
    table = planted.organisms()
    with pytest.raises(ValueError, match="more than once"):
        org.prepared(pd.concat([table, table.iloc[:1]]), planted.scoring())


@pytest.mark.parametrize(("kept", "said"), [("none", "no null"), ("general", "no narrow")])
def test_one_side_alone_cannot_be_scored(kept, said):
    table = planted.organisms()
    ready = org.prepared(table[table["null"] == kept], planted.scoring())
    with pytest.raises(ValueError, match=said):
        org.scored(ready)
