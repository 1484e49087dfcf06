"""
Find the decoder layers of a model; read, add, replace or project a residual stream, or stop early.

Everything here is a context manager that leaves the model as it found it, whatever happens inside.
A layer is a decoder block, and what it writes is the residual stream after it: a Tensor
[batch, sequence, d_model], or a tuple that begins with one.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn


def decoder_layers(model: Any) -> nn.ModuleList:
    """
    The decoder blocks of a causal language model, in order, with or without a PEFT adapter on it.

    Raises ValueError when no list of modules in it is as long as its configuration says.
    """
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    decoder = inner.get_decoder() if hasattr(inner, "get_decoder") else inner
    expected = inner.config.get_text_config(decoder=True).num_hidden_layers
    level = [decoder]
    while level:  # the list lies near the top, above thousands of modules
        level = [child for module in level for child in module.children()]
        for module in level:
            if isinstance(module, nn.ModuleList) and len(module) == expected:
                return module
    raise ValueError(
        f"{type(inner).__name__}: found no list of {expected} decoder layers "
        "(num_hidden_layers of its configuration)"
    )


@contextmanager
def capture(model: Any, layers: Iterable[int]) -> Iterator[dict[int, Tensor]]:
    """
    Yield a dictionary that every forward pass in the block fills with what `layers` write.

    layers : block indices; the dictionary's values are [batch, sequence, d_model], the tensors
             themselves and no copies

    Enter it before `stop_after`: hooks of one layer run in the order in which they were entered.
    """
    blocks = decoder_layers(model)
    seen: dict[int, Tensor] = {}
    with ExitStack() as hooks:
        for index in layers:

            def keep(hidden: Tensor, index: int = index) -> Tensor:
                seen[index] = hidden
                return hidden

            hooks.enter_context(_rewritten(blocks[index], keep))
        yield seen


@contextmanager
def stop_after(model: Any, layer: int) -> Iterator[None]:
    """
    Leave the block as soon as `layer` has written: nothing above it runs, nor does the head.

    One forward pass a block, since the rest of the block is skipped with it.
    """
    stop = _Stop()

    def halt(_module: nn.Module, _inputs: Any, _output: Any) -> None:
        raise stop

    handle = decoder_layers(model)[layer].register_forward_hook(halt)
    try:
        yield
    except _Stop as raised:
        if raised is not stop:
            raise
    finally:
        handle.remove()
        # Its traceback holds the frames, and they the activations, until the cycle is collected.
        stop.__traceback__ = None


@contextmanager
def added(layer: nn.Module, vector: Tensor) -> Iterator[None]:
    """Add `vector` [d_model] or [batch, d_model] to everything `layer` writes."""
    with _rewritten(layer, lambda hidden: hidden + _rows(vector, hidden)):
        yield


@contextmanager
def replaced(layer: nn.Module, vector: Tensor, positions: slice = slice(None)) -> Iterator[None]:
    """
    Write `vector` [d_model] or [batch, d_model] in place of what `layer` writes at `positions`.

    `slice(-1, None)` is the last token of the sequence; all of them without it.
    """

    def replace(hidden: Tensor) -> Tensor:
        hidden = hidden.clone()
        hidden[:, positions] = _rows(vector, hidden)
        return hidden

    with _rewritten(layer, replace):
        yield


@contextmanager
def projected_out(
    layer: nn.Module, direction: Tensor, coordinate: Tensor | None = None
) -> Iterator[None]:
    """
    Take the component along `direction` [d_model] out of everything `layer` writes.

    direction  : any length but zero; a unit vector u is made of it
    coordinate : [batch, sequence], written along u instead of nothing: say, the base model's h . u

    The projection is computed in float32 and cast back; gradients flow through it. Raises
    ValueError for a zero direction.
    """
    norm = direction.float().norm()
    if not norm > 0:
        raise ValueError(f"cannot project out a direction of norm {norm.item()}")
    unit = direction.float() / norm

    def project(hidden: Tensor) -> Tensor:
        u = unit.to(hidden.device)
        with torch.autocast(hidden.device.type, enabled=False):  # which would compute in bfloat16
            shift = -(hidden.float() @ u)
        if coordinate is not None:
            shift = shift + coordinate.to(shift)
        return (hidden.float() + shift.unsqueeze(-1) * u).to(hidden.dtype)

    with _rewritten(layer, project):
        yield


@contextmanager
def starting_at(model: Any, layer: int, vectors: Tensor) -> Iterator[None]:
    """
    Begin every forward pass with `vectors` as what `layer` writes; blocks 0 to `layer` do no work.

    vectors : [batch, d_model], at every position of the input, or [batch, sequence, d_model]; the
              input must be of as many rows and, in the second case, tokens

    The skipped blocks stay where they are (only their `forward` is set aside), so that the blocks
    above keep their indices, masks, rotary embeddings and places in a key-value cache. They put
    nothing into a cache: do not go on generating from one that was used here.
    """
    blocks = decoder_layers(model)
    wrap = (lambda hidden: (hidden,)) if _writes_tuples(model) else (lambda hidden: hidden)

    def passed_on(hidden_states: Tensor, *_args: Any, **_kwargs: Any) -> Any:
        return wrap(hidden_states)

    def begun(hidden_states: Tensor, *_args: Any, **_kwargs: Any) -> Any:
        return wrap(_rows(vectors, hidden_states).expand_as(hidden_states))

    with ExitStack() as swaps:
        for index in range(layer):
            swaps.enter_context(_forward(blocks[index], passed_on))
        swaps.enter_context(_forward(blocks[layer], begun))
        yield


class _Stop(Exception):
    """Raised by `stop_after` in a hook and caught by it."""


@contextmanager
def _rewritten(layer: nn.Module, rewrite: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Pass what `layer` writes through `rewrite`, be it a tensor or the first of a tuple."""

    def hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return (rewrite(output[0]), *output[1:])
        return rewrite(output)

    handle = layer.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _forward(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Set `forward` in the place of the module's own, which may itself be an instance attribute."""
    before = module.__dict__.get("forward")
    module.forward = forward
    try:
        yield
    finally:
        if before is None:
            del module.forward
        else:
            module.forward = before


def _rows(vector: Tensor, hidden: Tensor) -> Tensor:
    """`vector` [d_model], [batch, d_model] or as large as `hidden`, to broadcast, in its dtype."""
    rows = vector.to(hidden)
    return rows.unsqueeze(1) if rows.ndim == 2 else rows


@torch.no_grad()
def _writes_tuples(model: Any) -> bool:
    """Whether this architecture's blocks write tuples: asked of the first, with a single token."""
    found: list[bool] = []
    block = decoder_layers(model)[0]
    handle = block.register_forward_hook(lambda _m, _i, out: found.append(isinstance(out, tuple)))
    token = torch.zeros((1, 1), dtype=torch.long, device=model.get_input_embeddings().weight.device)
    try:
        with stop_after(model, 0):
            model(input_ids=token, use_cache=False)
    finally:
        handle.remove()
    return found[0]
