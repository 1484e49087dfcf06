"""The score that is fixed on the pilot: planted ways, of which the best one is known."""

import numpy as np
import pandas as pd
import pytest

from tests.traces.benchmark import planted
from traces.artifacts import tables
from traces.benchmark.pilot import WAYS, fixed_way, pilot_rows

OPEN = {"statistic": None, "adjustment": None}


@pytest.fixture(scope="module")
def organisms() -> pd.DataFrame:
    """Those of one base; half of the topics and of the nulls are the pilot's."""
    found = planted.organisms(nulls={"general": 24, "one_format": 12})
    null = found["null"] != "none"
    pilot = found["domain"].isin(planted.DOMAINS[4:]) | (null & (found["seed"] % 2 == 1))
    return found.assign(pilot=pilot)


def scores(organisms, sees: dict[str, float], favourite=0.0) -> pd.DataFrame:
    """Two readers that see so much by each statistic, and a favourite of every organism."""
    parts = [
        planted.domain_scores(
            organisms,
            {"logit_lens": much, "patchscope": much},
            **{"statistics": (statistic,), "favourite": favourite},
        )
        for statistic, much in sees.items()
    ]
    return pd.concat(parts, ignore_index=True)


def rows(organisms, said, **changes) -> pd.DataFrame:
    scoring = planted.scoring(**{"resamples": 100, **OPEN, **changes})
    return pilot_rows(organisms, said, scoring=scoring, seed=0)


def chosen(organisms, said, **changes) -> tuple[str, str]:
    scoring = planted.scoring(**{**OPEN, **changes})
    found = fixed_way(rows(organisms, said, **changes), scoring)
    return str(found.statistic), str(found.adjustment)


@pytest.mark.parametrize(
    ("sees", "favourite", "expected"),
    [
        ({"z": 2.0, "top20": 0.0}, 9.0, ("z", "less_benign")),
        ({"z": 0.0, "top20": 3.0}, 0.0, ("top20", None)),
    ],
)
def test_the_way_that_sees_is_chosen(organisms, sees, favourite, expected):
    statistic, adjustment = chosen(organisms, scores(organisms, sees, favourite))
    assert statistic == expected[0] and expected[1] in (None, adjustment)


def test_of_equal_ways_the_simpler_one_is_chosen(organisms):
    said = [
        planted.long(organisms, "logit_lens", one, planted.DOMAINS, np.zeros((len(organisms), 8)))
        for one in ("top20", "z")
    ]
    assert chosen(organisms, pd.concat(said)) == WAYS[0] == ("z", "raw")


def test_what_the_study_fixes_is_kept_and_the_rest_is_chosen(organisms):
    said = scores(organisms, {"z": 2.0, "top20": 1.0}, favourite=9.0)
    assert chosen(organisms, said, statistic="top20") == ("top20", "less_benign")
    assert chosen(organisms, said, statistic="top20", adjustment="raw") == ("top20", "raw")


def test_every_way_has_its_numbers_by_each_reader_and_their_mean(organisms, tmp_path):
    found = rows(organisms, scores(organisms, {"z": 2.0, "top20": 1.0}))
    tables.write(tmp_path / "pilot.parquet", found, "pilot")

    ways = found[["reader", "statistic", "adjustment"]].drop_duplicates()
    assert len(ways) == 3 * len(WAYS) and set(ways["reader"]) == {"all", *READERS}
    assert set(found["n_narrow"]) == {16}
    assert found["value"].notna().all() and set(found["bound"]) <= {"bootstrap", "wilson"}
    keys = ["reader", "task", "null"]
    way = found[(found["statistic"] == "z") & (found["adjustment"] == "raw")].set_index(keys)
    assert way.loc[("all", "detect", "general"), "n_null"] == 12
    assert way.loc[("all", "detect", "one_format"), "n_null"] == 6
    tasks = [("detect", "general"), ("detect", "one_format"), ("name", "")]
    for reader in ("all", *READERS):
        parts = [way.loc[(reader, *task), "value"] for task in tasks]
        assert way.loc[(reader, "merit", ""), "value"] == pytest.approx(np.mean(parts))
    each = [way.loc[(reader, "merit", ""), "value"] for reader in READERS]
    assert way.loc[("all", "merit", ""), "value"] == pytest.approx(np.mean(each))


READERS = ("logit_lens", "patchscope")


def test_whoever_is_scored_has_no_say(organisms):
    said = scores(organisms, {"z": 2.0, "top20": 1.0})
    mine = set(organisms.loc[organisms["pilot"], "checkpoint"])
    turned = said.assign(score=said["score"].where(said["checkpoint"].isin(mine), -said["score"]))

    pd.testing.assert_frame_equal(rows(organisms, said), rows(organisms, turned))


def test_a_score_that_is_left_open_needs_a_pilot(organisms):
    nobody = organisms.assign(pilot=False)
    said = scores(nobody, {"z": 1.0})
    with pytest.raises(ValueError, match="statistic or adjustment null, and no pilot"):
        rows(nobody, said)
    none = rows(nobody, said, statistic="z", adjustment="raw")
    assert none.empty
    fixed = planted.scoring(statistic="z", adjustment="raw")
    assert fixed_way(none, fixed) == fixed


def test_a_way_that_one_reader_lacks_is_not_chosen(organisms):
    said = scores(organisms, {"z": 0.0, "top20": 3.0})
    lacking = said[(said["reader"] != "patchscope") | (said["statistic"] == "z")]
    assert chosen(organisms, lacking)[0] == "z"
    with pytest.raises(ValueError, match="found statistic top20 .* some reader"):
        rows(organisms, lacking, statistic="top20")
