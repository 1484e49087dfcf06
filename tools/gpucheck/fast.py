"""
Part B: is it fast? Two models of real shape, every stage against the straightforward way.

Both ways run in this process by turns. A share of the roofline is the least time that the measured
peak and bandwidth allow for what the stage must compute and read, over the time it took. What must
be computed counts matrices of weights only: attention itself comes on top, so a share is a little
too low.
"""

import contextlib
import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tools import random_models, straightforward
from tools.gpucheck import reading, room
from tools.gpucheck.machine import (
    GB,
    Machine,
    busy_share,
    by_turns,
    forget_peak,
    median_seconds,
    memory,
)
from tools.gpucheck.models import (
    Real,
    Saved,
    head_weights,
    linear_weights,
    save_real,
    workplace,
)
from tools.gpucheck.results import Row, Wanted, failure, least, most
from tools.straightforward import ids_of, plan_of
from traces.costs.shapes import parameters
from traces.interventions.causality import Text, effects
from traces.models.draws import Draw
from traces.models.generation import write
from traces.models.hooks import decoder_layers
from traces.models.room import Room
from traces.models.weights import Pair, readout_of
from traces.readers.logit_lens import logit_lens
from traces.readers.patchscope import patchscope

PART = "fast"
MODELS = ("qwen3_1_7b", "llama31_8b_instruct")
"Of config/models.yaml."
BYTES = 2
"Of a number in bfloat16."


@dataclass(frozen=True)
class Amounts:
    """How much each stage does."""

    dumped: int = 2000
    "Texts whose first five tokens are read."
    dump_tokens: int = 8192
    "In a forward pass of a dump."
    rows: int = 16
    length: int = 512
    "Tokens of each of `rows` texts in one forward pass."
    vectors: int = 40
    patched: int = 8
    "Vectors, each read with both signs and `scales`."
    scales: tuple[float, ...] = tuple(0.5 + number / 10 for number in range(16))
    intersection: int = 16_384
    written: int = 512
    new_tokens: int = 200
    halved: int = 1500
    halved_tokens: int = 64
    read: int = 4
    read_tokens: int = 500
    directions: int = 138
    packed: int = 4
    packed_tokens: int = 1024
    budget: float = 10.0
    "Seconds for a stage, both ways together."


TINY = Amounts(
    dumped=40,
    rows=2,
    length=32,
    vectors=4,
    patched=1,
    scales=(0.5, 1.0),
    intersection=128,
    written=8,
    new_tokens=8,
    halved=10,
    halved_tokens=8,
    read=2,
    read_tokens=24,
    directions=5,
    packed=2,
    packed_tokens=64,
    budget=0.3,
)


@dataclass(frozen=True)
class Subject:
    """Hold a model of real shape, loaded, and what is measured of it."""

    machine: Machine
    shape: Real
    amounts: Amounts
    saved: Saved
    pair: Pair

    @property
    def middle(self) -> int:
        return (self.shape.sizes.layers - 1) // 2

    @property
    def vocabulary(self) -> int:
        return self.shape.sizes.vocabulary

    def texts(self, n: int, length: int) -> list[list[int]]:
        return random_models.texts(n, length, self.vocabulary)

    def vectors(self, n: int) -> np.ndarray:
        return random_models.vectors(n, self.shape.sizes.d_model)

    def row(
        self, stage: str, way: str, quantity: str, value: float, unit: str, wanted: Wanted | None
    ) -> Row:
        # On a CPU, at tiny shapes, nothing of speed is judged.
        judged = wanted if self.machine.on_gpu else None
        return Row(PART, self.shape.name, stage, "bfloat16", way, quantity, value, unit, judged)


@dataclass(frozen=True)
class Stage:
    """Hold what one stage does in both ways, and what is wanted of it."""

    name: str
    ours: Callable[[], Any]
    amount: float
    unit: str
    plain: Callable[[], Any]
    plain_amount: float
    way: str
    "The straightforward way, in words."
    flops: float = 0.0
    exact: float = 0.0
    moved: float = 0.0
    "Operations in bfloat16, those in float32, and bytes that ours cannot do without."
    share: float | None = None
    ratio: float | None = None
    busy: float | None = None
    profiled: Callable[[], Any] | None = None
    "A smaller piece of ours, where all of it would be too much for the profiler."


def measured(subject: Subject, stage: Stage) -> Iterator[Row]:
    """Time a stage in both ways, and read its memory."""
    device = subject.machine.device
    forget_peak(device)
    piece = stage.profiled or stage.ours
    piece()
    busy = busy_share(piece, device)
    works = {"ours": stage.ours, "plain": stage.plain}
    took = by_turns(works, device, budget=subject.amounts.budget)
    rate, plain_rate = stage.amount / took["ours"], stage.plain_amount / took["plain"]
    allowed = subject.machine.roofline(stage.flops, stage.moved, stage.exact)

    def row(quantity: str, value: float, unit: str, limit: Wanted | None = None) -> Row:
        return subject.row(stage.name, stage.way, quantity, value, unit, limit)

    def wanted(number: float | None) -> Wanted | None:
        return None if number is None else least(number)

    yield row("time", took["ours"], "s")
    yield row("rate", rate, f"{stage.unit}/s")
    yield row("share of roofline", allowed / took["ours"], "", wanted(stage.share))
    yield row("ratio to straightforward", rate / plain_rate, "x", wanted(stage.ratio))
    if subject.machine.on_gpu:
        yield row("kernels run", busy, "of the time", wanted(stage.busy))
    # Of ours alone: the straightforward way has another peak.
    forget_peak(device)
    if subject.machine.on_gpu:
        stage.ours()
    for quantity, value in memory(device).items():
        yield row(quantity, value, "" if quantity.endswith("retries") else "GB")


# Stages -----------------------------------------------------------------------------------------


def dump(subject: Subject) -> Iterator[Row]:
    """Read five tokens of many texts at the middle layer, of both models."""
    amounts, middle, plain_texts = subject.amounts, subject.middle, 32
    read = subject.texts(amounts.dumped, 5)
    whole = subject.texts(plain_texts, min(128, 4 * amounts.length))

    def ours() -> None:
        for side in ("tuned", "base"):
            with getattr(subject.pair, side)() as model:
                for _ in reading.streams(model, read, [middle], range(5), amounts.dump_tokens):
                    pass

    lower = linear_weights(subject.pair.tuned_model, 0, middle + 1)
    yield from measured(
        subject,
        Stage(
            "dump, base and tuned",
            ours,
            amounts.dumped,
            "texts",
            lambda: straightforward.difference(subject.pair, whole, middle),
            plain_texts,
            "texts of 128 tokens, all hidden states, head",
            flops=2 * 2 * lower * amounts.dumped * 5,
            share=0.5 if subject.shape.large else 0.3,
            ratio=20,
        ),
    )


def tuned_pass(subject: Subject) -> Iterator[Row]:
    """Run one forward pass of the tuned model, and one of its base."""
    model, device = subject.pair.tuned_model, subject.machine.device
    ids = ids_of(model, subject.texts(subject.amounts.rows, subject.amounts.length))
    inner = model.get_base_model().get_decoder()

    @torch.inference_mode()
    def one_pass() -> None:
        inner(input_ids=ids, use_cache=False)

    took: dict[str, list[float]] = {"tuned": [], "base": []}
    for _turn in range(3):
        for side, some in took.items():
            # The switch itself is not timed: a job makes it once for many passes.
            with getattr(subject.pair, side)():
                some.append(median_seconds(one_pass, device))
    spent = {side: float(np.median(some)) for side, some in took.items()}
    allowed = subject.machine.roofline(2 * linear_weights(model) * ids.numel(), 0)
    name, way = "forward pass", f"tuned, against base, {ids.numel()} tokens"
    for side, seconds in spent.items():
        yield subject.row(name, side, f"time, {side}", seconds, "s", None)
        yield subject.row(name, side, f"share of roofline, {side}", allowed / seconds, "", None)
    yield subject.row(name, way, "tuned, of base", spent["tuned"] / spent["base"], "x", most(1.3))


def lens(subject: Subject) -> Iterator[Row]:
    """Read vectors through the readout."""
    vectors = subject.vectors(subject.amounts.vectors)
    with subject.pair.base() as model:
        readout = readout_of(model)
        yield from measured(
            subject,
            Stage(
                "logit lens",
                lambda: logit_lens(readout, vectors, top_k=straightforward.TOP_K),
                len(vectors),
                "vectors",
                lambda: straightforward.logit_lens(readout, vectors),
                len(vectors),
                "one vector at a time",
                # Tokens are ranked by float32 logits.
                exact=2 * head_weights(model) * 2 * len(vectors),
                moved=BYTES * head_weights(model),
                share=0.3,
                ratio=5,
            ),
        )


def patched(subject: Subject) -> Iterator[Row]:
    """Read vectors through the layers above, at every sign, scale and prompt."""
    amounts, tokenizer = subject.amounts, subject.saved.tokenizer
    vectors, prompts = subject.vectors(amounts.patched), random_models.prompts()
    options: dict[str, Any] = {"layer": subject.middle, "norm": 30.0, "prompts": prompts}
    options |= {"scales": amounts.scales, "intersection_top_k": amounts.intersection}
    rows = len(vectors) * 2 * len(amounts.scales)
    with subject.pair.tuned() as model:
        above, head = linear_weights(model, subject.middle + 1), head_weights(model)
        yield from measured(
            subject,
            Stage(
                "Patchscope",
                lambda: patchscope(
                    model, tokenizer, vectors, top_k=straightforward.TOP_K, **options
                ),
                rows,
                "readings",
                lambda: straightforward.patchscope(model, tokenizer, vectors[:1], **options),
                rows / len(vectors),
                "the whole prompt for every reading",
                flops=2 * above * rows * len(prompts),
                exact=2 * head * rows * len(prompts),
                moved=BYTES * (above + head) * len(prompts),
                share=0.3,
                ratio=10,
            ),
        )


def decode(subject: Subject) -> Iterator[Row]:
    """Write texts with the tuned model, each with its own draws."""
    amounts, sizes = subject.amounts, subject.shape.sizes
    prompt = 16
    prompts = subject.texts(amounts.written, prompt)
    from tools.gpucheck.texts import SAMPLER

    with subject.pair.tuned() as model:

        def ours(tokens: int = amounts.new_tokens) -> None:
            draws = [Draw.named(0, "text", number) for number in range(len(prompts))]
            options: dict[str, Any] = {"sampler": SAMPLER, "draws": draws}
            write(model, subject.saved.tokenizer, prompts, max_new_tokens=tokens, **options)

        few = prompts[:32]

        @torch.inference_mode()
        def plain() -> None:
            settings: dict[str, Any] = {"do_sample": True, "pad_token_id": 0, "top_k": 0}
            settings |= {"eos_token_id": None, "max_new_tokens": amounts.new_tokens}
            model.generate(input_ids=ids_of(model, few), **settings)

        weights = linear_weights(model) + head_weights(model)
        key = 2 * sizes.kv_heads * sizes.head_dim * sizes.layers
        length = prompt * amounts.new_tokens + amounts.new_tokens**2 / 2
        yield from measured(
            subject,
            Stage(
                "decode",
                ours,
                len(prompts) * amounts.new_tokens,
                "tokens",
                plain,
                len(few) * amounts.new_tokens,
                "`generate` of 32 texts",
                flops=2 * weights * len(prompts) * amounts.new_tokens,
                moved=BYTES * (weights * amounts.new_tokens + len(prompts) * key * length),
                share=0.4,
                ratio=5,
                # A step at most 1.4 times as long as its kernels.
                busy=1 / 1.4,
                profiled=lambda: ours(min(8, amounts.new_tokens)),
            ),
        )


def thrown_away(subject: Subject) -> Iterator[Row]:
    """Write texts with too little memory, and count what was computed and then thrown away."""
    amounts = subject.amounts
    prompts = subject.texts(amounts.halved, 16)
    kept = lost = 0
    with subject.pair.tuned() as model:

        @contextmanager
        def during(_rows: Any) -> Iterator[None]:
            nonlocal kept, lost
            counted = [0]

            def hook(_block: Any, inputs: Any) -> None:
                counted[0] += len(inputs[0])

            handle = decoder_layers(model)[0].register_forward_pre_hook(hook)
            try:
                yield
            except RuntimeError:
                lost += counted[0]
                raise
            else:
                kept += counted[0]
            finally:
                handle.remove()

        def work(**options: Any) -> None:
            tokens = amounts.halved_tokens
            write(model, subject.saved.tokenizer, prompts, max_new_tokens=tokens, **options)

        with room.capped(work, model, len(prompts), on_gpu=subject.machine.on_gpu):
            work(room=Room(), during=during)
    way = f"{len(prompts)} texts of {amounts.halved_tokens} tokens, room for {room.ROOM:g} of it"
    share = lost / (kept + lost)
    yield subject.row("halving", way, "steps thrown away", share, "of all", most(0.05))


def causal(subject: Subject) -> Iterator[Row]:
    """Replace many directions, one at a time, and measure the loss."""
    amounts, middle = subject.amounts, subject.middle
    ids = subject.texts(amounts.read, amounts.read_tokens)
    texts = [Text(one, list(range(1, len(one))), 0) for one in ids]
    plan = plan_of(subject.vectors(amounts.directions), middle, batch=64)
    few, model = plan_of(subject.vectors(4), middle), subject.pair.tuned_model
    tokens = amounts.read * (amounts.read_tokens - 1)
    lower = linear_weights(model, 0, middle + 1)
    upper = linear_weights(model, middle + 1) + head_weights(model)
    passes = 1 + amounts.directions
    yield from measured(
        subject,
        Stage(
            "causal",
            lambda: effects(subject.pair, {"own": texts}, plan),
            passes * amounts.read,
            "passes",
            lambda: straightforward.losses(subject.pair, ids[:1], few),
            5,
            "one direction and text a pass",
            flops=2 * tokens * (2 * lower + passes * upper),
            share=0.55 if subject.shape.large else 0.45,
            ratio=8,
            profiled=lambda: effects(subject.pair, {"own": texts[:1]}, few),
        ),
    )


STAGES = {
    "dump": dump,
    "tuned": tuned_pass,
    "logit_lens": lens,
    "patchscope": patched,
    "decode": decode,
    "thrown_away": thrown_away,
    "causal": causal,
}
"Stages of a loaded pair, by the name that `--only` knows."


# A model ----------------------------------------------------------------------------------------


def of_shape(
    machine: Machine, shape: Real, amounts: Amounts, wanted: Callable[[str], bool]
) -> Iterator[Iterator[Row]]:
    """Measure one wanted stage of a model after the other; one that fails leaves the others."""
    from tools.gpucheck import lora

    with workplace(BYTES * parameters(shape.sizes, shape.family)) as folder:
        loaded: list[Pair] = []
        try:
            saved = save_real(folder, shape, machine.device, rank=64 if machine.on_gpu else 4)
            forget_peak(machine.device)
            yield iter(list(load(machine, shape, saved, loaded)))
        except Exception as error:
            yield iter([failure(PART, shape.name, "load", error)])
            return
        subject = Subject(machine, shape, amounts, saved, loaded.pop())
        for name, stage in STAGES.items():
            if wanted(name):
                yield _guarded(stage, subject, shape.name, name)
        del subject
        gc.collect()
        forget_peak(machine.device)
        if wanted("lora"):
            trial = lora.Trial(machine, shape, amounts, saved)
            yield _guarded(lora.step, trial, shape.name, "lora")


def _guarded(
    stage: Callable[[Any], Iterator[Row]], subject: Any, family: str, name: str
) -> Iterator[Row]:
    try:
        yield from stage(subject)
    except Exception as error:
        yield failure(PART, family, name, error)


def load(machine: Machine, shape: Real, saved: Saved, loaded: list[Pair]) -> Iterator[Row]:
    """Load base and adapter as a job does, into `loaded`; time it, and read the host's peak."""
    size = sum(file.stat().st_size for file in saved.base.glob("*.safetensors"))
    before = _host_peak(reset=True)
    start = time.perf_counter()
    loaded.append(saved.pair("bfloat16", on_cpu=False))
    took = time.perf_counter() - start
    peak = _host_peak() - before
    head = (PART, shape.name, "load", "bfloat16", f"{size / GB:.3g} GB, base and adapter")
    judged = machine.on_gpu
    yield Row(*head, "time", took, "s")
    yield Row(*head, "rate", size / GB / took, "GB/s", least(3) if judged else None)
    yield Row(*head, "host memory, of the weights", peak / size, "x", most(1.2) if judged else None)


def _host_peak(reset: bool = False) -> int:
    """Read the most bytes that this process has held; forget it first, where Linux lets us."""
    if reset:
        with contextlib.suppress(OSError):  # some containers do not
            Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024
