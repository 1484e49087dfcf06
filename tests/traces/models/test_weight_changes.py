"""The change of what a block writes, against a straightforward computation in float64."""

import copy

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model

from tests.doubles import Held, tiny_model, with_adapter
from traces.models import weight_changes
from traces.models.hooks import decoder_layers
from traces.models.reading_lora import in_own_format
from traces.models.weight_changes import block_change, block_matrix, leading
from traces.models.weights import Pair


def with_dora(model):
    torch.manual_seed(1)
    tuned = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", use_dora=True))
    for name, parameter in tuned.named_parameters():
        if "lora_" in name:
            parameter.data = torch.randn_like(parameter) * 0.2
    return tuned.eval()


def pair_of(kind):
    family = "gemma2" if "normed" in kind else "llama"
    base = tiny_model(family)
    if family == "gemma2":
        for block in decoder_layers(base):
            for norm in (block.post_attention_layernorm, block.post_feedforward_layernorm):
                norm.weight.copy_(torch.randn(32) * 0.3)
    if kind.startswith("full"):
        return Pair(tiny_model(family, seed=1), base)
    if kind == "dora":
        return Pair(with_dora(base))
    if kind == "apart":
        return Pair(with_adapter(copy.deepcopy(base)), base)
    return Pair(with_adapter(base))


def written(pair, side, block):
    """Both matrices in float64, by merging what is an adapter, times the norm behind them."""
    model = copy.deepcopy(pair.tuned_model if side == "tuned" else pair.base_model)
    if model is None:
        model = copy.deepcopy(pair.tuned_model).unload()
    elif hasattr(model, "merge_and_unload"):
        model = model.double().merge_and_unload()
    one = decoder_layers(model)[block]
    found = [one.self_attn.o_proj.weight.double(), one.mlp.down_proj.weight.double()]
    if hasattr(one, "post_feedforward_layernorm"):
        norms = (one.post_attention_layernorm, one.post_feedforward_layernorm)
        found = [
            (1 + norm.weight.double())[:, None] * matrix
            for norm, matrix in zip(norms, found, strict=True)
        ]
    return torch.cat([one.detach() for one in found], dim=1).numpy()


KINDS = ["lora", "lora normed", "full", "full normed", "dora", "apart"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_change_has_the_singular_values_and_vectors_of_a_plain_subtraction(kind):
    pair = pair_of(kind)
    base, tuned = (written(pair, side, 2) for side in ("base", "tuned"))
    left, values, _ = np.linalg.svd(tuned - base, full_matrices=False)
    change = block_change(pair, 2)
    found, vectors = leading(change.matrix, 3)
    np.testing.assert_allclose(found.numpy(), values[:3], rtol=1e-4)
    cosines = np.abs((vectors.numpy() * left[:, :3].T).sum(axis=1))
    np.testing.assert_allclose(cosines, 1, atol=1e-4)
    assert change.energy == pytest.approx((values**2).sum(), rel=1e-4)
    assert change.base_energy == pytest.approx((base**2).sum(), rel=1e-5)
    expected = (values**2).sum() ** 2 / (values**4).sum()
    assert change.effective_rank == pytest.approx(expected, rel=1e-4)
    if kind.startswith("lora"):
        assert change.matrix.shape == (32, 2 * 4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("side", ["tuned", "base"])
def test_a_blocks_own_matrices_are_those_that_either_model_runs(kind, side):
    pair = pair_of(kind)
    np.testing.assert_allclose(block_matrix(pair, side, 1), written(pair, side, 1), atol=1e-5)


def test_an_adapter_in_half_precision_is_read_through_its_factors():
    tuned = with_adapter(tiny_model("llama").to(torch.bfloat16))
    exact = block_change(Pair(tuned), 3)
    assert in_own_format(tuned) > 0
    found = block_change(Pair(tuned), 3)
    assert found.matrix.dtype == torch.float32 and found.matrix.shape == (32, 8)
    torch.testing.assert_close(
        leading(found.matrix, 2)[0], leading(exact.matrix, 2)[0], rtol=2e-2, atol=0
    )


def test_a_thin_change_is_never_multiplied_out():
    pair = Pair(with_adapter(tiny_model("llama", d=256, layers=1)))
    with Held() as held:
        assert block_change(pair, 0).matrix.shape == (256, 8)
    assert held.most < 256 * 256 * 4 / 2, "half of the smaller matrix"


def test_a_block_without_an_adapter_did_not_change():
    config = LoraConfig(r=2, target_modules=["down_proj", "q_proj"], layers_to_transform=5)
    tuned = get_peft_model(tiny_model("llama"), config)
    tuned.get_base_model().model.layers[5].mlp.down_proj.lora_B["default"].weight.data += 1
    change = block_change(Pair(tuned), 1)
    assert change.energy == change.effective_rank == 0 and change.base_energy > 0
    assert len(leading(change.matrix, 2)[0]) == 0
    assert len(leading(block_change(Pair(tuned), 5).matrix, 8)[0]) == 1


@pytest.mark.parametrize("shape", [(300, 900), (700, 280)])
def test_the_randomised_decomposition_finds_the_leading_directions_of_a_flat_spectrum(shape):
    rng = np.random.default_rng(0)
    noise = rng.normal(size=shape)
    left, values, right = np.linalg.svd(noise, full_matrices=False)
    values[:2] *= 1.2, 1.1
    matrix = torch.tensor((left * values) @ right, dtype=torch.float32)
    assert min(shape) > weight_changes.EXACT
    before = torch.random.get_rng_state()
    found, vectors = leading(matrix, 2, seed=5)
    assert torch.equal(before, torch.random.get_rng_state())
    np.testing.assert_allclose(found.numpy(), values[:2], rtol=1e-2)
    cosines = np.abs((vectors.numpy() * left[:, :2].T).sum(axis=1))
    assert (cosines > 0.9).all()
    again = leading(matrix, 2, seed=5)[1]
    torch.testing.assert_close(vectors, again, rtol=0, atol=0)


def test_a_block_without_writing_matrices_is_refused(monkeypatch):
    monkeypatch.setattr(weight_changes, "WRITERS", {"c_proj": "none"})
    with pytest.raises(ValueError, match="block 4: found no module c_proj, expected the matrices"):
        block_change(pair_of("full"), 4)


def products(model):
    return [
        (up @ down).numpy()
        for module in model.modules()
        if (factors := weight_changes.factors_of(module)) is not None
        for down, up in [factors]
    ]


@pytest.mark.parametrize("rank", [1, 2, 4, 9])
def test_a_cut_adapter_is_the_best_of_its_rank_and_whole_from_its_own_on(rank):
    tuned = with_adapter(tiny_model("llama", layers=1))
    before = products(tuned)
    weight_changes.cut_adapter(tuned, rank)
    for whole, cut in zip(before, products(tuned), strict=True):
        left, values, right = np.linalg.svd(whole.astype(np.float64), full_matrices=False)
        expected = (left[:, :rank] * values[:rank]) @ right[:rank]
        np.testing.assert_allclose(cut, expected, atol=1e-4)


def test_a_model_without_an_adapter_cannot_be_cut():
    with pytest.raises(ValueError, match="found no plain LoRA"):
        weight_changes.cut_adapter(tiny_model("llama", layers=1), 1)
