"""
Run the norms of a block in one kernel, in half precision, for as long as a context lasts.

transformers computes an RMS norm in six or seven kernels: to float32, square, mean, root, product,
back, and the product with the weight. PyTorch's own is one, and rounds once instead of twice.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

CLOSE = 2.0**-6
"Largest difference of two half-precision norms of one input, as a share: a few roundings."


class FusedNorm(nn.Module):
    """An RMS norm by PyTorch: x / sqrt(mean(x^2) + eps) * weight."""

    def __init__(self, weight: nn.Parameter, eps: float) -> None:
        super().__init__()
        self.weight, self.eps = weight, eps

    def forward(self, hidden: Tensor) -> Tensor:
        """Norm over the last axis; [..., d] to the same."""
        return nn.functional.rms_norm(hidden, self.weight.shape, self.weight, self.eps)


def fused(norm: nn.Module) -> FusedNorm | None:
    """
    PyTorch's norm in place of a module that computes the same; None for any other module.

    Others are what is in float32, what an adapter or an offload has wrapped, and norms of another
    formula, such as Gemma's, which scales by 1 + weight.
    """
    eps = getattr(norm, "variance_epsilon", getattr(norm, "eps", None))
    own = dict(norm.named_parameters())
    if not isinstance(eps, float) or list(own) != ["weight"] or hasattr(norm, "_hf_hook"):
        return None
    weight = own["weight"]
    if weight.ndim != 1 or weight.itemsize > 2:
        return None
    return FusedNorm(weight, eps) if _same(norm, weight, eps) else None


def _same(norm: Any, weight: nn.Parameter, eps: float) -> bool:
    """Check on a twin with other weights on the CPU that a module computes this norm."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn((4, len(weight)), generator=generator).to(weight.dtype)
    scale = torch.rand(len(weight), generator=generator).to(weight.dtype) + 0.5
    twin = copy.copy(norm)
    twin._parameters = {"weight": nn.Parameter(scale, requires_grad=False)}
    with torch.inference_mode():
        found, expected = twin(rows), FusedNorm(twin.weight, eps)(rows)
    return found.dtype == expected.dtype and torch.allclose(found, expected, rtol=CLOSE, atol=1e-6)


@contextmanager
def norms_fused(block: nn.Module) -> Iterator[None]:
    """Put PyTorch's norm in place of every module of a block that computes the same."""
    kept: list[tuple[nn.Module, str, nn.Module]] = []
    for parent in list(block.modules()):
        for name, child in parent.named_children():
            found = fused(child)
            if found is not None:
                kept.append((parent, name, child))
                setattr(parent, name, found)
    try:
        yield
    finally:
        for parent, name, child in kept:
            setattr(parent, name, child)
