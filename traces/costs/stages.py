"""
Count what a GPU does in each stage: passes, decoding, a training, the causal effect.

Models are built on the meta device at their real shapes, with one and two decoder layers. A layer
costs what the second one adds, and all others cost the same. Every cost is a Cost: the seconds in
which kernels run and the number of kernels, by which it can be added up and compared with a clock.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

from traces.config.registries import Shape
from traces.config.vocabularies import Attention, Family, Intervention

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
RANK = 64
"Of an adapter, where it matters little: 32 would make a tuned pass 1 % cheaper."
STEP_BYTES = 28
"""
Bytes an AdamW step moves for a trained number: number, gradient and two moments in float32 are
read, the number and the moments written.
"""


class Sized(NamedTuple):
    """Hold all of a model that its cost depends on."""

    shape: Shape
    family: Family
    attention: Attention | None = None
    rank: int = 0
    "Rank of the adapter beside the weights; 0 for none."


class Cost(NamedTuple):
    """Hold seconds in which kernels run on an H100, and how many kernels."""

    busy: float
    kernels: float

    def plus(self, other: "Cost") -> "Cost":
        return Cost(self.busy + other.busy, self.kernels + other.kernels)

    def times(self, factor: float) -> "Cost":
        return Cost(self.busy * factor, self.kernels * factor)

    @property
    def seconds(self) -> float:
        """The larger of the kernels' seconds and those of their launches: a lower bound."""
        from traces.costs.kernels import H100

        return max(self.busy, self.kernels * H100.launch)


def model_of(sized: Sized, layers: int) -> Any:
    """Build a model of this shape in bfloat16 on the meta device, as a reading loads it."""
    import torch
    from transformers import AutoModelForCausalLM

    from traces.costs.shapes import model_config

    config = model_config(sized.shape, sized.family, layers)
    config._attn_implementation = sized.attention or "sdpa"
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model = model.eval().requires_grad_(False)
    if not sized.rank:
        return model
    from traces.models.reading_lora import in_own_format

    tuned = adapted(model, sized.rank)
    in_own_format(tuned)
    return tuned.eval().requires_grad_(False)


def adapted(model: Any, rank: int) -> Any:
    """Put a LoRA on all linear modules of a model's layers, as PEFT makes one for a training."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=list(TARGETS))
    return get_peft_model(model, config, low_cpu_mem_usage=True)


def extrapolated(count: Callable[[int], Cost], layers: float, first: int = 1) -> Cost:
    """Count two depths, `first` and twice that, and go on along their line to `layers`."""
    one, two = count(first), count(2 * first)
    layer = two.plus(one.times(-1)).times(1 / first)
    return one.plus(layer.times(layers - first))


def counted(call: Callable[[], Any]) -> Cost:
    """Count a call on meta tensors, without gradients."""
    import torch

    from traces.costs.kernels import H100, counting

    with torch.no_grad(), counting() as found:
        call()
    return Cost(found.busy(H100), len(found.kernels))


@cache
def forward(sized: Sized, rows: int, length: int, depth: float = 1.0) -> Cost:
    """
    Count one forward pass over rows of equal length, without a cache.

    depth : the share of the layers that is run; the head runs at one token of each row
    """
    import torch

    def count(layers: int) -> Cost:
        model = model_of(sized, layers)
        ids = torch.zeros((rows, length), dtype=torch.long, device="meta")
        return counted(lambda: model(input_ids=ids, use_cache=False, logits_to_keep=1))

    return extrapolated(count, depth * sized.shape.layers)


def decoded(sized: Sized, rows: int, piece: int) -> Cost:
    """Count the readout in float32 of so many rows, of which `piece` logits exist at once."""
    import torch

    from traces.models.weights import readout_of

    model = model_of(sized._replace(rank=0), 1)
    at_once = max(1, piece // sized.shape.vocabulary)
    hidden = torch.empty((at_once, sized.shape.d_model), dtype=torch.bfloat16, device="meta")
    once = counted(lambda: readout_of(model).precise(hidden).log_softmax(dim=-1))
    return once.times(rows / at_once)


@cache
def compared_texts(sized: Sized, rows: int, length: int, piece: int) -> Cost:
    """
    Count what a reader of next tokens takes: both models over texts, the readout at every token.

    rows, length : texts, and tokens of each
    piece        : logits that exist at once
    """
    both = forward(sized, rows, length).plus(forward(sized._replace(rank=0), rows, length))
    return both.plus(decoded(sized, rows * length, piece).times(2))


@cache
def weight_change(sized: Sized, blocks: int) -> Cost:
    """
    Count what a reader of weights takes: randomised decompositions of two models' own matrices.

    blocks : those whose directions are read. The change by an adapter is as thin as its rank and
             takes next to nothing beside them
    """
    from traces.costs.kernels import H100
    from traces.models.weight_changes import ROUNDS, SPARE

    shape = sized.shape
    inputs = shape.heads * shape.head_dim + shape.d_ff
    # A product with the matrix and one with its transpose a round, in float32, and one more pair.
    passes = 2 * (ROUNDS + 1)
    numbers = shape.d_model * inputs
    arithmetic = 2 * passes * numbers * (1 + SPARE) / H100.single
    moved = passes * numbers * 4 / H100.bandwidth
    return Cost(max(arithmetic, moved), 4 * passes).times(2 * blocks)


@cache
def step(sized: Sized, rows: int, cached: int) -> Cost:
    """Count one step of decoding: a token of every row, with `cached` tokens before it."""
    import torch

    from traces.models.cache import cache_of

    def count(layers: int) -> Cost:
        model, shape = model_of(sized, layers), sized.shape
        before = cache_of(model, cached + 1)
        sizes = (rows, shape.kv_heads, cached, shape.head_dim)
        held = torch.zeros(sizes, dtype=torch.bfloat16, device="meta")
        for layer in range(layers):
            before.update(held, held, layer)
        ids = torch.zeros((rows, 1), dtype=torch.long, device="meta")
        return counted(
            lambda: model(input_ids=ids, past_key_values=before, use_cache=True, logits_to_keep=1)
        )

    return extrapolated(count, sized.shape.layers)


@cache
def training_pass(sized: Sized, rows: int, length: int, recomputed: bool) -> Cost:
    """
    Count forward and backward pass over packed rows: of an adapter, or without one of all weights.

    recomputed : with gradient checkpointing, which runs the layers forward once more

    All in bfloat16: casts of autocast are left out.
    """
    import torch

    from traces.costs.kernels import H100, counting

    def count(layers: int) -> Cost:
        plain = model_of(sized._replace(rank=0), layers)
        model = adapted(plain, sized.rank) if sized.rank else plain.requires_grad_(True)
        model = model.to(torch.bfloat16).train()
        ids = torch.zeros((rows, length), dtype=torch.long, device="meta")
        with counting() as found:
            model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        return Cost(found.busy(H100), len(found.kernels))

    cost = extrapolated(count, sized.shape.layers)
    # The layers alone, as many as there are, without embedding and head.
    again = forward(sized, rows, length).plus(forward(sized, rows, length, 0.0).times(-1))
    return cost.plus(again) if recomputed else cost


def optimizer_step(sized: Sized) -> Cost:
    """Count one AdamW step over an adapter's numbers, or over all of a model's."""
    from traces.costs.kernels import H100
    from traces.costs.shapes import linears, parameters

    numbers = parameters(sized.shape, sized.family)
    if sized.rank:
        each = sum(sized.rank * (one.inputs + one.outputs) for one in linears(sized.shape))
        numbers = each * sized.shape.layers
    # Fused: a few kernels, whatever the number of tensors.
    return Cost(numbers * STEP_BYTES / H100.bandwidth, 10)


@cache
def causal_text(
    sized: Sized,
    length: int,
    positions: int,
    interventions: Sequence[Intervention],
    controlled: Sequence[Intervention],
    controls: int,
    batch: int,
) -> Cost:
    """Count the causal effect on one text of `length` tokens, by its own code."""
    import numpy as np
    import pandas as pd

    from traces.interventions import causality
    from traces.interventions.directions import Directions
    from traces.models.weights import Pair, layer_index

    kinds = ["difference"] * positions + ["random"] * controls
    rows = pd.DataFrame({"direction": kinds, "direction_id": range(len(kinds))})
    rows["position"] = pd.array([*range(positions), *[None] * controls], "Int64")
    units = np.eye(len(kinds), sized.shape.d_model, dtype=np.float32)
    text = causality.Text(list(range(length)), list(range(1, length)), 0)

    def count(layers: int) -> Cost:
        plan = causality.Plan(
            Directions(rows, units),
            layer_index(0.5, layers),
            interventions,
            controlled,
            range(positions),
            0,
            batch,
        )
        # As many texts as share a pass.
        tried = max(len(plan.tried(one)) for one in causality.MODELS)
        several = [text] * max(1, batch // (1 + tried))
        pair = Pair(model_of(sized, layers))

        def merge() -> None:
            with pair.tuned(merged_above=plan.layer):
                pass

        counted(merge)  # the first time it is also compared with what was before
        job = counted(lambda: causality.effects(pair, {"own": several}, plan))
        # Once a job, and not for each text.
        return job.plus(counted(merge).times(-1)).times(1 / len(several))

    # Even depths, half of which lies above the middle block.
    return extrapolated(count, sized.shape.layers, first=2)
