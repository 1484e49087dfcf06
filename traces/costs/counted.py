"""
Count the memory of one training step: the real model, adapter and optimizer, on no device.

The step runs under PyTorch's FakeTensorMode: every tensor has its real shape and type, and none has
memory. What is alive is added up at every operation. It takes seconds, at any size of model, and
says what the formulas of traces/costs/memory.py should say.

Attention counts as PyTorch's fused kernel on the CPU, which keeps what CUDA's does; a mask of
packed documents is there. Dropout keeps one byte a number, as CUDA does. Not counted: DeepSpeed and
several devices, the CUDA context, fragmentation, and the workspace of kernels.
"""

import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from traces.costs.memory import FLOAT, Step
from traces.costs.shapes import model_config

COUNTED_LAYERS = (2, 3)
"Depths that are counted. The first layer keeps less than others: nothing below it is trained."


def counted_peak(step: Step, cast_inputs: bool = False) -> float:
    """
    Count the peak of one optimizer step in bytes, on one device without DeepSpeed.

    cast_inputs : whether PEFT casts the inputs of adapters to float32, as it does by default

    Two shallow models are counted; each moment of the step grows by as much with every layer.
    """
    low, high = COUNTED_LAYERS
    moments = {depth: _moments(step, depth, cast_inputs) for depth in COUNTED_LAYERS}
    pairs = zip(moments[low], moments[high], strict=True)
    return max(few + (step.shape.layers - low) * (more - few) for few, more in pairs)


def _moments(step: Step, layers: int, cast_inputs: bool) -> tuple[int, int, int]:
    """Count the peaks of the forward pass, the backward pass and the update."""
    import torch
    from accelerate.utils import convert_outputs_to_fp32
    from torch._subclasses import FakeTensorMode

    from traces.training.train import cast_by_autocast

    model = _model(step, layers)
    with FakeTensorMode(allow_non_fake_inputs=True), _alive() as alive, ExitStack() as stack:
        _materialise(model)
        if not cast_inputs:
            stack.enter_context(cast_by_autocast(model))
        trained = [one for one in model.parameters() if one.requires_grad]
        # On CUDA it takes all parameters at once, without being asked to.
        optimizer = torch.optim.AdamW(trained, foreach=True)
        for one in trained:
            one.grad = torch.empty_like(one)
        optimizer.step()  # makes the moments, as the step before did
        if step.way.gradient_accumulation == 1:
            optimizer.zero_grad()
        ids = torch.zeros(step.way.batch_size, step.training.max_length, dtype=torch.long)
        forward = model.forward
        if step.autocast:
            # As accelerate prepares a model.
            forward = convert_outputs_to_fp32(torch.autocast("cpu", torch.bfloat16)(forward))
        alive.restart()
        loss = forward(
            input_ids=ids,
            position_ids=ids.clone(),
            labels=ids.clone(),
            num_items_in_batch=torch.tensor(1),
        )["loss"]
        before = alive.restart()
        loss.backward()
        backward = alive.restart()
        torch.nn.utils.clip_grad_norm_(trained, step.training.max_grad_norm, foreach=True)
        optimizer.step()
        return before, backward, alive.restart()


def _model(step: Step, layers: int) -> Any:
    """Build the model that a training would, at real width, on the meta device."""
    import torch

    from traces.models.weights import unloaded
    from traces.training.train import with_adapter

    config = model_config(step.shape, step.family, layers)
    dtype = torch.float32 if step.weight == FLOAT else torch.bfloat16
    model = unloaded(config, dtype=dtype, attn_implementation=step.attention)
    model.config.use_cache = False
    settings = step.training.model_copy(update=step.way._asdict())
    model = model if step.full else with_adapter(model, settings)
    if step.way.gradient_checkpointing:
        model.activation_checkpointing_enable()
    return model.train()


def _materialise(model: Any) -> None:
    """Replace all tensors on the meta device by those of the current mode; shared ones once."""
    import torch

    class OnCuda(torch.nn.Dropout):
        """Drop as CUDA does: it keeps a truth value a number; the CPU keeps a number."""

        def forward(self, input: Any) -> Any:
            return torch.native_dropout(input, self.p, True)[0] if self.p else input

    made: dict[Any, Any] = {}
    for module in list(model.modules()):
        for tensors in (module._parameters, module._buffers):
            for name, one in tensors.items():
                if one is not None and one not in made:
                    made[one] = torch.empty(one.shape, dtype=one.dtype, device="cpu")
                    if isinstance(one, torch.nn.Parameter):
                        made[one] = torch.nn.Parameter(made[one], one.requires_grad)
                tensors[name] = made.get(one)
        for name, child in module.named_children():
            if type(child) is torch.nn.Dropout:
                setattr(module, name, OnCuda(child.p))


@contextmanager
def _alive() -> Iterator[Any]:
    """Yield a count of what is alive while the context lasts: `restart` returns the peak so far."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    class Alive(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.now = self.peak = 0
            self.storages: dict[int, int] = {}

        def __torch_dispatch__(
            self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            results = func(*args, **(kwargs or {}))
            for one in tree_leaves(results):
                if isinstance(one, torch.Tensor):
                    self._add(one.untyped_storage())
            return results

        def _add(self, storage: Any) -> None:
            # Views share a storage, which counts once, until nothing uses it.
            if storage._cdata in self.storages:
                return
            self.storages[storage._cdata] = storage.nbytes()
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._drop, storage._cdata)

        def _drop(self, address: int) -> None:
            self.now -= self.storages.pop(address)

        def restart(self) -> int:
            peak, self.peak = self.peak, self.now
            return peak

    with Alive() as alive:
        yield alive
