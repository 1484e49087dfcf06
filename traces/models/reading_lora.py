"""
Run a LoRA beside half-precision weights in their own number format: two products a module.

PEFT keeps an adapter in float32 beside bfloat16 weights, which a training needs. A reading does
not, and pays for it: every module then casts its input and multiplies and adds in float32.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft.tuners.lora.layer import Linear
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

HALVES = (torch.bfloat16, torch.float16)


class ReadingLora(nn.Module, BaseTunerLayer):
    """
    Compute `W x + scale * B (A x)`, all in the number format of W; PEFT switches it off and on.

    `A x` is rounded once. `scale * B (A x)` is added to `W x` before it is rounded, inside one
    product. So a tuned model is as exact as half precision is (docs/gpu.md has the errors).
    """

    base_layer: Any

    def __init__(self, layer: Any, adapter: str) -> None:
        super().__init__()
        self.base_layer = layer.get_base_layer()
        self.adapter = self._active_adapter = adapter
        self.merged_adapters = []
        dtype = self.base_layer.weight.dtype
        pair = (layer.lora_A[adapter].weight, layer.lora_B[adapter].weight)
        # Named as PEFT names them, by which an adapter's weights are told from a model's.
        self.lora_A, self.lora_B = (
            nn.ParameterDict({adapter: nn.Parameter(one.detach().to(dtype), requires_grad=False)})
            for one in pair
        )
        self.scale: float = layer.scaling[adapter]

    def forward(self, x: Tensor) -> Tensor:
        """Map x [..., in] to [..., out]."""
        out = self.base_layer(x)
        if self.merged:
            assert not self.disable_adapters, "the base was run with an adapter in its weights"
            return out
        if self.disable_adapters:
            return out
        down, up = self.factors
        low = nn.functional.linear(x, down)
        # In place: `out` was made above and nobody else has it.
        rows = out.view(-1, out.shape[-1])
        rows.addmm_(low.view(-1, low.shape[-1]), up.t(), alpha=self.scale)
        return out

    @property
    def factors(self) -> tuple[Tensor, Tensor]:
        """The adapter's matrices, [rank, in] and [out, rank]."""
        return self.lora_A[self.adapter], self.lora_B[self.adapter]

    @property
    def offloaded(self) -> bool:
        """Whether the weights visit a GPU for their turn alone, and stay elsewhere."""
        return getattr(getattr(self.base_layer, "_hf_hook", None), "offload", False)

    @contextmanager
    def merged_in(self) -> Iterator[None]:
        """
        Keep the adapter in the weights for as long as the context lasts, rounded to their format.

        Then a pass costs what the base's does. The rounding is the same for every token, so that a
        mean over many does not lessen it: it is only for what compares a model with itself.
        """
        weight = self.base_layer.weight
        down, up = self.factors
        change = self.scale * (up.float() @ down.float())
        # Aside on the host: two copies of half of a large model do not fit its GPU.
        kept = weight.data.cpu()
        weight.data = (weight.data.float() + change).to(weight.dtype)
        self.merged_adapters = self.active_adapters
        try:
            yield
        finally:
            self.merged_adapters = []
            weight.data = kept.to(weight.device)


def in_own_format(tuned: Any, adapter: str = "default") -> int:
    """
    Put a ReadingLora in place of every plain LoRA beside half-precision weights; count them.

    tuned : a model that PEFT has put an adapter on

    What is no plain LoRA of a linear module stays PEFT's own, in float32: DoRA and other variants,
    a bias of the product, embeddings, a module that PEFT has merged. So do modules in float32.
    """
    names = [name for name, module in tuned.named_modules() if _plain(module, adapter)]
    for name in names:
        tuned.set_submodule(name, ReadingLora(tuned.get_submodule(name), adapter))
    return len(names)


def factors_of(module: nn.Module, adapter: str = "default") -> tuple[Tensor, Tensor] | None:
    """
    The matrices of a plain LoRA, [rank, in] and [out, rank] in float32: their product, down first,
    is what it adds to the weights. None for all else, such as DoRA.
    """
    if isinstance(module, ReadingLora):
        down, up = module.factors
        return down.float(), up.float() * module.scale
    if not _two_matrices(module, adapter):
        return None
    layer: Any = module
    down, up = layer.lora_A[adapter].weight, layer.lora_B[adapter].weight
    return down.float(), up.float() * layer.scaling[adapter]


def _plain(module: nn.Module, adapter: str) -> bool:
    """Check for a plain LoRA beside weights in half precision."""
    if not _two_matrices(module, adapter):
        return False
    layer: Any = module
    return layer.get_base_layer().weight.dtype in HALVES


def _two_matrices(module: nn.Module, adapter: str) -> bool:
    """Check for a LoRA of a linear module that has nothing but two matrices and a scale."""
    # The class itself: those derived from it are for quantised and other weights.
    if type(module) is not Linear or module.active_adapters != [adapter]:
        return False
    return (
        list(module.lora_A) == [adapter]
        and adapter not in module.lora_variant
        and not module.lora_bias[adapter]
        and not module.merged
    )
