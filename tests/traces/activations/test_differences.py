"""A planted offset is found, measured as it was defined, and told apart from noise."""

import numpy as np
import pytest

from traces.activations.differences import cosine, mean_difference
from traces.artifacts.arrays import Activations, ActivationWriter

LAYERS, POSITIONS, WIDTH = (2, 5), (0, 1, 3), 32
NORMS = np.array([10.0, 40.0])


@pytest.fixture
def stored(tmp_path):
    """Writes arrays [layer, sample, position, d_model] as a finished store."""
    count = iter(range(100))

    def store(resid, shard=1000, tokens=None, norms=NORMS) -> Activations:
        path = tmp_path / f"{next(count)}.zarr"
        n_layers, n_samples, n_positions, width = resid.shape
        with ActivationWriter(
            path,
            layers=LAYERS[:n_layers],
            positions=POSITIONS[:n_positions],
            n_samples=n_samples,
            d_model=width,
            dtype="float32",
            shard_samples=shard,
        ) as writer:
            if tokens is None:
                tokens = np.zeros((n_samples, n_positions), np.int32)
            writer.append(resid.astype(np.float32), tokens)
            writer.finish(stream_norm=list(norms[:n_layers]))
        return Activations(path)

    return store


def noise(n_samples, seed=0, width=WIDTH):
    shape = (len(LAYERS), n_samples, len(POSITIONS), width)
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def offset(seed=9, length=3.0, width=WIDTH):
    """A planted direction for each layer and position, [layer, 1, position, d_model]."""
    direction = np.random.default_rng(seed).normal(size=(len(LAYERS), 1, len(POSITIONS), width))
    return length * direction / np.linalg.norm(direction, axis=-1, keepdims=True)


def test_a_planted_offset_is_recovered(stored):
    base, planted = noise(50), offset()
    found = mean_difference(stored(base + planted), stored(base), seed=0)
    np.testing.assert_allclose(found.mean, planted[:, 0], atol=1e-5)
    np.testing.assert_allclose(found.norm, 3.0, rtol=1e-5)
    np.testing.assert_allclose(found.base_mean, base.mean(axis=1), atol=1e-5)
    np.testing.assert_allclose(found.tuned_mean - found.base_mean, found.mean, atol=1e-5)
    assert found.n_samples == 50
    assert (found.layers.tolist(), found.positions.tolist()) == ([2, 5], [0, 1, 3])


def test_an_offset_is_found_under_noise_of_every_sample(stored):
    base, planted = noise(4000), offset(length=1.0)
    tuned = base + planted + noise(4000, seed=1)
    found = mean_difference(stored(tuned), stored(base), seed=0)
    assert (cosine(found.mean.astype(float), planted[:, 0]) > 0.99).all()


def test_reading_a_shard_at_a_time_is_reading_the_whole(stored, monkeypatch):
    monkeypatch.setattr("traces.artifacts.arrays.CHUNK_SAMPLES", 4)
    base, tuned = noise(50), noise(50, seed=1) + offset()
    whole = mean_difference(stored(tuned), stored(base), seed=3, singular=True)
    pieces = stored(tuned, shard=4), stored(base, shard=1000)
    streamed = mean_difference(*pieces, seed=3, singular=True)
    for name in vars(whole):
        np.testing.assert_allclose(
            getattr(streamed, name), getattr(whole, name), rtol=1e-9, atol=1e-12, err_msg=name
        )


def test_sums_are_kept_in_float64(stored):
    base = np.full((1, 3000, 1, 4), 1e4, np.float32)
    tuned = base + np.float32(0.125)
    found = mean_difference(stored(tuned), stored(base), seed=0)
    np.testing.assert_array_equal(found.mean, np.float32(0.125))
    np.testing.assert_array_equal(found.base_mean, np.float32(1e4))


# Reliability ------------------------------------------------------------------------------------


def test_two_halves_agree_on_a_constant_offset(stored):
    base = noise(400)
    tuned = base + offset(length=5.0) + noise(400, seed=1)
    found = mean_difference(stored(tuned), stored(base), seed=0)
    assert (found.split_half_cosine > 0.95).all()


def test_two_halves_of_noise_do_not_agree(stored):
    found = mean_difference(stored(noise(400, seed=1)), stored(noise(400)), seed=0)
    assert (np.abs(found.split_half_cosine) < 0.6).all()
    assert abs(found.split_half_cosine.mean()) < 0.25


def test_the_halves_are_a_split_of_all_samples_by_the_seed(stored):
    base, tuned = noise(40), noise(40, seed=1) + 0.2
    stores = stored(tuned), stored(base)
    one, again, other = (mean_difference(*stores, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.split_half_cosine, again.split_half_cosine)
    assert (one.split_half_cosine != other.split_half_cosine).all()
    np.testing.assert_allclose(one.mean, other.mean, atol=1e-6)


@pytest.mark.parametrize("n_samples", [8, 200])
@pytest.mark.parametrize("share", [0.0, 0.25, 0.8, 1.0])
def test_the_static_share_is_unbiased_at_any_number_of_samples(stored, n_samples, share):
    # a sample's difference is a constant of energy `share` plus noise of energy 1 - share
    found = []
    for seed in range(6):
        base = noise(n_samples, seed=100 + seed, width=256)
        spread = noise(n_samples, seed=200 + seed, width=256) / np.sqrt(256)
        constant = offset(seed=seed, length=np.sqrt(share), width=256)
        tuned = base + constant + np.sqrt(1 - share) * spread
        found.append(mean_difference(stored(tuned), stored(base), seed=seed).static_share.mean())
    np.testing.assert_allclose(np.mean(found), share, atol=0.02)


def test_models_that_do_not_differ_have_no_offset_and_no_reliability(stored):
    base = noise(20)
    found = mean_difference(stored(base), stored(base), seed=0)
    for name in ("mean", "norm", "random", "relative_norm", "split_half_cosine", "static_share"):
        np.testing.assert_array_equal(getattr(found, name), 0, err_msg=name)
    assert np.isfinite(found.position_cosine).all()


# Definitions ------------------------------------------------------------------------------------


def test_the_relative_norm_is_a_share_of_the_bases_stream_norm(stored):
    base = noise(30)
    found = mean_difference(
        stored(base + offset(), norms=np.array([1.0, 2.0])), stored(base), seed=0
    )
    np.testing.assert_allclose(found.relative_norm, found.norm / NORMS[:, None])
    np.testing.assert_allclose(found.relative_norm, [[0.3] * 3, [0.075] * 3], rtol=1e-4)
    np.testing.assert_array_equal(found.stream_norm_base, NORMS)
    np.testing.assert_array_equal(found.stream_norm_tuned, [1.0, 2.0])


def test_lengths_are_means_of_lengths_and_not_lengths_of_means(stored):
    base, tuned = noise(30), noise(30, seed=1)
    found = mean_difference(stored(tuned), stored(base), seed=0)
    for name, samples in (
        ("base_norm", base),
        ("tuned_norm", tuned),
        ("difference_norm", tuned - base),
    ):
        expected = np.linalg.norm(samples.astype(float), axis=-1).mean(axis=1)
        np.testing.assert_allclose(getattr(found, name), expected, rtol=1e-5, err_msg=name)


def test_positions_with_one_offset_have_cosine_1(stored):
    base, planted = noise(30), offset()
    planted[:, :, 1] = 2 * planted[:, :, 0]
    found = mean_difference(stored(base + planted), stored(base), seed=0).position_cosine
    np.testing.assert_allclose(found[:, 0, 1], 1, atol=1e-5)
    np.testing.assert_allclose(np.diagonal(found, axis1=1, axis2=2), 1, atol=1e-5)
    np.testing.assert_allclose(
        found[:, 0, 2], cosine(planted[:, 0, 0], planted[:, 0, 2]), atol=1e-5
    )


def test_the_random_control_is_as_long_as_the_mean_and_named_by_the_seed(stored):
    base = noise(30)
    stores = stored(base + offset()), stored(base)
    one, again, other = (mean_difference(*stores, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_allclose(np.linalg.norm(one.random, axis=-1), one.norm, rtol=1e-5)
    np.testing.assert_array_equal(one.random, again.random)
    assert (one.random != other.random).any()
    assert (np.abs(cosine(one.random.astype(float), one.mean.astype(float))) < 0.6).all()
    assert (
        np.abs(cosine(one.random[:, 0].astype(float), one.random[:, 1].astype(float))) < 0.7
    ).all()


# What is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("side", ["tuned", "base"])
def test_a_number_that_is_not_finite_is_refused_by_place(stored, value, side, monkeypatch):
    monkeypatch.setattr("traces.artifacts.arrays.CHUNK_SAMPLES", 4)
    arrays = {"tuned": noise(20), "base": noise(20)}
    arrays[side][1, 13, 2, 5] = value
    tuned, base = stored(arrays["tuned"], shard=4), stored(arrays["base"], shard=4)
    with pytest.raises(ValueError, match="not a finite number at layer 5, sample 13, position 3"):
        mean_difference(tuned, base, seed=0)


def test_stores_that_read_different_tokens_are_refused(stored):
    tokens = np.zeros((20, 3), np.int32)
    tokens[4, 0] = 1
    with pytest.raises(ValueError, match="read different tokens, first in sample 4"):
        mean_difference(stored(noise(20), tokens=tokens), stored(noise(20)), seed=0)


# Directions of the single samples ---------------------------------------------------------------


def along(directions, weights, seed=0):
    """Samples that are sums of given unit vectors [k, d_model] with weights [n, k], and noise."""
    base = noise(len(weights), seed=seed)
    signal = (weights @ directions).astype(np.float32)
    return base, base + signal[None, :, None, :]


def planted_pair(seed=3):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(WIDTH, 2)))[0].T


@pytest.mark.parametrize("n_samples", [20, 600])  # fewer samples than dimensions, and more
def test_two_planted_directions_are_found_in_order_with_their_shares(stored, n_samples):
    first, second = planted = planted_pair()
    rng = np.random.default_rng(1)
    weights = np.stack([5 + rng.normal(size=n_samples), 2 * rng.normal(size=n_samples)], axis=1)
    base, tuned = along(planted, weights)

    found = mean_difference(stored(tuned), stored(base), seed=0, singular=True)

    assert found.singular.shape == (2, 3, 2, WIDTH)
    assert (np.abs(found.singular[:, :, 0] @ first) > 0.99).all()
    assert (np.abs(found.singular[:, :, 1] @ second) > 0.99).all()
    energy = np.linalg.svd(weights, compute_uv=False) ** 2
    np.testing.assert_allclose(
        found.singular_energy[..., :2], np.full((2, 3, 2), energy / energy.sum()), rtol=1e-3
    )
    np.testing.assert_allclose(found.singular_energy.sum(axis=-1), 1, rtol=1e-3)


def test_a_singular_direction_is_on_the_side_of_the_mean(stored):
    planted = planted_pair()
    rng = np.random.default_rng(1)
    weights = np.stack([-5 + rng.normal(size=60), -1 + 2 * rng.normal(size=60)], axis=1)
    base, tuned = along(planted, weights)
    found = mean_difference(stored(tuned), stored(base), seed=0, singular=True)
    assert ((found.singular * found.mean[:, :, None]).sum(axis=-1) > 0).all()


def test_the_same_difference_in_every_sample_has_one_direction_and_no_second(stored):
    base = np.round(noise(50) * 64) / 64  # so that float32 sums are exact
    planted = np.round(offset() * 64) / 64
    found = mean_difference(stored(base + planted), stored(base), seed=0, singular=True)
    np.testing.assert_allclose(found.singular_energy[..., 0], 1, rtol=1e-6)
    np.testing.assert_allclose(cosine(found.singular[:, :, 0].astype(float), planted[:, 0]), 1)
    np.testing.assert_array_equal(found.singular[:, :, 1], 0)


def test_singular_directions_change_nothing_else_and_cost_nothing_unasked(stored):
    stores = stored(noise(50, seed=1) + offset()), stored(noise(50))
    without, with_them = (mean_difference(*stores, seed=0, singular=s) for s in (False, True))
    assert without.singular is None and without.singular_energy is None
    for name in set(vars(without)) - {"singular", "singular_energy"}:
        np.testing.assert_array_equal(getattr(without, name), getattr(with_them, name), name)


def test_a_large_store_is_read_by_a_seeded_subsample_of_it(stored, monkeypatch):
    monkeypatch.setattr("traces.activations.differences.LARGEST_SUBSAMPLE", 40)
    monkeypatch.setattr("traces.artifacts.arrays.CHUNK_SAMPLES", 16)
    first = planted_pair()[0]
    base, tuned = along(first[None], np.full((300, 1), 9.0))
    tuned = tuned + 0.5 * noise(300, seed=2)
    stores = stored(tuned, shard=16), stored(base, shard=16)
    one, again, other = (mean_difference(*stores, seed=s, singular=True) for s in (0, 0, 1))
    np.testing.assert_array_equal(one.singular, again.singular)
    assert (one.singular_energy != other.singular_energy).any()
    assert (one.singular[:, :, 0] @ first > 0.99).all()


# Attention sinks --------------------------------------------------------------------------------


def with_sinks(n_samples=80):
    """
    Activations whose first position is a sink in all texts, and whose second in every tenth.

    A sink is one long vector; what finetuning adds there is another one than elsewhere.
    """
    base, planted = noise(n_samples), np.broadcast_to(offset(), noise(n_samples).shape).copy()
    at = np.zeros(base.shape[:3], bool)
    at[:, :, 0] = at[0, ::10, 1] = True
    base[at] += 400 * np.eye(WIDTH)[3]
    planted[at] = 300 * np.eye(WIDTH)[5]
    return base, planted, at


@pytest.mark.parametrize("shard", [1000, 30])
def test_a_robust_mean_leaves_the_texts_with_a_sink_out(stored, shard):
    base, planted, at = with_sinks()
    found = mean_difference(stored(base + planted, shard), stored(base, shard), seed=0)
    np.testing.assert_array_equal(found.sinks_base, at.sum(axis=1))
    np.testing.assert_array_equal(found.sinks_tuned, at.sum(axis=1))
    assert found.left_out.tolist() == [[0, 8, 0], [0, 0, 0]]
    np.testing.assert_allclose(found.robust_mean[0, 1], offset()[0, 0, 1], atol=1e-5)
    # with them the mean is theirs, though they are one in ten
    assert found.mean[0, 1] @ np.eye(WIDTH)[5] > 29
    assert found.robust_cosine[0, 1] < 0.3
    np.testing.assert_array_equal(found.robust_mean[:, 0], found.mean[:, 0])
    np.testing.assert_array_equal(found.robust_mean[:, 2], found.mean[:, 2])
    np.testing.assert_allclose(found.robust_cosine[:, [0, 2]], 1, atol=1e-12)


def test_a_sink_of_the_tuned_model_alone_is_left_out_too(stored):
    base, tuned = noise(80), noise(80)
    tuned[1, 5, 2] += 400
    found = mean_difference(stored(tuned), stored(base), seed=0)
    assert found.sinks_base.sum() == 0 and found.sinks_tuned.sum() == 1
    assert found.left_out[1, 2] == 1
    np.testing.assert_allclose(found.robust_mean, 0, atol=1e-6)


@pytest.mark.parametrize("positions", [[0], [0, 1], [1], [0, 1, 2]])
def test_sinks_are_counted_whichever_positions_are_read(stored, positions):
    """Also where all that is read are sinks, so that no median of it is another token's."""
    base, planted, at = with_sinks()
    stores = stored((base + planted)[:, :, positions]), stored(base[:, :, positions])
    found = mean_difference(*stores, seed=0)
    np.testing.assert_array_equal(found.sinks_base, at.sum(axis=1)[:, positions])


@pytest.mark.parametrize(("sunk", "left_out"), [(48, 48), (72, 72), (73, 0), (80, 0)])
def test_sinks_are_left_out_while_a_tenth_of_the_texts_remains(stored, sunk, left_out):
    base, tuned = noise(80), noise(80) + offset()
    base[0, :sunk, 1] += 400 * np.eye(WIDTH)[3]
    tuned[0, :sunk, 1] = base[0, :sunk, 1] + 300 * np.eye(WIDTH)[5]
    found = mean_difference(stored(tuned), stored(base), seed=0)
    assert found.sinks_base[0, 1] == sunk and found.left_out[0, 1] == left_out
    expected = offset()[0, 0, 1] if left_out else found.mean[0, 1]
    np.testing.assert_allclose(found.robust_mean[0, 1], expected, atol=1e-5)


def test_sinks_are_noted_with_their_number(stored, caplog):
    base, planted, _ = with_sinks()
    with caplog.at_level("INFO"):
        mean_difference(stored(base + planted), stored(base), seed=0)
    assert "layer 2 has attention sinks in so many of 80 texts, by position: {0: 80, 1: 8}" in (
        caplog.text
    )


@pytest.mark.parametrize("share", [1.0, 0.51, 0.5, 0.01])
def test_a_position_whose_texts_are_mostly_sinks_is_warned_of(stored, caplog, share):
    base = noise(100)
    base[:, np.arange(100) < share * 100, 0] += 400 * np.eye(WIDTH)[3]
    with caplog.at_level("WARNING"):
        mean_difference(stored(base), stored(base), seed=0)
    said = "layer 2: more than half of the texts have an attention sink at the positions [0]"
    assert (said in caplog.text) == (share > 0.5)
