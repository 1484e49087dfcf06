"""The weight change names a planted domain without any text, and a planted null names none."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.doubles import tiny_model, with_adapter
from tests.traces.readers.conftest import DOMAIN, LAST
from traces.models.hooks import decoder_layers
from traces.models.weight_changes import block_change, block_matrix
from traces.models.weights import Pair, readout_of
from traces.readers import weight_change
from traces.readers.reading import Loaded, Probe

READINGS = ["difference", "base_mean", "tuned_mean", "random"]


def differences(layers, d, mean=None):
    rng = np.random.default_rng(0)
    shape = (len(layers), 2, d)
    given = rng.normal(size=shape) if mean is None else np.broadcast_to(mean, shape)
    return SimpleNamespace(
        layers=np.array(layers),
        positions=np.array([0, 1]),
        mean=given.astype(np.float32),
        mostly_sinks=np.zeros(shape[:2], dtype=bool),
        base_mean=rng.normal(size=shape).astype(np.float32),
        tuned_mean=rng.normal(size=shape).astype(np.float32),
    )


def probe_of(found, vocabulary=None, nulls=6):
    shape = (len(found.layers), nulls, found.mean.shape[-1])
    made = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    return Probe(found, READINGS, 4, vocabulary, {"random": made} if nulls else {})


def loaded_with(tokenizer, pair, asked=("weight_change", "weight_change_all")):
    return Loaded(tokenizer, lambda head: None, pair, asked=asked)


def first(found, reading="difference", sign=1, head="tuned", layer=None):
    rows = found.tokens.query("reading == @reading and sign == @sign and head == @head")
    rows = rows if layer is None else rows[rows["layer"] == layer]
    return rows.sort_values("rank")["token_id"].tolist()


def own(rank=1, heads=("tuned",)):
    return {"rank": rank, "heads": list(heads)}


@pytest.mark.parametrize("turned", [1, -1])
def test_a_planted_domain_is_named_on_the_side_of_the_difference(turned, tokenizer, planted):
    pair, direction = planted(True)
    probe = probe_of(differences([1, LAST], 64, turned * direction))
    loaded = loaded_with(tokenizer, pair)
    found = weight_change.read(loaded, probe, own())
    everywhere = weight_change.read_all(loaded, probe, own())
    for one, layer in ((found, LAST), (everywhere, None)):
        assert set(first(one, sign=turned, layer=layer)) == set(DOMAIN)
        assert not set(first(one, sign=-turned, layer=layer)) & set(DOMAIN)
        assert len(set(first(one, "base_mean", turned, layer=layer)) & set(DOMAIN)) <= 1
        assert len(set(first(one, "random", turned, layer=layer)) & set(DOMAIN)) <= 1
    # Nothing else changed: the other block has no list.
    assert not first(found, layer=1) and first(found, "base_mean", layer=1)


def test_a_position_of_sinks_does_not_choose_the_side(tokenizer, planted):
    pair, direction = planted(True)
    found = differences([LAST], 64, direction)
    found.mean[:, 0] *= -100
    found.mostly_sinks[:, 0] = True
    read = weight_change.read(loaded_with(tokenizer, pair), probe_of(found), own())
    assert set(first(read)) == set(DOMAIN)


def test_a_planted_null_names_none(tokenizer, planted):
    pair, direction = planted(False)
    probe = probe_of(differences([LAST], 64, direction))
    found = weight_change.read(loaded_with(tokenizer, pair), probe, own())
    assert len(set(first(found)) & set(DOMAIN)) <= 1


def straightforward(pair, found, reading, block, index, rank, head):
    """Singular values, and log-probabilities of the vectors on the mean's side, in float64."""
    matrix = {
        "difference": block_change(pair, block).matrix,
        "base_mean": block_matrix(pair, "base", block),
        "tuned_mean": block_matrix(pair, "tuned", block),
    }[reading]
    left, values, _ = np.linalg.svd(matrix.double().numpy(), full_matrices=False)
    attribute = {"difference": "mean"}.get(reading, reading)
    mean = getattr(found, attribute)[index].mean(axis=0)
    vectors = (left[:, :rank] * np.sign(mean @ left[:, :rank])).T
    with pair.tuned() if head == "tuned" else pair.base() as model:
        logits = readout_of(model)(torch.tensor(vectors, dtype=torch.float32))
    return values[:rank], logits.double().log_softmax(-1).numpy()


@pytest.fixture(scope="module")
def pair():
    return Pair(with_adapter(tiny_model("llama")))


@pytest.mark.parametrize(("rank", "vocabulary"), [(1, None), (3, [40, 9, 77, 3, 100])])
def test_scores_are_weighted_log_probabilities_of_singular_vectors(
    rank, vocabulary, tokenizer, pair
):
    found = differences([1, 3], 32)
    probe = probe_of(found, vocabulary)
    loaded = loaded_with(tokenizer, pair)
    named = slice(None) if vocabulary is None else vocabulary
    scores = weight_change.read(loaded, probe, own(rank, ("tuned", "base"))).scores
    assert len(scores.lists) == 4 * 2 * 2
    readout = readout_of(pair.tuned_model)
    nulls = torch.tensor(probe.nulls["random"].reshape(-1, 32))
    null = readout(nulls).double().log_softmax(-1).numpy()[:, named]
    for row, score, z in zip(scores.lists.itertuples(), scores.score, scores.z, strict=True):
        if row.reading == "random":
            continue
        index = [1, 3].index(row.layer)
        values, said = straightforward(pair, found, row.reading, row.layer, index, rank, row.head)
        weights = values / values.sum()
        expected = (weights @ said)[named]
        np.testing.assert_allclose(score, expected, atol=2e-4)
        spread = null.std(axis=0, ddof=1) * np.sqrt((weights**2).sum())
        np.testing.assert_allclose(z, (expected - null.mean(axis=0)) / spread, atol=5e-3)

    everywhere = weight_change.read_all(loaded, probe, own(rank)).scores
    parts = [
        straightforward(pair, found, "difference", block, min(block // 2, 1), rank, "tuned")
        for block in range(6)
    ]
    values, said = (np.concatenate(one) for one in zip(*parts, strict=True))
    at = everywhere.lists["reading"].tolist().index("difference")
    expected = (values @ said / values.sum())[named]
    np.testing.assert_allclose(everywhere.score[at], expected, atol=2e-4)


def test_without_random_directions_no_score_is_standardised(tokenizer, planted):
    pair, direction = planted(True)
    probe = probe_of(differences([LAST], 64, direction), nulls=0)
    scores = weight_change.read(loaded_with(tokenizer, pair), probe, own()).scores
    assert np.isnan(scores.z).all() and np.isfinite(scores.score).all()


def test_every_block_is_measured_once_in_a_job(tokenizer, pair):
    probe, loaded = probe_of(differences([1], 32)), loaded_with(tokenizer, pair)
    measured = weight_change.read(loaded, probe, own()).statistics
    assert weight_change.read_all(loaded, probe, own()).statistics is None
    assert measured.groupby("statistic").size().to_dict() == {
        "weight_first": 6, "weight_norm": 6, "weight_rank": 6,
    }  # fmt: skip
    by = measured.set_index(["statistic", "layer"])["value"]
    change, base = (block_change(pair, 4).matrix, block_matrix(pair, "base", 4))
    values = np.linalg.svd(change.double().numpy(), compute_uv=False)
    assert by["weight_norm", 4] == pytest.approx(float(change.norm() / base.norm()), rel=1e-5)
    assert by["weight_first", 4] == pytest.approx(values[0] ** 2 / (values**2).sum(), rel=1e-5)
    assert by["weight_rank", 4] == pytest.approx(
        (values**2).sum() ** 2 / (values**4).sum(), rel=1e-4
    )


def test_an_unchanged_model_has_no_list_of_its_change(tokenizer):
    base = tiny_model("llama")
    probe, loaded = probe_of(differences([1], 32)), loaded_with(tokenizer, Pair(base, base))
    for read in (weight_change.read, weight_change.read_all):
        found = read(loaded, probe, own())
        assert set(found.tokens["reading"]) == {"base_mean", "tuned_mean", "random"}
        assert set(found.scores.lists["reading"]) == {"base_mean", "tuned_mean", "random"}


def test_matrices_of_blocks_that_nobody_reads_are_left_alone(tokenizer, pair, monkeypatch):
    seen = []
    whole = weight_change.block_matrix
    monkeypatch.setattr(
        weight_change, "block_matrix", lambda *args: (seen.append(args[2]), whole(*args))[1]
    )
    probe = probe_of(differences([1], 32))
    weight_change.read(loaded_with(tokenizer, pair, ["weight_change"]), probe, own())
    assert set(seen) == {1}
    assert len(decoder_layers(pair.tuned_model)) == 6
