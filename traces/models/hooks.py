"""
Read, change or cut short a model's residual stream, through hooks on its decoder layers.

Everything here is a context manager that leaves the model as it found it, whatever happens inside.
A layer is a decoder block. Its output is the residual stream after it: a Tensor [batch, sequence,
d_model], or a tuple that begins with one.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn


def decoder_layers(model: Any) -> nn.ModuleList:
    """
    Find the decoder blocks of a causal language model, in order, with or without a PEFT adapter.

    Raises ValueError when no list of modules in it is as long as its configuration says.
    """
    # By length, not by name: architectures call the list layers, h or blocks, and a vision-language
    # model has another one for its images.
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    decoder = inner.get_decoder() if hasattr(inner, "get_decoder") else inner
    expected = inner.config.get_text_config(decoder=True).num_hidden_layers
    level = [decoder]
    # Level by level: the list lies near the top, above thousands of modules.
    while level:
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
    Yield a dictionary that every forward pass in the block fills with the output of `layers`.

    layers : block indices; the dictionary's values are [batch, sequence, d_model], the tensors
             themselves and no copies

    Enter it before `stop_after`: hooks of one layer run in the order in which they were entered.
    """
    blocks = decoder_layers(model)
    seen: dict[int, Tensor] = {}
    with ExitStack() as hooks:
        for index in layers:
            # A default argument binds the index now; a closure would see the last one of the loop.
            def keep(hidden: Tensor, index: int = index) -> Tensor:
                seen[index] = hidden
                # Returned, not None: the same hook serves the functions that change what they see.
                return hidden

            hooks.enter_context(_rewritten(blocks[index], keep))
        yield seen


@contextmanager
def stop_after(model: Any, layer: int) -> Iterator[None]:
    """
    Leave the block as soon as `layer` has its output: nothing above it runs, nor does the head.

    Put one forward pass into a block, since the rest of the block is skipped with it.
    """
    # An exception is the only way out of a forward pass; no library has to be patched for it. An
    # instance of its own lets a nested `stop_after` tell whose it is.
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
    """Add `vector` [d_model] or [batch, d_model] to the output of `layer` at every token."""
    with _rewritten(layer, lambda hidden: hidden + _rows(vector, hidden)):
        yield


@contextmanager
def replaced(layer: nn.Module, vector: Tensor, positions: slice = slice(None)) -> Iterator[None]:
    """
    Replace the output of `layer` at `positions` by `vector` [d_model] or [batch, d_model].

    `slice(-1, None)` is the last token of the sequence; the default is every token.
    """

    def replace(hidden: Tensor) -> Tensor:
        # A clone: the block's output may share memory with what autograd or a cache still needs.
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
    Project `direction` [d_model] out of the output of `layer` at every token.

    direction  : any length but zero; it is normalised to a unit vector u
    coordinate : [batch, sequence], written along u instead of 0: say, the base model's h . u

    The projection is computed in float32 and cast back; gradients flow through it. Raises
    ValueError for a zero direction.
    """
    norm = direction.float().norm()
    if not norm > 0:
        raise ValueError(f"cannot project out a direction of norm {norm.item()}")
    unit = direction.float() / norm

    def project(hidden: Tensor) -> Tensor:
        u = unit.to(hidden.device)
        # Autocast would compute the dot product in bfloat16, whose rounding leaves part of the
        # direction in.
        with torch.autocast(hidden.device.type, enabled=False):
            shift = -(hidden.float() @ u)
        if coordinate is not None:
            shift = shift + coordinate.to(shift)
        return (hidden.float() + shift.unsqueeze(-1) * u).to(hidden.dtype)

    with _rewritten(layer, project):
        yield


@contextmanager
def starting_at(model: Any, layer: int, vectors: Tensor) -> Iterator[None]:
    """
    Start every forward pass with `vectors` as the output of `layer`; blocks 0 to `layer` are idle.

    vectors : [batch, d_model], at every position of the input, or [batch, sequence, d_model]; the
              input must have as many rows and, in the second case, tokens

    The skipped blocks put nothing into a key-value cache: do not generate from one used here.
    """
    # The skipped blocks stay in the list, and only their `forward` is set aside. So the blocks
    # above keep their indices, masks, rotary embeddings and slots in a cache.
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
    """Pass the output of `layer` through `rewrite`, be it a tensor or the first of a tuple."""

    def hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        # transformers 5 returns a tensor; older versions, and models with code of their own, a
        # tuple.
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
    """Replace the module's `forward` for as long as the block lasts."""
    # accelerate, which spreads a model over GPUs, sets `forward` on the instance: then that one
    # must come back, and not the class's.
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
    """Shape `vector` [d_model], [batch, d_model] or like `hidden` to broadcast, in its dtype."""
    rows = vector.to(hidden)
    return rows.unsqueeze(1) if rows.ndim == 2 else rows


def _writes_tuples(model: Any) -> bool:
    """Find out whether this architecture's blocks return tuples, by running one token."""
    # By a trial, since no configuration says so and it changed between versions of transformers.
    # Once for a model: a job starts thousands of passes above a block.
    block = decoder_layers(model)[0]
    if block not in _found_tuples:
        _found_tuples[block] = _try_one_token(model, block)
    return _found_tuples[block]


# Weakly: an entry must not keep the weights of a model that nobody uses any more.
_found_tuples: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()


@torch.no_grad()
def _try_one_token(model: Any, block: nn.Module) -> bool:
    found: list[bool] = []
    handle = block.register_forward_hook(lambda _m, _i, out: found.append(isinstance(out, tuple)))
    token = torch.zeros((1, 1), dtype=torch.long, device=model.get_input_embeddings().weight.device)
    try:
        with stop_after(model, 0):
            model(input_ids=token, use_cache=False)
    finally:
        handle.remove()
    return found[0]
