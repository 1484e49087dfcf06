"""A norm in one kernel is the model's own, a little more exact, and only while it is asked for."""

from typing import Any

import pytest
import torch
from torch import nn

from tests.doubles import FAMILIES, tiny_model
from traces.models.fused_norms import FusedNorm, fused, norms_fused
from traces.models.hooks import decoder_layers

PLAIN = [family for family in FAMILIES if not family.startswith("gemma")]


def norms(model) -> list[Any]:
    return [one for one in model.modules() if type(one).__name__.endswith("Norm")]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("family", PLAIN)
def test_it_is_nearer_to_float32_than_the_models_own(family, dtype):
    model = tiny_model(family, layers=2)
    generator = torch.Generator().manual_seed(1)
    for norm in norms(model):
        weight = torch.rand(norm.weight.shape, generator=generator) + 0.5
        norm.weight.data = weight.to(dtype)
        rows = (3 * torch.randn((64, len(weight)), generator=generator)).to(dtype)
        one = fused(norm)
        assert one is not None
        whole = FusedNorm(nn.Parameter(norm.weight.float()), one.eps)(rows.float())
        ours, theirs = ((made(rows).float() - whole).norm() for made in (one, norm))
        assert ours <= theirs
        assert one(rows).dtype == dtype


@pytest.mark.parametrize("family", FAMILIES)
def test_norms_of_another_formula_and_in_float32_stay_the_models_own(family):
    model = tiny_model(family, layers=2)
    assert not any(map(fused, norms(model)))
    model = model.to(torch.bfloat16)
    assert all(map(fused, norms(model))) == (family in PLAIN)
    assert any(map(fused, norms(model))) == (family in PLAIN)


def test_what_is_wrapped_or_is_no_norm_is_left():
    weight = nn.Parameter(torch.ones(8, dtype=torch.bfloat16), requires_grad=False)
    assert fused(nn.Linear(8, 8, bias=False).to(torch.bfloat16)) is None
    assert fused(nn.LayerNorm(8).to(torch.bfloat16)) is None
    wrapped = FusedNorm(weight, 1e-6)
    assert fused(wrapped) is not None
    wrapped.__dict__["_hf_hook"] = object()
    assert fused(wrapped) is None


def test_a_block_has_its_own_norms_again_afterwards():
    model = tiny_model("qwen3", layers=2).to(torch.bfloat16)
    ids = torch.tensor([[5, 9, 3, 7]])
    block, before = decoder_layers(model)[1], norms(model)
    with torch.inference_mode():
        own = model(input_ids=ids).logits
        with pytest.raises(RuntimeError), norms_fused(block):
            inside = model(input_ids=ids).logits
            assert [type(one).__name__ for one in norms(block)] == ["FusedNorm"] * 4
            raise RuntimeError
        again = model(input_ids=ids).logits
    assert norms(model) == before
    assert torch.equal(again, own)
    torch.testing.assert_close(inside, own, rtol=0.05, atol=0.05)


def test_on_the_meta_device_it_is_one_kernel():
    from traces.costs.kernels import counting

    model = tiny_model("qwen3", layers=1).to(torch.bfloat16).to("meta")
    norm = next(one for one in norms(model) if one.weight.shape == (32,))
    rows = torch.zeros((2, 32), dtype=torch.bfloat16, device="meta")
    one = fused(norm)
    assert one is not None
    counts = []
    for made in (norm, one):
        with torch.inference_mode(), counting() as found:
            made(rows)
        counts.append(len(found.kernels))
    assert counts[0] >= 6 and counts[1] == 1
