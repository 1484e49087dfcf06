"""Adjusted scores are those of a loop, and never use what is the organism's own."""

import numpy as np
import pandas as pd
import pytest

from traces.analysis.adjusted import adjusted, mean_of, of_checkpoint
from traces.artifacts.scores import Scores


def scores(seed, positions=(0, 1, 2), nulls=("random", "activations")):
    rows = [
        {"reading": "difference", "layer": 4, "position": position, "head": "base", "null": null}
        for null in nulls
        for position in positions
    ]
    values = np.random.default_rng(seed).normal(size=(2, len(rows), 7)).astype(np.float32)
    return Scores(pd.DataFrame(rows), *values)


def test_adjusted_scores_are_those_of_a_loop():
    own = scores(0)
    others = {
        # One of its seeds lacks a position.
        "benign": [scores(1, positions=(0, 2)), scores(2), scores(3)],
        "bees": [scores(4)],
        "owls": [scores(5, positions=(2, 1))],
    }
    found = adjusted(own, [mean_of(checkpoints) for checkpoints in others.values()])
    assert found.lists.equals(own.lists)
    for number, row in own.lists.iterrows():
        for token in range(7):
            means = []
            for checkpoints in others.values():
                values = []
                for one in checkpoints:
                    same = (one.lists == row).all(axis=1)
                    values += list(one.z[same.to_numpy(), token])
                if values:
                    means.append(np.mean(values))
            expected = own.z[number, token] - np.mean(means)
            assert found.score[number, token] == pytest.approx(expected, abs=1e-5)
    np.testing.assert_array_equal(found.score, found.z)


def test_a_list_that_too_few_others_have_is_left_out():
    found = adjusted(scores(0), [scores(1), scores(2, positions=(0, 1))])
    assert set(found.lists["position"]) == {0, 1} and len(found.lists) == 4


def test_what_could_not_be_read_is_no_other_organism_and_has_no_score():
    """A checkpoint that equals its base has no scores: neither its own nor for others."""
    unread = scores(1)
    unread.z[:] = np.nan
    assert mean_of([unread]).lists.empty
    np.testing.assert_array_equal(mean_of([unread, scores(2)]).z, scores(2).z)
    others = [scores(2), scores(3)]
    found = adjusted(scores(0), [mean_of([one]) for one in (unread, *others)])
    np.testing.assert_array_equal(found.z, adjusted(scores(0), others).z)
    assert np.isnan(adjusted(unread, others).z).all()


def test_what_all_organisms_share_cancels_and_what_is_ones_own_stays():
    shared = scores(9).z
    own = Scores(scores(0).lists, shared, shared + 3 * np.eye(6, 7, dtype=np.float32))
    others = [Scores(scores(0).lists, shared, shared)] * 2
    np.testing.assert_allclose(adjusted(own, others).score, 3 * np.eye(6, 7), atol=1e-6)


def test_the_rows_of_one_checkpoint_are_tables_of_readings():
    frame = pd.DataFrame(
        {"checkpoint": ["a", "a", "b"], "lens": ["x", "y", "x"], "token": ["p", "q", "r"]}
    )
    found = of_checkpoint(frame, "a")
    assert {lens: rows.to_dict("list") for lens, rows in found.items()} == {
        "x": {"token": ["p"]},
        "y": {"token": ["q"]},
    }
    assert of_checkpoint(frame, "c") == {}
