"""
The one module in which a model writes: how tokens are drawn, where a text ends, what fits at once.

Prompts are filled up on the left. A text ends with the first of `end_tokens`, or after a number of
tokens. Every other setting is an argument: what a model's folder says of sampling is not followed.
"""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from traces.config.registries import Sampler
from traces.seeding import named_seed

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Draw:
    """
    Which noise a text is sampled with.

    A generator with this seed fills a block of `lines` rows at every step, and the text takes one
    of them. Texts with the same draw share their noise, and no other text of a batch matters.
    """

    seed: int
    line: int = 0
    "Row of the block, counted from 0."
    lines: int = 1

    @classmethod
    def named(cls, seed: int, *names: str | int) -> "Draw":
        """A draw with a generator of its own."""
        return cls(named_seed(seed, *names))


@dataclass(frozen=True)
class Written:
    """What a model wrote after one prompt."""

    ids: list[int]
    "The new tokens, the one that ends the text among them."
    ended: bool
    "Whether such a token was written; else the text was cut."

    @property
    def said(self) -> list[int]:
        """The tokens without the one that ends the text."""
        return self.ids[:-1] if self.ended else self.ids


@dataclass
class Room:
    """
    The most texts that a job still tries to write at once, by what failed for want of memory.

    Use one for all batches and models of a job. Each failure costs the steps that led to it, so a
    number of texts that failed is not tried again.
    """

    most: float = math.inf


def end_tokens(model: Any, tokenizer: Any) -> set[int]:
    """Every token that ends a turn, by the tokenizer and by the model's own generation settings."""
    configured = getattr(model.generation_config, "eos_token_id", None)
    listed = configured if isinstance(configured, list) else [configured]
    return {token for token in [tokenizer.eos_token_id, *listed] if token is not None}


def write(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    sampler: Sampler | None = None,
    draws: Sequence[Draw] = (),
    during: Callable[[slice], AbstractContextManager[Any]] = lambda _rows: nullcontext(),
    room: Room | None = None,
) -> list[Written]:
    """
    One text after every prompt, all at once, or in halves where there is no memory for all.

    prompts : token ids
    sampler : how tokens are drawn; None takes the likeliest token
    draws   : one a prompt, for a sampler
    during  : a context in which the given rows of `prompts` are read and written, such as one that
              adds vectors to the residual stream
    room    : what earlier calls of this job learned about memory

    In float32 a text does not depend on what else is in its batch. In bfloat16 a batch of another
    size rounds otherwise, and some texts differ: how much memory was free is then seen in them.

    Raises ValueError if the tokenizer cannot pad, or if there is not one draw a sampled prompt.
    """
    if tokenizer.pad_token_id is None:
        raise ValueError(f"{tokenizer.name_or_path}: the tokenizer has no padding token")
    if sampler is not None and len(draws) != len(prompts):
        raise ValueError(f"found {len(draws)} draws, expected one for each of {len(prompts)} texts")
    known = room or Room()

    def batch(rows: slice) -> list[Written]:
        steps = [] if sampler is None else [*_kept(sampler), _Noise(draws[rows])]
        with during(rows):
            return _decode(model, tokenizer, prompts[rows], max_new_tokens, steps)

    return _in_room(batch, slice(0, len(prompts)), known)


def text_of(tokenizer: Any, written: Written) -> str:
    """What was said as text, without special tokens and without white space around it."""
    return str(tokenizer.decode(written.said, skip_special_tokens=True)).strip()


def _in_room(batch: Callable[[slice], list[Written]], rows: slice, room: Room) -> list[Written]:
    """What `batch` gives for these rows, in halves where a size has failed or fails now."""
    size = rows.stop - rows.start
    if size <= room.most:
        found = _unless_out_of_memory(batch, rows)
        if found is not None:
            return found
        room.most = math.ceil(size / 2)
        log.warning("no room for %d texts at once, at most %d from now on", size, room.most)
    middle = rows.start + size // 2
    halves = slice(rows.start, middle), slice(middle, rows.stop)
    return [one for half in halves for one in _in_room(batch, half, room)]


def _unless_out_of_memory(
    batch: Callable[[slice], list[Written]], rows: slice
) -> list[Written] | None:
    """What `batch` gives; None where there is no memory for these rows, if they are several."""
    import torch

    try:
        return batch(rows)
    except RuntimeError as error:
        # cuBLAS takes memory of its own, and reports its lack in words only
        lacking = isinstance(error, torch.OutOfMemoryError)
        if not lacking and "CUBLAS_STATUS_ALLOC_FAILED" not in str(error):
            raise
        if rows.stop - rows.start == 1:
            raise
    torch.cuda.empty_cache()  # here, where the failed attempt is no longer held
    return None


def _decode(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    steps: Sequence[Any],
) -> list[Written]:
    """The likeliest tokens after every prompt, once each of `steps` has changed the logits."""
    import torch

    pad, width = tokenizer.pad_token_id, max(map(len, prompts))
    ends = sorted(end_tokens(model, tokenizer))
    where = model.get_input_embeddings().weight.device
    filled = [width - len(one) for one in prompts]
    ids = [[pad] * n + [*one] for n, one in zip(filled, prompts, strict=True)]
    real = [[0] * n + [1] * (width - n) for n in filled]
    with torch.inference_mode(), _no_settings_of_its_own(model):
        out = model.generate(
            input_ids=torch.tensor(ids, device=where),
            attention_mask=torch.tensor(real, device=where),
            max_new_tokens=max_new_tokens,
            do_sample=False,
            num_beams=1,
            repetition_penalty=1.0,
            logits_processor=[*steps],
            eos_token_id=ends or None,
            pad_token_id=pad,
            use_cache=True,
        )
    return [_ended(new, ends) for new in out[:, width:].tolist()]


def _ended(new: list[int], ends: Sequence[int]) -> Written:
    """The tokens up to the first of `ends`: what follows is filling."""
    last = next((i for i, token in enumerate(new) if token in ends), None)
    return Written(new, False) if last is None else Written(new[: last + 1], True)


@contextmanager
def _no_settings_of_its_own(model: Any) -> Iterator[None]:
    """
    Without what the model's generation_config.json says, which fills in every option left open.

    Penalties, forbidden words, time limits and the like are dozens of options, and more with every
    version of the library. An empty configuration leaves all of them at the library's defaults.
    """
    from transformers import GenerationConfig

    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    configured = inner.generation_config
    inner.generation_config = GenerationConfig()
    try:
        yield
    finally:
        inner.generation_config = configured


def _kept(sampler: Sampler) -> list[Any]:
    """The steps from a model's logits to those that are drawn from, in transformers' order."""
    from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    steps: list[Any] = [TemperatureLogitsWarper(float(sampler.temperature))]
    if sampler.top_k is not None:
        steps.append(TopKLogitsWarper(sampler.top_k))
    if sampler.top_p is not None:
        steps.append(TopPLogitsWarper(float(sampler.top_p)))
    return steps


class _Noise:
    """
    Turns logits into logits + Gumbel noise, whose largest is a sample.

    The noise is minus the logarithm of exponential noise, which `torch.multinomial` divides by: a
    block of many lines draws what sampling that many texts with it would draw.
    """

    def __init__(self, draws: Sequence[Draw]) -> None:
        blocks = list(dict.fromkeys((one.seed, one.lines) for one in draws))
        self.seeds = [seed for seed, _ in blocks]
        self.lines = [lines for _, lines in blocks]
        first = dict(zip(blocks, accumulate(self.lines, initial=0), strict=False))
        self.rows = [first[one.seed, one.lines] + one.line for one in draws]
        self.generators: list[Any] = []

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        import torch

        if not self.generators:
            self.generators = [
                torch.Generator(scores.device).manual_seed(seed) for seed in self.seeds
            ]
        noise = torch.empty((sum(self.lines), scores.shape[-1]), device=scores.device)
        for block, generator in zip(noise.split(self.lines), self.generators, strict=True):
            block.exponential_(generator=generator)
        return scores.float() - noise.log_()[self.rows]
