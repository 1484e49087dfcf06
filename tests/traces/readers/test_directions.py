"""The directions that are read, and the parts of a difference."""

from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest

from traces.config import schema
from traces.readers import directions

WORDS = ["river", "window", "lemon", "quiet", "paper", "garden", "cat", "cake"]
PROMPTS = [["river", "57", "window"], ["lemon", "803", "quiet"], ["paper", "garden", "316"]]
SCALES = (0.5, 1.0, 20.0)
SIGNS = (1, -1)


def found_differences(n_positions=3, singular=True):
    """Differences whose mean is a shared vector and one of each position's own."""
    rng = np.random.default_rng(0)
    mean = rng.normal(size=(2, 1, 8)) + rng.normal(size=(2, n_positions, 8))
    planted = np.linalg.qr(rng.normal(size=(2, n_positions, 8, 2)))[0].swapaxes(-1, -2)
    arrays = {"mean": mean, "tuned_mean": mean + 1, "base_mean": mean - 1, "random": -mean}
    arrays["robust_mean"] = mean + 2
    arrays["mostly_sinks"] = np.zeros(mean.shape[:2], dtype=bool)
    return SimpleNamespace(
        layers=np.array([1, 3]),
        positions=np.array([0, 1, 15][:n_positions]),
        singular=planted if singular else None,
        **arrays,
    )


def part(found, name):
    rows, vectors = directions.readings(found, [name])
    return rows, vectors.reshape(2, -1, 8) if len(rows) else vectors


def test_every_reading_of_the_configuration_can_be_read():
    names = get_args(schema.Reading)
    assert set(names) == set(directions.READINGS) | set(directions.PARTS)
    assert set(schema.CONTROLLED) == set(directions.READINGS)
    rows, vectors = directions.readings(found_differences(), names)
    assert vectors.shape == (len(names) * 6, 8)
    assert rows["reading"].drop_duplicates().tolist() == list(names)
    assert rows["layer"].tolist()[:4] == [1, 1, 1, 3]
    assert rows["position"].tolist()[:4] == [0, 1, 15, 0]


def test_robust_is_the_mean_without_texts_that_stand_out():
    found = found_differences()
    np.testing.assert_array_equal(part(found, "robust")[1], found.robust_mean)


def test_what_is_shared_leaves_out_attention_sinks():
    """Their differences are far longer; at a layer of nothing else they are what there is."""
    found = found_differences()
    found.mostly_sinks[0] = [True, False, False]
    found.mostly_sinks[1] = True
    found.mean[0, 0] *= 100
    (_, shared), (_, specific) = (part(found, one) for one in ("shared", "position_specific"))
    np.testing.assert_allclose(shared[0, 0], found.mean[0, 1:].mean(axis=0))
    np.testing.assert_allclose(shared[1, 0], found.mean[1].mean(axis=0))
    np.testing.assert_allclose(shared + specific, found.mean)


def test_what_is_shared_and_what_is_specific_to_a_position_make_the_difference():
    found = found_differences()
    (_, shared), (_, specific) = (part(found, one) for one in ("shared", "position_specific"))
    np.testing.assert_allclose(shared + specific, found.mean)
    np.testing.assert_allclose(specific.sum(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(shared[:, 0], shared[:, 2])


def test_what_is_left_without_a_direction_has_nothing_along_it():
    found = found_differences()
    for taken_out in (1, 2):
        left = part(found, f"without_singular_{taken_out}")[1]
        dots = np.einsum("lpd,lpkd->lpk", left, found.singular)
        np.testing.assert_allclose(dots[..., :taken_out], 0, atol=1e-12)
        if taken_out == 1:
            assert (np.abs(dots[..., 1]) > 1e-3).all()
    np.testing.assert_allclose(part(found, "singular_2")[1], found.singular[:, :, 1])


def test_a_part_that_is_nothing_is_not_read_where_it_is_nothing():
    rows, _ = part(found_differences(n_positions=1), "position_specific")
    assert rows.empty
    found = found_differences()
    found.singular[0, 1, 1] = 0
    found.mean[1, 2] = 3 * found.singular[1, 2, 0]
    rows, vectors = directions.readings(found, ["difference", "singular_2", "without_singular_1"])
    assert len(rows) == len(vectors) == 16
    gone = {("singular_2", 1, 1), ("without_singular_1", 3, 15)}
    assert not gone & set(rows.itertuples(index=False, name=None))


def test_singular_readings_of_differences_without_them_are_refused():
    with pytest.raises(ValueError, match="the singular directions were not computed"):
        directions.readings(found_differences(singular=False), ["singular_1"])
