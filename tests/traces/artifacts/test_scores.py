"""Scores are read as they were written, or refused in one sentence."""

import os
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from traces.artifacts.scores import (
    Moments,
    Scores,
    Stored,
    read_scores,
    standardised,
    write_scores,
)

IDS = np.array([7, 3, 11])


def scores(n=2, tokens=3, seed=0, **columns):
    rng = np.random.default_rng(seed)
    lists = pd.DataFrame(
        {"reading": ["difference", "base_mean"][:n], "layer": [4, 4][:n], "position": [-1, 0][:n]}
        | columns
    )
    values = rng.normal(size=(2, n, tokens)).astype(np.float32)
    values[1, :1, 0] = np.nan
    return Scores(lists, *values)


def test_scores_are_read_as_they_were_written(tmp_path):
    written = {
        "patchscope": scores(head=["tuned", "base"], null=["random", "activations"]),
        "logit_lens": scores(seed=1),
        "nothing_read": scores(0),
        "no_standard": replace(scores(), z=np.full((2, 3), np.nan, dtype=np.float32)),
    }
    write_scores(tmp_path / "a.h5", IDS, Stored(written))
    ids, found = read_scores(tmp_path / "a.h5", IDS)
    np.testing.assert_array_equal(ids, IDS)
    assert found.keys() == written.keys()
    for name, one in written.items():
        assert found[name].lists.to_dict("list") == one.lists.to_dict("list")
        np.testing.assert_array_equal(found[name].score, one.score)
        np.testing.assert_array_equal(found[name].z, one.z)


def with_nulls(nulls=("random", "activations"), tokens=300, seed=0):
    """A reader's scores in two layers and models, what it scores null directions, and those."""
    rng = np.random.default_rng(seed)
    axes = [["difference", "random"], [4, 7], [1, 2, 3], ["tuned", "base"]]
    lists = pd.MultiIndex.from_product(axes, names=["reading", "layer", "position", "head"])
    lists = lists.to_frame(index=False)
    sets = pd.MultiIndex.from_product([[4, 7], ["tuned", "base"], nulls], names=SETS)
    said = rng.normal(-9, 3, size=(len(sets), 8, tokens)).astype(np.float32)
    mean, sd = said.mean(axis=1, dtype=np.float64), said.std(axis=1, dtype=np.float64, ddof=1)
    score = rng.normal(-9, 3, size=(len(lists), tokens)).astype(np.float32)
    # Not read, such as a difference of zero; and a token that no null direction tells apart.
    score[0], sd[:, 5] = np.nan, 0
    frame = sets.to_frame(index=False)
    return lists, score, Moments(frame, mean.astype(np.float32), sd.astype(np.float32))


SETS = ["layer", "head", "null"]


@pytest.mark.parametrize("nulls", [["random", "activations"], ["activations"], ["random"]])
def test_what_is_derived_is_to_the_bit_what_a_loop_would_have_stored(tmp_path, nulls):
    lists, score, moments = with_nulls(nulls)
    plain = standardised(lists, score, moments)
    stored = Stored({"lens": plain}, {"lens": moments}, {"contrastive_lens": "lens"})
    write_scores(tmp_path / "a.h5", np.arange(300), stored)
    _, found = read_scores(tmp_path / "a.h5")
    assert list(found) == ["contrastive_lens", "lens"] and len(found) == 2
    np.testing.assert_array_equal(found["lens"].score, score)
    apart = found["contrastive_lens"]
    assert len(apart.lists) == len(lists) * len(nulls) and not apart.lists.duplicated().any()
    sets = [tuple(row) for row in moments.lists[SETS].itertuples(index=False)]
    for number, row in apart.lists.iterrows():
        at = sets.index((row["layer"], row["head"], row["null"]))
        own = (lists == row[list(lists)]).all(axis=1).to_numpy().argmax()
        gap = score[own] - moments.mean[at]
        z = [g / s if s > 0 else np.float32(0) for g, s in zip(gap, moments.sd[at], strict=True)]
        np.testing.assert_array_equal(apart.score[number], gap)
        np.testing.assert_array_equal(apart.z[number], np.array(z, dtype=np.float32))
        if row["null"] == "random":
            np.testing.assert_array_equal(found["lens"].z[own], apart.z[number])
    assert "random" in nulls or np.isnan(found["lens"].z).all()


def test_what_is_derived_takes_no_room(tmp_path):
    lists, score, moments = with_nulls(tokens=20_000)
    plain = standardised(lists, score, moments)
    write_scores(tmp_path / "a.h5", np.arange(20_000), Stored({"a": plain}, {"a": moments}))
    stored = Stored({"a": plain}, {"a": moments}, {"b": "a"})
    write_scores(tmp_path / "b.h5", np.arange(20_000), stored)
    sizes = [(tmp_path / name).stat().st_size for name in ("a.h5", "b.h5")]
    assert sizes[1] < sizes[0] + 10_000 < 1.1 * (score.nbytes + 2 * moments.mean.nbytes)


def test_without_a_reader_that_scores_there_is_a_vocabulary_alone(tmp_path):
    write_scores(tmp_path / "a.h5", IDS, Stored({}))
    assert read_scores(tmp_path / "a.h5")[1] == {}


@pytest.mark.parametrize("expected", [[3, 7, 11], [7, 3], [7, 3, 11, 12]])
def test_scores_of_another_vocabulary_are_refused(tmp_path, expected):
    write_scores(tmp_path / "a.h5", IDS, Stored({"logit_lens": scores()}))
    message = f"a.h5: found the scores of 3 tokens of another vocabulary than the {len(expected)}"
    with pytest.raises(ValueError, match=message):
        read_scores(tmp_path / "a.h5", expected)


@pytest.mark.parametrize("share", [0, 0.5, 0.9])
def test_a_damaged_file_of_scores_is_refused_by_name(tmp_path, share):
    path = tmp_path / "a.h5"
    write_scores(path, IDS, Stored({"logit_lens": scores()}))
    os.truncate(path, int(share * path.stat().st_size))
    with pytest.raises(ValueError, match=r"a\.h5: the file cannot be read.*; delete it and run"):
        read_scores(path)


def test_a_changed_score_is_found(tmp_path):
    path = tmp_path / "a.h5"
    large = Scores(scores().lists, *np.random.default_rng(0).normal(size=(2, 2, 500)))
    write_scores(path, np.arange(500), Stored({"logit_lens": large}))
    refused = 0
    written = path.read_bytes()
    for place in range(2000, len(written), 997):
        changed = bytearray(written)
        changed[place] ^= 16
        path.write_bytes(changed)
        try:
            found = read_scores(path)[1]["logit_lens"]
        except ValueError as error:
            assert "a.h5" in str(error) and "\n" not in str(error)
            refused += 1
        else:
            np.testing.assert_array_equal(found.score, large.score.astype(np.float32))
    assert refused


def test_scores_of_another_shape_are_refused(tmp_path):
    with pytest.raises(ValueError, match="found 1 lists with scores"):
        Scores(scores(1).lists, np.zeros((2, 3)), np.zeros((2, 3)))
    with pytest.raises(
        ValueError, match=r"a.h5: logit_lens/score: found scores \(2, 3\), expected 2"
    ):
        write_scores(tmp_path / "a.h5", IDS[:2], Stored({"logit_lens": scores()}))
