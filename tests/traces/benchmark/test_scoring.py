"""All tables together: their schemas, their headlines, and what the pilot is for."""

import numpy as np
import pandas as pd
import pytest

from tests.traces.benchmark import planted
from traces.artifacts import tables
from traces.benchmark.scoring import TABLES, score_readers

READERS = {"sharp": 3.0, "blind": 0.0}


def scored(organisms, **changes):
    return score_readers(
        organisms,
        planted.domain_scores(organisms, READERS, favourite=1.0),
        planted.detector_scores(organisms, {"kl": 1.0, "static_share": 0.0}),
        planted.token_lists(organisms, ["sharp"], own=0.5),
        scoring=planted.scoring(**{"resamples": 100, **changes}),
        seed=0,
    )


@pytest.fixture(scope="module")
def found():
    organisms = planted.organisms(models=("mini", "other", "tried"), twins=True)
    return scored(organisms, pilot_models=("tried",))


@pytest.mark.parametrize("name", TABLES)
def test_a_table_can_be_written_and_read(found, name, tmp_path):
    tables.write(tmp_path / f"{name}.parquet", found[name], name)
    assert len(tables.read(tmp_path / f"{name}.parquet")) == len(found[name])


def test_a_headline_is_one_way_a_reader(found):
    rows = found["detection"]
    shown = rows[rows["headline"] & (rows["matched_on"] == "")]
    assert not shown.duplicated(["reader", "null", "slice"]).any()
    assert set(shown["reader"]) == {"sharp", "blind", "kl", "static_share"}
    by_name = shown[shown["statistic"] != "value"]
    assert set(by_name["statistic"]) == {"z"} and set(by_name["adjustment"]) == {"less_benign"}


def test_a_planted_reader_finds_names_and_leads_and_a_blind_one_does_not(found):
    auc = found["detection"].query("headline and slice == '100 %' and null == 'general'")
    auc = auc[auc["matched_on"] == ""].set_index("reader")
    assert auc.loc["sharp", "value"] > 0.95
    assert auc.loc["blind", "low"] < 0.5 < auc.loc["blind", "high"]
    naming = found["naming"].query("headline and slice == '100 %'").set_index("reader")
    assert naming.loc["sharp", "first"] > 0.95
    over_all = found["naming"].query("headline and slice == 'all'").set_index("reader")
    assert over_all.loc["blind", "first"] == pytest.approx(1 / 8, abs=0.1)
    gaps = found["reader_differences"].query("reader == 'sharp' and other == 'blind'")
    assert (gaps.query("slice == '100 %' and task == 'name'")["low"] > 0).all()


def test_no_organism_of_the_pilot_is_in_any_table(found):
    assert set(found["readers"]["model"]) == {"mini", "other"}
    narrow = found["detection"].query("slice == 'all' and matched_on == ''")["n_narrow"]
    assert set(narrow) == {2 * 32}


def test_without_the_pilots_organisms_every_table_is_the_same():
    """On the base of those that are scored, with topics and nulls of its own, as on a ladder."""
    organisms = planted.organisms(twins=True)
    mine = organisms["domain"].isin(planted.DOMAINS[:2]) | (
        (organisms["null"] == "general") & (organisms["seed"] >= 15)
    )
    organisms["pilot"] = mine
    inputs = [
        planted.domain_scores(organisms, READERS, favourite=1.0),
        planted.detector_scores(organisms, {"kl": 1.0}),
        planted.token_lists(organisms, ["sharp"], own=0.5),
    ]
    settings = {"scoring": planted.scoring(resamples=100), "seed": 0}
    everyone = score_readers(organisms, *inputs, **settings)
    names = set(organisms.loc[~mine, "checkpoint"])
    kept = [one[one["checkpoint"].isin(names)] for one in (organisms, *inputs)]
    alone = score_readers(*kept, **settings)
    for name in TABLES:
        pd.testing.assert_frame_equal(everyone[name], alone[name])
    assert not set(everyone["readers"]["checkpoint"]) & set(organisms.loc[mine, "checkpoint"])


def test_the_ladder_shows_what_all_rungs_together_hide(found):
    rows = found["detection"].query("headline and reader == 'sharp' and null == 'general'")
    by = rows[rows["matched_on"] == ""].set_index("slice")["value"]
    assert by["100 %"] > by["50 %"] > by["10 %"] and by["10 %"] < 0.7 < by["all"]


def test_everything_that_is_zero_is_everything_at_chance():
    organisms = planted.organisms(twins=True)
    zero = planted.long(organisms, "zero", "z", planted.DOMAINS, np.zeros((len(organisms), 8)))
    nothing = planted.detector_scores(organisms, {"kl": 0.0}).assign(score=0.0)
    found = score_readers(
        organisms, zero, nothing, planted.token_lists(organisms, []).reindex(
            columns=["model", "checkpoint", "reader", "rank", "token"]
        ), scoring=planted.scoring(resamples=100), seed=0,
    )  # fmt: skip
    plain = found["detection"].query("matched_on == ''")
    assert set(plain["value"]) == {0.5}
    assert np.allclose(found["naming"]["first"].astype(float), 1 / 8)
    assert not found["rates"]["rate"].any()
    assert set(found["half_strength"]["said"]) == {"not reached"}
    assert set(found["twins"]["paired_auc"]) == {0.5}
    for name in TABLES:
        assert list(pd.DataFrame(found[name]).columns)


def test_a_headline_that_a_reader_cannot_have_is_refused():
    few = planted.organisms(nulls={"general": 2, "one_format": 9})
    with pytest.raises(ValueError, match="z and less_benign, which blind does not .*3 or more"):
        scored(few)
    assert len(scored(few, adjustment="raw")["naming"])


def test_the_order_of_rows_changes_nothing():
    organisms = planted.organisms(models=("b", "a"))
    scores = planted.domain_scores(organisms, READERS, statistics=("z",))
    others = planted.detector_scores(organisms, {"kl": 1.0})
    lists = planted.token_lists(organisms, ["sharp"])
    settings = {"scoring": planted.scoring(resamples=100), "seed": 0}
    first = score_readers(organisms, scores, others, lists, **settings)
    mixed = score_readers(
        organisms, scores.sample(frac=1, random_state=0), others.iloc[::-1], lists, **settings
    )
    keys = ["reader", "statistic", "adjustment", "null", "slice", "matched_on"]
    left, right = (one["detection"].set_index(keys)["value"].sort_index() for one in (first, mixed))
    pd.testing.assert_series_equal(left, right)


def test_who_says_nothing_stands_in_the_table_without_a_score(tmp_path):
    organisms = planted.organisms(nulls={"general": 20, "identical": 1})
    scores = planted.domain_scores(organisms, READERS)
    same = scores["checkpoint"].str.startswith("identical") & (scores["reader"] == "sharp")
    scores.loc[same, "score"] = 0.0
    found = score_readers(
        organisms,
        scores,
        planted.detector_scores(organisms, {"kl": 1.0}),
        planted.token_lists(organisms, ["sharp"], own=0.5),
        scoring=planted.scoring(resamples=100),
        seed=0,
    )
    for name, table in found.items():
        tables.write(tmp_path / f"{name}.parquet", table, name)
    mine = found["readers"].query("null == 'identical' and reader == 'sharp'")
    assert len(mine) == 4
    assert mine["score"].isna().all() and (mine["favourite"] == "").all()
    assert found["readers"].query("reader == 'blind'")["score"].notna().all()
    rates = found["rates"].query("null == 'identical' and reader == 'sharp'")
    assert (rates["rate"] == 0).all()
