"""Part A, what memory and waiting do: real out-of-memory, a card too small, synchronisations."""

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tools import random_models
from tools.gpucheck import reading
from tools.gpucheck.machine import forget_peak
from tools.gpucheck.models import Case, Small, save_small, small_config
from tools.gpucheck.results import Row, least, most
from tools.gpucheck.right import PART
from traces.models.generation import write
from traces.models.hooks import decoder_layers
from traces.models.room import Room
from traces.models.weights import load_base

NEEDS_A_GPU = "needs a GPU"
ROOM = 0.6
"Share of the memory that all texts together need, which they are given."


def halving(case: Case) -> Iterator[Row]:
    """Write texts for which there is no room at once, and see that they are the same texts."""
    if case.family != "qwen3":
        return
    n = 2048 if case.on_gpu else 24
    prompts = random_models.texts(n, 32, case.size.vocabulary, seed=8)
    with case.exact.tuned() as model:

        def written(room: Room, **options: Any) -> list[list[int]]:
            tokenizer = case.saved.tokenizer
            found = write(model, tokenizer, prompts, max_new_tokens=32, room=room, **options)
            return [one.ids for one in found]

        whole, before, room = written(Room()), _allocated(), Room()
        if case.on_gpu:
            allowed = _taken(lambda: written(Room()))
            parts = written(room, during=lambda _rows: _crowded(allowed))
        else:
            with _rows_capped(model, n):
                parts = written(room)
    share = sum(a == b for a, b in zip(whole, parts, strict=True)) / n
    way = "out of memory on the card" if case.on_gpu else "out of memory raised by a mock"
    head = (PART, case.family, "halving", "float32", way)
    largest = room.most if math.isfinite(room.most) else n
    yield Row(*head, "largest batch kept", largest, f"of {n} texts", most(n - 1))
    yield Row(*head, "texts that are equal", share, "of all", least(1))
    after = _allocated() / before if before else 1.0
    yield Row(*head, "memory after, of before", after, "x", most(1.01))


def _allocated() -> int:
    if not torch.cuda.is_available():
        return 0
    forget_peak(torch.device("cuda"))
    return torch.cuda.memory_allocated()


def _taken(work: Callable[[], Any]) -> int:
    """Run `work`, and return what is held now and `ROOM` of what it takes beyond that, in bytes."""
    forget_peak(torch.device("cuda"))
    held = torch.cuda.memory_reserved()
    work()
    found = held + ROOM * (torch.cuda.max_memory_reserved() - held)
    forget_peak(torch.device("cuda"))
    return int(found)


@contextmanager
def _crowded(allowed: int) -> Iterator[None]:
    """Fill the card, but for what this process lacks of `allowed` bytes; nothing foresees it."""
    torch.cuda.empty_cache()
    left = max(0, allowed - torch.cuda.memory_allocated())
    free, _ = torch.cuda.mem_get_info()
    ballast = torch.empty(max(0, free - left), dtype=torch.uint8, device="cuda")
    try:
        yield
    finally:
        del ballast


def capped(
    work: Callable[[], Any], model: Any, n: int, *, on_gpu: bool
) -> AbstractContextManager[None]:
    """Leave too little memory for `work`, which writes `n` texts; on a CPU by a mock."""
    return _card_capped(_taken(work)) if on_gpu else _rows_capped(model, n)


@contextmanager
def _card_capped(allowed: int) -> Iterator[None]:
    """Let torch take no more than `allowed` bytes of the card, which it knows beforehand."""
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(allowed / total)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


@contextmanager
def _rows_capped(model: Any, n: int) -> Iterator[None]:
    """Raise what a full card raises, in the third pass over more rows than there is room for."""
    passes = 0

    def hook(_block: nn.Module, inputs: Any) -> None:
        nonlocal passes
        passes += 1
        if len(inputs[0]) > ROOM * n and passes > 2:
            raise torch.OutOfMemoryError("out of memory, says a mock")

    handle = decoder_layers(model)[0].register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


# A card that is too small -----------------------------------------------------------------------


def too_small(case: Case) -> Iterator[Row]:
    """Load a model for which the card has too little room: refused, or the same with a switch."""
    if case.family != "llama":
        return
    head = (PART, "llama", "card too small", "float32")
    if not case.on_gpu:
        yield Row(*head, "", "refused", math.nan, "", None, NEEDS_A_GPU)
        return
    size = Small(d_model=2048)
    saved = save_small(case.saved.base.parent / "wide", "llama", small_config("llama", size))
    ids = torch.tensor(random_models.texts(2, 16, size.vocabulary))
    with torch.no_grad():
        truth = load_base(saved.base)(input_ids=ids.cuda()).logits
        weights = sum(file.stat().st_size for file in saved.base.glob("*.safetensors"))
        with _ballast(int(0.7 * weights)):
            yield Row(*head, "room for .7 of it", "refused", _refused(saved.base), "", least(1))
            offload: dict[str, Any] = {"offload": True}
            found = load_base(saved.base, **offload)(input_ids=ids.cuda()).logits
    apart = float((found - truth).abs().max())
    yield Row(*head, "a part in main memory, on request", "largest difference", apart, "", most(0))


def _refused(folder: Path) -> float:
    try:
        load_base(folder)
    except ValueError:
        return 1.0
    return 0.0


@contextmanager
def _ballast(left: int) -> Iterator[None]:
    """Fill the card but for `left` bytes."""
    forget_peak(torch.device("cuda"))
    free, _ = torch.cuda.mem_get_info()
    ballast = torch.empty(free - left, dtype=torch.uint8, device="cuda")
    try:
        yield
    finally:
        del ballast
        forget_peak(torch.device("cuda"))


# Waiting ----------------------------------------------------------------------------------------


def waits(case: Case) -> Iterator[Row]:
    """Count how often the host waits for the device in one batch of a dump."""
    head = (PART, case.family, "waits", "float32", "one batch of a dump")
    if not case.on_gpu:
        yield Row(*head, "synchronisations", math.nan, "", None, NEEDS_A_GPU)
        return
    texts = random_models.texts(8, 40, case.size.vocabulary)
    layers = range(case.size.layers)
    with case.exact.base() as model:

        def dump() -> None:
            list(reading.streams(model, texts, layers, range(40), batch_tokens=8 * 40))

        dump()
        found = _synchronisations(dump)
    yield Row(*head, "synchronisations", found, "", most(len(layers) + 2))


def _synchronisations(work: Callable[[], Any]) -> int:
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            work()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing" in str(one.message) for one in caught)
