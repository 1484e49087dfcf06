"""Kernels counted on the meta device: what costs, what does not, and what a tuned pass adds."""

import pytest
import torch
from torch.nn import functional

from traces.costs.kernels import H100, counting

HALF, SINGLE = torch.bfloat16, torch.float32


def meta(*shape: int, dtype: torch.dtype = HALF) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def kernels(call) -> list[tuple[str, int, int]]:
    with torch.no_grad(), counting() as counted:
        call()
    return [(one.name, one.size, one.flops) for one in counted.kernels]


X, W = meta(8, 16), meta(32, 16)

# Bytes by hand: two for a number of bfloat16, each tensor read or written once.
COSTS = {
    "a product": (
        lambda: functional.linear(X, W), [("mm", 2 * (128 + 512 + 256), 2 * 8 * 16 * 32)],
    ),
    "a product with what is added": (
        lambda: meta(8, 32).addmm_(X, W.t(), alpha=2.0),
        [("addmm_", 2 * (128 + 512 + 2 * 256), 2 * 8 * 16 * 32)],
    ),
    "products of a batch": (
        lambda: meta(3, 8, 16) @ meta(3, 16, 4),
        [("bmm", 2 * 3 * (128 + 64 + 32), 2 * 3 * 8 * 16 * 4)],
    ),
    "an addition": (lambda: X + X, [("add", 2 * 3 * 128, 0)]),
    "a number of float32 from bfloat16": (lambda: X.float(), [("_to_copy", 6 * 128, 0)]),
    "what expand repeats": (lambda: X * meta(8, 1).expand(8, 16), [("mul", 2 * (2 * 128 + 8), 0)]),
    "a view": (lambda: X.view(4, 32).t()[1:].unsqueeze(0), []),
    "memory without a value": (lambda: torch.empty_like(X), []),
    "rows of an embedding": (
        lambda: functional.embedding(torch.empty(5, dtype=torch.long, device="meta"), W),
        [("embedding", 2 * 2 * 5 * 16 + 8 * 5, 0)],
    ),
    "a copy into a tensor": (lambda: meta(8, 16).copy_(X), [("copy_", 2 * 2 * 128, 0)]),
    "the target of out=": (lambda: torch.gt(X, X, out=meta(8, 16)), [("gt", 2 * 3 * 128, 0)]),
    "work on the host": (lambda: torch.ones(8, 16) + 1, []),
}  # fmt: skip


@pytest.mark.parametrize(("call", "expected"), COSTS.values(), ids=COSTS)
def test_a_call_costs_its_kernels(call, expected):
    assert kernels(call) == expected


@pytest.mark.parametrize(("causal", "share"), [(False, 1), (True, 2)])
def test_fused_attention_is_one_kernel(causal, share):
    def attend() -> torch.Tensor:
        return functional.scaled_dot_product_attention(
            meta(1, 4, 10, 8), meta(1, 4, 10, 8), meta(1, 4, 10, 8), is_causal=causal
        )

    flops = 2 * 2 * 4 * 10 * 10 * 8
    assert kernels(attend) == [("attention", 4 * 2 * 4 * 10 * 8, flops // share)]


def test_a_backward_pass_reaches_through_fused_attention():
    weights = [meta(16, 16).requires_grad_() for _ in range(3)]
    with counting() as counted:
        heads = (functional.linear(X, one).view(1, 2, 8, 8) for one in weights)
        functional.scaled_dot_product_attention(*heads).sum().backward()
    names = [one.name for one in counted.kernels]
    assert names.count("mm") == 3 + 3  # the products forward, and a gradient for each weight
    assert "attention backward" in names
    assert all(one.grad is not None for one in weights)


def test_a_kernel_takes_the_longer_of_its_bytes_and_its_arithmetic():
    with counting() as counted:
        meta(4096, 4096) @ meta(4096, 4096)
        meta(4096, 4096) + meta(4096, 4096)
        meta(4096, 4096, dtype=SINGLE) @ meta(4096, 4096, dtype=SINGLE)
    product, added, single = (one.seconds(H100) for one in counted.kernels)
    assert product == pytest.approx(2 * 4096**3 / 7e14)
    assert added == pytest.approx(3 * 2 * 4096**2 / 3e12)
    assert single == pytest.approx(2 * 4096**3 / 5e13)
    assert counted.seconds(H100) == counted.busy(H100) == pytest.approx(product + added + single)
    assert counted.flops(SINGLE) == 2 * 4096**3 == counted.flops() / 2


def test_small_kernels_take_as_long_as_their_launches():
    with counting() as counted:
        for _ in range(10):
            X + X
    assert counted.busy(H100) < counted.seconds(H100) == pytest.approx(10 * 6e-6)


def test_code_that_reads_its_result_runs_and_gets_zeros():
    with counting() as counted:
        found = (X + X).float().cpu().double().numpy()
        assert (X == X).all()
        assert float(X.sum()) == 0
    assert found.shape == (8, 16) and not found.any()
    assert [one.name for one in counted.kernels].count("item") == 2
