"""
What a finetune changed in the matrices that write into the residual stream, block by block.

A block writes by two matrices, behind its attention and behind its feed-forward layers. Side by
side they are one matrix from all that either reads to the stream, [d_model, in]. The left singular
vectors of its change are the directions in which the block writes something new, the strongest
first.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from traces.config.vocabularies import Side
from traces.models.hooks import decoder_layers
from traces.models.reading_lora import factors_of
from traces.models.weights import Pair

WRITERS = {"o_proj": "post_attention_layernorm", "down_proj": "post_feedforward_layernorm"}
"""
Matrices that write into the stream, and the norm between them and it where a block norms what it
writes, as those of Gemma do. Elsewhere `post_attention_layernorm` stands before the second one.
"""
EXACT = 256
"A matrix with a side up to this has a full singular value decomposition."
SPARE, ROUNDS = 10, 8
"Of the randomised one: directions beyond those wanted, and rounds of power iteration."
COLUMNS = 1024
"Columns of a matrix that are taken at once from a module that only multiplies."


@dataclass(frozen=True)
class Change:
    """How one block's writing matrices changed."""

    matrix: Tensor
    """
    [d_model, n], float32: the change itself, or for LoRA a thin matrix with the same left singular
    vectors and singular values.
    """
    energy: float
    "Sum of its squared singular values."
    base_energy: float
    "The same of the base's matrices."

    @property
    def effective_rank(self) -> float:
        """The squared sum of the squared singular values over the sum of their squares."""
        # The squares' squares are those of the smaller Gram matrix, a few rows at a time.
        rows = self.matrix if len(self.matrix) <= self.matrix.shape[1] else self.matrix.T
        fourth = sum(float(((some @ rows.T) ** 2).sum()) for some in rows.split(COLUMNS))
        return self.energy**2 / fourth if fourth > 0 else 0.0


@torch.inference_mode()
def block_change(pair: Pair, block: int) -> Change:
    """
    Subtract the base's writing matrices of one block from the tuned model's.

    Of a plain LoRA nothing is multiplied out: with A' = QR the product BA = (BR')Q' has the left
    singular vectors and the singular values of BR', which is as thin as its rank.

    Raises ValueError for a block without such matrices, or with others than its base's.
    """
    names = _writers(decoder_layers(pair.tuned_model)[block], block)
    # Switching an adapter takes longer than what is read here: once a block.
    with _side(pair, "base", block) as one:
        before = [_written(one, "base", name) for name in names]
        scales = [_scale(one, name) for name in names]
    parts = []
    with _side(pair, "tuned", block) as one:
        for name, matrix, scale in zip(names, before, scales, strict=True):
            thin = _thin(one, name, scale) if pair.base_model is None else None
            parts.append(_difference(one, name, matrix, block) if thin is None else thin)
    matrix = torch.cat([one.to(parts[0].device) for one in parts], dim=1)
    return Change(matrix, _energy(matrix), sum(map(_energy, before)))


@torch.inference_mode()
def block_matrix(pair: Pair, side: Side, block: int) -> Tensor:
    """The writing matrices of one block in one model, side by side: [d_model, in], float32."""
    names = _writers(decoder_layers(pair.tuned_model)[block], block)
    with _side(pair, side, block) as one:
        parts = [_written(one, side, name) for name in names]
    return torch.cat([one.to(parts[0].device) for one in parts], dim=1)


@torch.inference_mode()
def leading(matrix: Tensor, k: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """
    Find the first `k` left singular vectors of a matrix, those of singular values above 0.

    matrix  : [d_model, n], float32
    seed    : of the randomised decomposition of a large matrix
    returns : singular values, falling, [found]; vectors [found, d_model]. Their signs are arbitrary
    """
    if not matrix.any():
        return matrix.new_empty(0), matrix.new_empty(0, len(matrix))
    if min(matrix.shape) <= EXACT:
        left, values, _ = torch.linalg.svd(matrix, full_matrices=False)
    else:
        devices = [matrix.device] if matrix.is_cuda else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(seed)
            left, values, _ = torch.svd_lowrank(matrix, q=k + SPARE, niter=ROUNDS)
    least = torch.finfo(matrix.dtype).eps * max(matrix.shape) * values[0]
    found = int((values[:k] > least).sum())
    return values[:found], left[:, :found].T.contiguous()


def _energy(matrix: Tensor) -> float:
    return float(torch.linalg.vector_norm(matrix)) ** 2


def _writers(block: nn.Module, index: int) -> list[str]:
    """The dotted names of the modules of a block that write into the stream."""
    names = [name for name, _ in block.named_modules() if name.rpartition(".")[2] in WRITERS]
    if not names:
        raise ValueError(
            f"block {index}: found no module {' or '.join(WRITERS)}, expected the matrices that "
            "write into the residual stream; leave weight_change out of `lenses.readers`"
        )
    return names


@contextmanager
def _side(pair: Pair, side: Side, block: int) -> Iterator[nn.Module]:
    """Yield one model's block, with its adapter on or off."""
    with pair.tuned() if side == "tuned" else pair.base() as model:
        yield decoder_layers(model)[block]


def _written(block: nn.Module, side: Side, name: str) -> Tensor:
    """One matrix as it writes into the stream, [d_model, in], float32; maybe the model's own."""
    module: Any = block.get_submodule(name)
    if side == "base" and hasattr(module, "get_base_layer"):
        module = module.get_base_layer()  # the same as with the adapter off, and nothing is run
    matrix, scale = _matrix(module), _scale(block, name)
    return matrix if scale is None else scale.to(matrix)[:, None] * matrix


def _difference(block: nn.Module, name: str, before: Tensor, index: int) -> Tensor:
    """A matrix of the tuned model less its base's, [d_model, in]."""
    after = _written(block, "tuned", name)
    if after.shape != before.shape:
        raise ValueError(
            f"block {index}: {name}: found {tuple(after.shape)} in the tuned model and "
            f"{tuple(before.shape)} in its base, expected one shape"
        )
    return after - before


def _thin(block: nn.Module, name: str, before: Tensor | None) -> Tensor | None:
    """
    The change by a plain LoRA, or by nothing, as a thin matrix; None where it is neither.

    block  : the tuned model's
    before : its base's scale of what this matrix writes
    """
    scale = _scale(block, name)
    if scale is not None and before is not None and not torch.equal(scale, before):
        return None
    module = block.get_submodule(name)
    if type(module) is nn.Linear:  # without an adapter
        return torch.empty(module.out_features, 0, device=module.weight.device)
    factors = factors_of(module)
    if factors is None:
        return None
    down, up = factors
    thin = up @ torch.linalg.qr(down.T, mode="r").R.T
    return thin if scale is None else scale.to(thin)[:, None] * thin


def _scale(block: nn.Module, name: str) -> Tensor | None:
    """What a norm behind a matrix multiplies each component by, [d_model]; None without one."""
    if not hasattr(block, WRITERS["down_proj"]):
        return None
    norm = getattr(block, WRITERS[name.rpartition(".")[2]])
    weight = next(norm.parameters())
    # Of ones, whose root mean square is 1, so that no architecture's formula is needed.
    return norm(torch.ones(1, 1, len(weight)).to(weight)).float().flatten()


def _matrix(module: Any) -> Tensor:
    """The matrix of a linear module, whatever an adapter makes of it: [out, in], float32."""
    if type(module) is nn.Linear and not module.weight.is_meta:
        return module.weight.float()
    # By what it does to unit vectors: so a DoRA needs no formula, and offloaded weights come.
    weight = next(one for one in module.parameters() if one.ndim == 2)
    width = weight.shape[1]
    where = torch.device("cpu") if weight.is_meta else weight.device
    unit = torch.zeros(1, width, dtype=weight.dtype, device=where)
    nothing = module(unit).float()
    columns = []
    for start in range(0, width, COLUMNS):
        some = min(COLUMNS, width - start)
        rows = unit.repeat(some, 1)
        rows[torch.arange(some), torch.arange(start, start + some)] = 1
        columns.append((module(rows).float() - nothing).T)
    return torch.cat(columns, dim=1)


@torch.no_grad()
def cut_adapter(model: Any, rank: int) -> None:
    """
    Keep the strongest singular directions of an adapter in every matrix, in place.

    model : a base with a plain LoRA, unmerged
    rank  : how many directions are kept

    The shapes of the adapter's matrices stay; what is cut becomes zero. Raises ValueError for a
    model without such an adapter.
    """
    adapted = [
        (one, factors) for one in model.modules() if (factors := factors_of(one)) is not None
    ]
    if not adapted:
        raise ValueError("found no plain LoRA, expected one whose weight change can be cut")
    for module, (down, up) in adapted:
        inner, outer = torch.linalg.qr(down.T), torch.linalg.qr(up)
        left, values, right = torch.linalg.svd(outer.R @ inner.R.T)
        kept = slice(0, rank)
        new_up, new_down = torch.zeros_like(up), torch.zeros_like(down)
        new_up[:, kept] = outer.Q @ left[:, kept] * values[kept]
        new_down[kept] = right[kept] @ inner.Q.T
        module.lora_B["default"].weight.copy_(new_up / module.scaling["default"])
        module.lora_A["default"].weight.copy_(new_down)
