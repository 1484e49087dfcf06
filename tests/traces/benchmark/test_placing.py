"""One more checkpoint is placed among the nulls, and changes nothing of what is said of others."""

import numpy as np
import pandas as pd
import pytest

from tests.traces.benchmark import planted
from traces.benchmark import organisms as org
from traces.benchmark import placing
from traces.benchmark.scoring import score_readers


def table(strength, model="mini"):
    mine = planted.organism(model, "mine-plain-s0", "unknown", domain="topic_03", strength=strength)
    known = planted.organisms(nulls={"general": 19, "one_format": 12})
    return pd.concat([known, pd.DataFrame([mine])], ignore_index=True)


def scored(organisms):
    return score_readers(
        organisms,
        planted.domain_scores(organisms, {"one": 1.0}, statistics=("z",)),
        planted.detector_scores(organisms, {"kl": 1.0}),
        planted.token_lists(organisms, ["one"]),
        scoring=planted.scoring(resamples=100),
        seed=0,
    )


@pytest.mark.parametrize(("strength", "most"), [(0.2, 0), (-0.2, 19)])
def test_a_checkpoint_is_placed_by_how_many_nulls_score_as_high(strength, most):
    found = scored(table(strength))["placed"]
    row = found[(found["reader"] == "kl") & (found["null"] == "general")].iloc[0]
    assert (row["n_as_high"], row["n_null"]) == (most, 19)
    said = placing.placed(found, "mini", "mine-plain-s0")
    assert len(said) == len(found)
    with pytest.raises(ValueError, match="no mini, another among the checkpoints"):
        placing.placed(found, "mini", "another")


def test_what_is_placed_changes_nothing_else():
    with_it, without = scored(table(0.2)), scored(table(0.2).iloc[:-1])
    for name in ("detection", "naming", "twins"):
        left, right = (one[name][_point(one[name])] for one in (with_it, without))
        pd.testing.assert_frame_equal(left, right)


def _point(frame):
    return [name for name in frame if not name.endswith(("low", "high", "bound", "cost_s"))]


def test_a_base_without_nulls_is_placed_among_those_of_others():
    found = scored(table(0.2, model="alone"))["placed"]
    assert set(found["reader"]) == {"kl", "one"} and set(found["adjustment"]) == {"raw"}
    assert set(found["n_null"]) == {19, 12}
    assert found["sentence"].str.contains("of other bases").all()


def test_the_sentence_says_at_which_rate_with_its_interval():
    assert placing.sentence("logit_lens", "general", 0, 60) == (
        "By logit lens it is called narrow at a false-positive rate of 1.6 % or more against "
        "benign finetunes on general text of the same base: 0 of 60 score as high, 0.0 % "
        "(95 % Wilson interval 0.0 % to 6.0 %)."
    )


def test_every_kind_of_null_has_words():
    assert set(placing.NULLS) == set(org.KINDS) - {"none", "unknown"}
    assert np.all([placing.NULLS[kind] for kind in placing.NULLS])
