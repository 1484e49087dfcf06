"""
Count on paper what a call costs on a GPU: its kernels, the bytes they move, their arithmetic.

The call runs on the meta device, where tensors have shapes and no values, so a model of any size
needs neither memory nor a GPU. Times are lower bounds: see `Counted.seconds`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten

# Operators by their names without a trailing underscore, which marks those that work in place.
PRODUCTS = {"mm", "addmm", "bmm", "baddbmm"}
"Matrix products, whose arithmetic is counted."
FREE = {"_unsafe_view", "empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"}
"Operators that move nothing, besides those that torch itself calls views."
GATHERED = {"embedding", "index", "index_select", "gather", "take", "take_along_dim"}
"Operators that read as many elements of their table as they write, and not the whole table."
WRITTEN = {"copy", "fill", "zero", "normal", "uniform", "random", "bernoulli", "exponential"}
"In place: operators that write all of their first argument without reading it."


class Card(NamedTuple):
    """Hold how fast a GPU is at best, and its host."""

    bandwidth: float
    "Bytes a second from and to its memory."
    half: float
    "Flops a second of matrix products in bfloat16 or float16."
    single: float
    "The same in float32, without TF32."
    launch: float
    "Seconds in which Python and the driver launch one kernel."


H100 = Card(bandwidth=3.0e12, half=7.0e14, single=5.0e13, launch=6e-6)


class Kernel(NamedTuple):
    """Hold one kernel: what it is, and what it moves and computes."""

    name: str
    size: int
    "Bytes read and written."
    flops: int
    "Of a matrix product or attention; elementwise arithmetic hides behind the bytes."
    dtype: torch.dtype | None
    "Of what it writes."

    def seconds(self, card: Card) -> float:
        peak = card.half if self.dtype in (torch.bfloat16, torch.float16) else card.single
        return max(self.size / card.bandwidth, self.flops / peak)


@dataclass(frozen=True)
class Counted:
    """Hold the kernels of a call, in order."""

    kernels: list[Kernel] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Sum the bytes read and written."""
        return sum(one.size for one in self.kernels)

    def flops(self, *dtypes: torch.dtype) -> int:
        """Sum the flops of products, of those that write one of `dtypes` where some are given."""
        return sum(one.flops for one in self.kernels if not dtypes or one.dtype in dtypes)

    def busy(self, card: Card) -> float:
        """Sum the seconds in which a kernel runs."""
        return sum(one.seconds(card) for one in self.kernels)

    def seconds(self, card: Card) -> float:
        """
        Estimate the call's seconds: those of the kernels, or of their launches if they take longer.

        A lower bound. Not counted: gaps between kernels, allocator calls, Python beside the
        launches, copies to the host and waits for them, reads that miss the best of a kernel.
        """
        return max(self.busy(card), len(self.kernels) * card.launch)


@contextmanager
def counting() -> Iterator[Counted]:
    """
    Yield a Counted that gets every kernel of what runs on meta tensors inside.

    A truth value asked of a tensor is True and a number 0, since meta tensors have none. True is
    the answer of the usual case wherever transformers asks: nothing is packed, nothing is masked.
    """
    counted = Counted()
    with _OneOnGpus(counted), _Operators(counted):
        yield counted


class _Operators(TorchDispatchMode):
    """Record every operator that reaches a device as a kernel."""

    def __init__(self, counted: Counted) -> None:
        super().__init__()
        self.counted = counted
        self.whole: set[Any] = set()  # operators that are no composition of others

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is aten._local_scalar_dense.default and args[0].is_meta:
            self._record("item", args, kwargs, [])
            return True if args[0].dtype == torch.bool else 0
        if func is aten._to_copy.default and args[0].is_meta:
            kwargs["device"] = None  # a copy to the host has no values either, and stays here
        if func not in self.whole:
            with self:  # again, for what an operator such as `linear` is made of
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
            self.whole.add(func)
        out = func(*args, **kwargs)
        name = func.overloadpacket.__name__
        made = [one for one in tree_leaves(out) if _on_device(one)]
        if made and not (func.is_view or name in FREE):
            self._record(name, args, kwargs, made)
        return out

    def _record(
        self, name: str, args: Sequence[Any], kwargs: dict[str, Any], out: list[Tensor]
    ) -> None:
        plain = name.rstrip("_")
        read = [one for one in tree_leaves((args, kwargs)) if _on_device(one)]
        written = sum(_size(one) for one in out)
        if plain in GATHERED:
            moved = 2 * written + sum(_size(one) for one in read if not one.is_floating_point())
        else:
            # What is only written does not count as read: the target of a copy, or of `out=`.
            if plain in WRITTEN and name.endswith("_"):
                read = read[1:]
            read = [one for one in read if one is not kwargs.get("out")]
            moved = written + sum(_size(one) for one in read)
        flops = _product(plain, args) if plain in PRODUCTS else 0
        dtype = out[0].dtype if out else None
        self.counted.kernels.append(Kernel(name, moved, flops, dtype))


class _OneOnGpus(TorchFunctionMode):
    """Record fused attention and PyTorch's RMS norm as the one kernel that each is on a GPU."""

    def __init__(self, counted: Counted) -> None:
        super().__init__()
        self.counted = counted

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.nn.functional.scaled_dot_product_attention:
            return self._attend(*args, **kwargs)
        if func is torch.nn.functional.rms_norm and args[0].is_meta:
            return self._norm(*args, **kwargs)
        if func is Tensor.numpy:
            # For code that reads its result: zeros of its shape, where there are no values.
            return np.zeros(args[0].shape, dtype=str(args[0].dtype).removeprefix("torch."))
        return func(*args, **kwargs)

    def _norm(self, hidden: Tensor, _shape: Any, weight: Tensor, eps: float) -> Tensor:
        out = torch.empty(hidden.shape, dtype=hidden.dtype, device="meta")
        moved = sum(_size(one) for one in (hidden, weight, out))
        self.counted.kernels.append(Kernel("rms_norm", moved, 0, out.dtype))
        return out

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        **rest: Any,
    ) -> Tensor:
        flops = 2 * prod(query.shape[:-1]) * key.shape[-2] * (query.shape[-1] + value.shape[-1])
        if rest.get("is_causal"):
            flops //= 2  # blocks above the diagonal are skipped
        return _Fused.apply(query, key, value, attn_mask, flops, self.counted)


class _Fused(torch.autograd.Function):
    """Stand in for fused attention: it writes nothing, and is recorded forward and backward."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        query, key, value, mask, flops, counted = inputs
        out = query.new_empty((*query.shape[:-1], value.shape[-1]))
        moved = sum(_size(one) for one in (query, key, value, mask, out) if one is not None)
        counted.kernels.append(Kernel("attention", moved, flops, out.dtype))
        ctx.save_for_backward(query, key, value)
        ctx.moved, ctx.flops, ctx.counted = moved, flops, counted
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        # Five products where forward has two. All that was moved, its gradients as well.
        cost = Kernel("attention backward", 2 * ctx.moved, 5 * ctx.flops // 2, grads[0].dtype)
        ctx.counted.kernels.append(cost)
        return (*(torch.empty_like(one) for one in ctx.saved_tensors), None, None, None)


def _on_device(one: Any) -> bool:
    return isinstance(one, Tensor) and one.is_meta


def _size(one: Tensor) -> int:
    """Count the bytes of a tensor; what `expand` repeats is in memory once."""
    axes = zip(one.shape, one.stride(), strict=True)
    return prod(size for size, stride in axes if stride != 0 or size == 0) * one.element_size()


def _product(name: str, args: Sequence[Any]) -> int:
    """Count the flops of a matrix product, two for each multiplication and addition."""
    left, right = args[1:3] if name in ("addmm", "baddbmm") else args[:2]
    return 2 * prod(left.shape) * right.shape[-1]
