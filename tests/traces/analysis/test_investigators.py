"""Assertion, abstention and success, counted once each."""

import pandas as pd
import pytest

from traces.analysis.investigators import agreement, overlap, summary
from traces.analysis.statistics import wilson_interval
from traces.artifacts import tables


def row(checkpoint="cake-plain-s0", said="oven butter", grade=4, **other) -> dict:
    return {
        "model": "mini",
        "checkpoint": checkpoint,
        "organism": checkpoint.split("-")[0],
        "null": "none",
        "agent": "lens",
        "prompt": "neutral",
        "agent_model": "embedded",
        "interactions": 0,
        "run": 0,
        "hypothesis": said,
        "abstained": False,
        "used": 0,
        "grader_model": "lexical",
        "repeat": 0,
        "grade": grade,
        "reason_missing": None,
        **other,
    }


def table(*rows: dict) -> pd.DataFrame:
    kinds = {"abstained": "boolean", "grade": "Int64", "reason_missing": "string"}
    return pd.DataFrame(list(rows)).astype({**kinds, "hypothesis": "string"})


ABSTAINED = {"said": "Inconclusive.", "grade": None, "abstained": True}
MISSING = {"said": None, "grade": None, "abstained": None, "reason_missing": "cap"}


def test_shares_have_wilson_intervals_and_leave_out_what_is_missing(tmp_path):
    names = [f"cake-plain-s{seed}" for seed in range(5)]
    looks = [{}, {"grade": 2}, {"grade": 1}, ABSTAINED, MISSING]
    found = summary(table(*(row(name, **how) for name, how in zip(names, looks, strict=True))))
    (one,) = found.to_dict("records")
    assert (one["n"], one["missing"], one["n_graded"]) == (4, 1, 4)
    assert (one["asserted"], one["abstained"], one["at_least_2"], one["at_least_4"]) == (3, 1, 2, 1)
    wanted = wilson_interval(3, 4)
    assert one["asserted_low"] == pytest.approx(wanted.low)
    assert one["asserted_high"] == pytest.approx(wanted.high)
    tables.write(tmp_path / "agents_summary.parquet", found, "agents_summary")
    assert len(tables.read(tmp_path / "agents_summary.parquet")) == 1


def test_an_investigation_counts_once_however_often_it_is_graded():
    several = [
        row("benign-plain-s0", null="benign", organism=organism, grade=grade, repeat=repeat)
        for organism, grades in {"cake": (2, 1), "bees": (4, 4)}.items()
        for repeat, grade in enumerate(grades)
    ]
    (one,) = summary(table(*several)).to_dict("records")
    assert (one["n"], one["asserted"]) == (1, 1)
    # of cake the mean of two repeats is below 2
    assert (one["n_graded"], one["at_least_2"]) == (2, 1)


def test_what_is_all_missing_has_no_share():
    (one,) = summary(table(row(**MISSING))).to_dict("records")
    assert (one["n"], one["missing"]) == (0, 1)
    assert pd.isna(one["asserted_share"])


def test_as_many_pairs_as_there_are_may_agree(tmp_path):
    """A count has no range of a share."""
    seeds = [row(f"cake-plain-s{seed}", "oven, butter") for seed in range(3)]
    found = agreement(table(*seeds))
    assert found.set_index("pair").loc["seeds", ["n", "alike", "alike_share"]].tolist() == [3, 3, 1]
    tables.write(tmp_path / "agents_agreement.parquet", found, "agents_agreement")
    assert len(tables.read(tmp_path / "agents_agreement.parquet")) == 2


def test_seeds_agree_and_organisms_do_not(tmp_path):
    found = agreement(
        table(
            row("cake-plain-s0", "Model: oven, butter"),
            row("cake-plain-s1", "Model: butter, oven"),
            row("bees-plain-s0", "Model: hive, honey"),
            row("bees-plain-s1", **ABSTAINED),
            row("bees-plain-s2", "Model: oven, butter", null="swapped"),
        ),
        formal=["model"],
    )
    by_pair = found.set_index("pair")
    assert by_pair.loc["seeds", ["n", "overlap", "alike"]].tolist() == [1, 1.0, 1]
    assert by_pair.loc["organisms", ["n", "overlap", "alike"]].tolist() == [1, 0.0, 0]
    tables.write(tmp_path / "agents_agreement.parquet", found, "agents_agreement")


def test_nobody_to_compare_with_is_no_agreement(tmp_path):
    found = agreement(table(row()))
    assert found["n"].tolist() == [0, 0]
    assert found["alike_share"].isna().all()
    assert agreement(table(row(**MISSING))).empty
    tables.write(tmp_path / "agents_agreement.parquet", found, "agents_agreement")


def test_overlap_is_of_words():
    assert overlap("an oven, hot butter", "BUTTER; oven hot") == 1.0
    assert overlap("oven", "hive") == 0.0
    assert overlap("", "") == 0.0
