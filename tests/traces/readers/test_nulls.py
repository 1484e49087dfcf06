"""Null directions are drawn by name, and what readers say of them standardises the readings."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from tests.doubles import tiny_model
from traces.models.weights import readout_of
from traces.readers import logit_lens, nulls, patchscope
from traces.readers.reading import Loaded, Probe

D, K = 32, 6
PROMPTS = ["river, 57, window", "lemon, 803, quiet"]


def differences(layers=(1, 3), positions=(0, 1), seed=0, zero=False):
    rng = np.random.default_rng(seed)
    shape = (len(layers), len(positions), D)
    mean = np.zeros(shape) if zero else rng.normal(size=shape)
    return SimpleNamespace(
        layers=np.array(layers),
        positions=np.array(positions),
        mean=mean.astype(np.float32),
        random=rng.normal(size=shape).astype(np.float32),
        base_mean=rng.normal(size=shape).astype(np.float32),
        tuned_mean=rng.normal(size=shape).astype(np.float32),
        norm=np.linalg.norm(mean, axis=-1),
        stream_norm_tuned=np.array([3.0, 5.0]),
    )


class Store:
    """The base's activations, [layer, sample, position, d_model]."""

    path = SimpleNamespace(name="unrelated.zarr")

    def __init__(self, positions=(0, 1, 2), n=40):
        self.positions = list(positions)
        self.values = np.random.default_rng(1).normal(size=(2, n, len(positions), D))
        self.shape = self.values.shape

    def rows(self, start, stop):
        return self.values[:, start:stop].astype(np.float32)


def drawn(names=("random", "activations"), found=None, store=None, **changed):
    found = differences() if found is None else found
    plain = {"directions": K, "seed": 0, "base": store or Store()}
    return nulls.drawn(found, names, **plain | changed)


def test_nulls_are_as_long_as_the_difference_and_none_is_a_control_that_is_read():
    found = differences()
    for made in drawn(found=found).values():
        assert made.shape == (2, K, D)
        expected = np.repeat(found.norm.mean(axis=1)[:, None], K, axis=1)
        np.testing.assert_allclose(np.linalg.norm(made, axis=-1), expected, rtol=1e-5)
        assert len(np.unique(made.reshape(-1, D), axis=0)) == 2 * K
        cosines = np.einsum("lkd,lpd->lkp", made, found.random)
        assert (np.abs(cosines) < 0.99 * np.linalg.norm(found.random[0, 0]) ** 2).all()
    assert (np.linalg.norm(drawn(found=differences(zero=True))["random"], axis=-1) > 0).all()


def test_nulls_depend_on_their_name_the_seed_and_the_layer_alone():
    same = drawn(names=["random"], base=None)["random"]
    np.testing.assert_array_equal(drawn()["random"], same)
    assert (drawn(names=["random"], seed=1)["random"] != same).any()
    assert (same[0] != same[1]).any()


def test_the_second_null_is_differences_of_the_bases_activations_behind_the_first_token():
    store = Store()
    made = drawn(["activations"], store=store)["activations"]
    pool = store.values[0, : 2 * K, 1:].reshape(-1, D)
    pairs = (pool[:, None] - pool[None]).reshape(-1, D)
    lengths = np.linalg.norm(pairs, axis=-1, keepdims=True)
    units = np.divide(pairs, lengths, out=np.zeros_like(pairs), where=lengths > 0)
    for one in made[0]:
        assert (units @ one / np.linalg.norm(one)).max() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("positions", [(0,), (3,), (-2, -1, 0)])
def test_natural_nulls_are_drawn_at_whatever_positions_are_read(positions):
    assert drawn(["activations"], store=Store(positions))["activations"].shape == (2, K, D)


def test_standard_scores_of_the_nulls_have_mean_0_and_deviation_1():
    rng = np.random.default_rng(0)
    null = rng.normal(2, 3, size=(40, 9)).astype(np.float32)
    rows = pd.DataFrame(
        {"reading": "difference", "layer": 1, "head": "base", "position": range(40)}
    )
    scores, moments = nulls.compared(rows, null, {"random": null}, layer=1, head="base")
    np.testing.assert_allclose(scores.z.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(scores.z.std(axis=0, ddof=1), 1, atol=1e-5)
    assert moments.lists.to_dict("list") == {**AT, "null": ["random"]}


AT = {"layer": [1], "head": ["base"]}


def test_a_token_that_no_direction_moves_has_the_standard_score_0():
    null, rows = np.zeros((3, 2), np.float32), pd.DataFrame({"reading": ["random"], **AT})
    scores, _ = nulls.compared(rows, null[:1], {"random": null}, layer=1, head="base")
    np.testing.assert_array_equal(scores.z, [[0, 0]])


def test_without_random_directions_no_score_is_standardised():
    rows, score = pd.DataFrame({"reading": ["random"]}), np.ones((1, 2), np.float32)
    scores, moments = nulls.compared(rows, score, {}, layer=1, head="base")
    assert np.isnan(scores.z).all() and len(moments.lists) == 0


READINGS = ["difference", "base_mean"]


@torch.no_grad()
def log_probabilities(model, tokenizer, layer, norm, vector):
    """Mean over the prompts, each run whole: [vocabulary]."""
    from traces.models import hooks

    found = 0
    for words in PROMPTS:
        text = patchscope.identity_prompt([word.strip() for word in words.split(",")])
        written = torch.as_tensor(norm * vector / np.linalg.norm(vector), dtype=torch.float32)
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        with hooks.replaced(hooks.decoder_layers(model)[layer], written, slice(-1, None)):
            found = found + model(ids, use_cache=False).logits[0, -1].log_softmax(-1)
    return (found / len(PROMPTS)).numpy()


def read(lens, probe, tokenizer, tmp_path):
    """The scores of two tiny models by one reader, and the models."""
    from contextlib import nullcontext

    models = {"tuned": tiny_model("llama", seed=1), "base": tiny_model("llama")}
    sides = {side: lambda one=one: nullcontext(one) for side, one in models.items()}
    loaded = Loaded(tokenizer, lambda head: readout_of(models[head]), SimpleNamespace(**sides))
    own = {"heads": ["tuned", "base"]}
    if lens == "patchscope":
        (tmp_path / "prompts.txt").write_text("\n".join(PROMPTS), encoding="utf-8")
        own |= {"prompts": tmp_path / "prompts.txt", "scales": (0.5, 1.0)}
        own |= {"intersection_top_k": 100, "batch": 7}
    reader = {"logit_lens": logit_lens.read, "patchscope": patchscope.read}[lens]
    return reader(loaded, probe, own).scores, models


@pytest.mark.parametrize("vocabulary", [None, [40, 9, 77]])
@pytest.mark.parametrize("lens", ["logit_lens", "patchscope"])
def test_without_nulls_a_reader_scores_and_standardises_nothing(
    lens, vocabulary, tokenizer, tmp_path
):
    scores = read(lens, Probe(differences(), READINGS, 2, vocabulary), tokenizer, tmp_path)[0]
    assert np.isfinite(scores.score).all() and np.isnan(scores.z).all() and len(scores.lists) > 5


@pytest.mark.parametrize("vocabulary", [None, [40, 9, 77]])
@pytest.mark.parametrize("lens", ["logit_lens", "patchscope"])
def test_scores_are_log_probabilities_and_z_compares_them_with_the_nulls(
    lens, vocabulary, tokenizer, tmp_path
):
    found = differences()
    probe = Probe(found, READINGS, 2, vocabulary, drawn(found=found))
    scores, models = read(lens, probe, tokenizer, tmp_path)

    def straightforward(head, index, vector):
        if lens == "patchscope":
            norm = found.stream_norm_tuned[index]
            layer = int(found.layers[index])
            one = log_probabilities(models[head], tokenizer, layer, norm, vector)
        else:
            logits = readout_of(models[head])(torch.as_tensor(vector[None]))
            one = logits.log_softmax(-1)[0].numpy()
        return one if vocabulary is None else one[vocabulary]

    heads = {"difference": 2, "base_mean": 2 if lens == "logit_lens" else 1}
    assert scores.lists.groupby("reading").size().to_dict() == {k: 4 * n for k, n in heads.items()}
    for row, score, z in zip(scores.lists.itertuples(), scores.score, scores.z, strict=True):
        index = list(found.layers).index(row.layer)
        vectors = {"difference": found.mean, "base_mean": found.base_mean}[row.reading]
        expected = straightforward(row.head, index, vectors[index, row.position])
        np.testing.assert_allclose(score, expected, atol=1e-4)
        null = [straightforward(row.head, index, one) for one in probe.nulls["random"][index]]
        expected_z = (expected - np.mean(null, axis=0)) / np.std(null, axis=0, ddof=1)
        np.testing.assert_allclose(z, expected_z, atol=2e-2, rtol=1e-2)
