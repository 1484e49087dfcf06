"""One pass of both models gives sums over rows, whatever the batches and pieces."""

import copy
import functools

import numpy as np
import pytest
import torch

from tests.doubles import Held, tiny_model, with_adapter
from traces.models.weights import Pair
from traces.readers import next_tokens
from traces.readers.next_tokens import Means, Occurrences

POSITIONS = [-1, 0, 2, 5]
ALLOWED = torch.tensor([90, 4, 17, 55, 56, 57, 100, 3])
VOCABULARY = 10_000
READINGS = ["difference", "base_mean", "tuned_mean"]


@functools.cache
def pair_of(kind):
    base = tiny_model("gemma2" if kind == "capped" else "llama")
    if kind == "adapter":
        return Pair(with_adapter(base))
    return Pair(tiny_model("gemma2" if kind == "capped" else "llama", seed=1), base)


def summed(pair, windows, allowed=None, **sizes):
    signs = np.array([1, -1, 1, 1, -1, -1, 1], np.float32)
    means = Means(POSITIONS, signs)
    mined = Occurrences([0, 1, 2], READINGS, 4, allowed)
    next_tokens.compared(pair, windows, [means, mined], **sizes)
    return means, mined


@torch.no_grad()
def straightforward(pair, windows, positions):
    """Text, position and both models' log-probabilities, a text at a time in float64."""
    found = []
    for text, window in enumerate(windows):
        said = {}
        for side in ("tuned", "base"):
            with getattr(pair, side)() as model:
                double = copy.deepcopy(model).double()
                ids = torch.tensor([window.ids])
                said[side] = double(ids, use_cache=False).logits[0].log_softmax(-1).numpy()
        for position in positions:
            if 0 <= window.anchor + position < len(window.ids):
                at = window.anchor + position
                found.append((text, position, said["tuned"][at], said["base"][at]))
    return found


@pytest.mark.parametrize("kind", ["adapter", "full", "capped"])
def test_means_equal_a_loop_over_texts_and_positions(kind, windows):
    pair = pair_of(kind)
    means, _ = summed(pair, windows)
    rows = straightforward(pair, windows, POSITIONS)
    assert means.count == len(rows) == sum(means.counts)
    tuned, base = (np.array([row[index] for row in rows]) for index in (2, 3))
    plus = means.signs[[row[0] for row in rows]] > 0
    halves = (base[plus].mean(axis=0) - base[~plus].mean(axis=0)) / 2
    expected = {"tuned_mean": tuned, "base_mean": base, "difference": tuned - base}
    expected |= {"random": halves[None], "tuned_probability": np.exp(tuned)}
    for name, values in (expected | {"base_probability": np.exp(base)}).items():
        np.testing.assert_allclose(means.mean(name), values.mean(axis=0), atol=2e-5)
    for position, divergence, count in zip(POSITIONS, means.divergence, means.counts, strict=True):
        there = [row for row in rows if row[1] == position]
        expected_kl = np.mean([(np.exp(row[2]) * (row[2] - row[3])).sum() for row in there])
        assert count == len(there) > 0
        assert divergence / count == pytest.approx(expected_kl, rel=1e-4)


@pytest.mark.parametrize("allowed", [None, ALLOWED])
def test_occurrences_equal_a_loop_over_texts_and_positions(allowed, windows):
    pair = pair_of("adapter")
    _, mined = summed(pair, windows, allowed)
    ids = np.arange(128) if allowed is None else allowed.numpy()
    expected = {(reading, sign): np.zeros(len(ids)) for reading in READINGS for sign in (1, -1)}
    rows = straightforward(pair, windows, [0, 1, 2])
    for _, _, tuned, base in rows:
        gap = tuned - base
        ranked = {"difference": gap, "base_mean": base, "tuned_mean": tuned}
        for (reading, sign), counts in expected.items():
            counts[np.argsort(-sign * ranked[reading][ids])[:4]] += 1
    for key, counts in expected.items():
        np.testing.assert_allclose(mined.share(*key), counts / len(rows), err_msg=str(key))


@pytest.mark.parametrize("sizes", [{"batch_tokens": 1}, {"batch_tokens": 30}, {"piece": 1}])
def test_batches_and_pieces_change_nothing(sizes, windows):
    pair = pair_of("adapter")
    plain, plainly_mined = summed(pair, windows)
    means, mined = summed(pair, windows, **sizes)
    for name in ("difference", "random", "tuned_probability"):
        np.testing.assert_allclose(means.mean(name), plain.mean(name), atol=1e-6)
    np.testing.assert_allclose(means.divergence, plain.divergence, rtol=1e-5)
    for key in mined.counts:
        np.testing.assert_array_equal(mined.share(*key), plainly_mined.share(*key))


def test_logits_exist_for_a_piece_at_a_time(windows):
    pair = Pair(*(tiny_model("llama", layers=1, vocab=VOCABULARY, seed=one) for one in (1, 0)))
    many = [window for window in windows for _ in range(10)]
    held = {}
    for piece in (2**30, 3 * VOCABULARY):
        with Held() as counted:
            means = Means([0], np.ones(len(many), np.float32))
            next_tokens.compared(pair, many, [means], piece=piece)
        held[piece] = counted.most
    logits = len(many) * VOCABULARY * 4
    assert held[2**30] > 4 * logits
    assert held[3 * VOCABULARY] < logits


def test_an_unchanged_model_differs_nowhere(windows):
    base = tiny_model("llama")
    means, _ = summed(Pair(base, base), windows)
    assert not means.mean("difference").any() and means.mean("random").any()
    assert not means.divergence.any()


def test_positions_that_no_text_has_are_refused(windows):
    means = Means([50], np.ones(len(windows), np.float32))
    with pytest.raises(ValueError, match=r"no token at the positions \[50\] of 7 texts, expected"):
        next_tokens.compared(pair_of("full"), windows, [means])


def test_models_with_other_vocabularies_are_refused(windows):
    pair = Pair(tiny_model("llama", vocab=130), tiny_model("llama"))
    with pytest.raises(ValueError, match="130 logits of the tuned model and 128 of its base"):
        summed(pair, windows)
