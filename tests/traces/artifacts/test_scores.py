"""Scores are read as they were written, or refused in one sentence."""

import os

import numpy as np
import pandas as pd
import pytest

from traces.artifacts.scores import Scores, read_scores, write_scores

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
    }
    write_scores(tmp_path / "a.h5", IDS, written)
    ids, found = read_scores(tmp_path / "a.h5", IDS)
    np.testing.assert_array_equal(ids, IDS)
    assert found.keys() == written.keys()
    for name, one in written.items():
        assert found[name].lists.to_dict("list") == one.lists.to_dict("list")
        np.testing.assert_array_equal(found[name].score, one.score)
        np.testing.assert_array_equal(found[name].z, one.z)


def test_without_a_reader_that_scores_there_is_a_vocabulary_alone(tmp_path):
    write_scores(tmp_path / "a.h5", IDS, {})
    assert read_scores(tmp_path / "a.h5")[1] == {}


@pytest.mark.parametrize("expected", [[3, 7, 11], [7, 3], [7, 3, 11, 12]])
def test_scores_of_another_vocabulary_are_refused(tmp_path, expected):
    write_scores(tmp_path / "a.h5", IDS, {"logit_lens": scores()})
    message = f"a.h5: found the scores of 3 tokens of another vocabulary than the {len(expected)}"
    with pytest.raises(ValueError, match=message):
        read_scores(tmp_path / "a.h5", expected)


@pytest.mark.parametrize("share", [0, 0.5, 0.9])
def test_a_damaged_file_of_scores_is_refused_by_name(tmp_path, share):
    path = tmp_path / "a.h5"
    write_scores(path, IDS, {"logit_lens": scores()})
    os.truncate(path, int(share * path.stat().st_size))
    with pytest.raises(ValueError, match=r"a\.h5: the file cannot be read.*; delete it and run"):
        read_scores(path)


def test_a_changed_score_is_found(tmp_path):
    path = tmp_path / "a.h5"
    large = Scores(scores().lists, *np.random.default_rng(0).normal(size=(2, 2, 500)))
    write_scores(path, np.arange(500), {"logit_lens": large})
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
    with pytest.raises(ValueError, match=r"a.h5: logit_lens: found scores \(2, 3\), expected 2"):
        write_scores(tmp_path / "a.h5", IDS[:2], {"logit_lens": scores()})
