"""
Reckon the memory of one training step on one device, from shapes and settings alone.

Every figure is in bytes. The formulas follow what transformers, PEFT and PyTorch keep; a test
compares them with a count at real shapes (traces/costs/counted.py). Not in them: the CUDA context
and fragmentation, for which `ROOM` leaves a share of the card, and the workspace of a kernel.
"""

from dataclasses import dataclass, fields, replace
from typing import NamedTuple

from traces.config.registries import Shape
from traces.config.schema import Training
from traces.config.vocabularies import Attention, Family
from traces.costs.shapes import Linear, layer_parameters, linears, parameters

ROOM = 0.85
"Share of a card that a training may fill."
FLOAT, HALF = 4, 2
# A GB as card makers and the hub count it; an "80 GB" card has 85 of them.
GB = 1e9
# Optimizer states of a trained parameter, in bytes; two float32 moments where none is named.
STATES = {
    "ademamix": 12,
    "paged_ademamix_32bit": 12,
    "ademamix_8bit": 3,
    "paged_ademamix_8bit": 3,
    "sgd": 0,
    "adafactor": 0,
    "adagrad": 4,
    "rmsprop": 4,
    "lion_32bit": 4,
    "paged_lion_32bit": 4,
    "lion_8bit": 1,
    "paged_lion_8bit": 1,
    "rmsprop_bnb_8bit": 1,
    "adamw_bnb_8bit": 2,
    "adamw_8bit": 2,
    "adamw_torch_8bit": 2,
    "adamw_torch_4bit": 1,
    "paged_adamw_8bit": 2,
    "lomo": 0,
    "adalomo": 0,
}
ADAM = 8
# DeepSpeed's own defaults, in elements: gradients are reduced in buckets of this size, and ZeRO-3
# keeps at most so many gathered weights.
REDUCED_AT_ONCE = 500_000_000
GATHERED_AT_ONCE = 1_000_000_000
# DeepSpeed keeps float32 weights and two moments of what it trains in bfloat16.
SHARDED_STATES = 12


@dataclass(frozen=True)
class Memory:
    """Hold the parts of a peak, in bytes on one device; `total` is their sum."""

    weights: float = 0
    "Weights as they are loaded, or this device's share of them."
    trained: float = 0
    "Adapter, gradients and optimizer states; of a full finetune the latter two."
    saved: float = 0
    "What the decoder layers keep for the backward pass."
    logits: float = 0
    "Logits, their float32 copies and their gradients."
    transient: float = 0
    "What one layer's backward pass or the optimizer needs for a moment."
    sharding: float = 0
    "Buckets and gathered weights of several devices."

    @property
    def total(self) -> float:
        return sum(getattr(self, one.name) for one in fields(self))


class Way(NamedTuple):
    """Hold one way to go through the rows of an optimizer step; named as the settings are."""

    batch_size: int
    "Packed rows of one forward pass on one device."
    gradient_accumulation: int
    "Passes summed into one update."
    gradient_checkpointing: bool
    "Layers are computed again in the backward pass, instead of being kept."


class Step(NamedTuple):
    """Hold what the memory of one training step depends on."""

    shape: Shape
    family: Family
    attention: Attention
    training: Training
    "Its settings, but for those that `way` replaces."
    way: Way
    world: int = 1
    "Devices that train together."

    @property
    def tokens(self) -> int:
        """Count the tokens of one forward pass on one device."""
        return self.way.batch_size * self.training.max_length

    @property
    def full(self) -> bool:
        return self.training.method == "full"

    @property
    def gemma(self) -> bool:
        return self.family in ("gemma2", "gemma3")

    @property
    def number(self) -> int:
        """Bytes of a number that linear modules write."""
        return HALF if self.training.precision == "bf16" else FLOAT

    @property
    def autocast(self) -> bool:
        """Check whether float32 weights are cast to bfloat16 in the forward pass."""
        # DeepSpeed casts the weights themselves, once.
        return self.training.precision == "bf16" and self.training.deepspeed is None

    @property
    def weight(self) -> int:
        """Bytes of a base weight, as traces/training/train.py loads it."""
        return FLOAT if self.full and self.training.deepspeed is None else self.number

    def shared(self, stage: int) -> int:
        """Count the devices over which ZeRO spreads what it shards from `stage` on."""
        return self.world if (self.training.deepspeed or 0) >= stage else 1


def adapted(step: Step) -> tuple[Linear, ...]:
    """List the linear modules of a decoder layer that an adapter is put on."""
    targets = step.training.targets
    ends = None if isinstance(targets, str) else {one.rpartition(".")[2] for one in targets}
    return tuple(one for one in linears(step.shape) if ends is None or one.name in ends)


def trained_parameters(step: Step) -> int:
    """Count the parameters that are trained."""
    shape, training = step.shape, step.training
    if step.full:
        return parameters(shape, step.family)
    layer = sum(one.inputs + one.outputs for one in adapted(step))
    ends = () if isinstance(training.targets, str) else training.targets
    outside = {one.rpartition(".")[2] for one in ends} & {"embed_tokens", "lm_head"}
    head = len(outside) * (shape.vocabulary + shape.d_model)
    return training.rank * (shape.layers * layer + head)


def peak(step: Step) -> Memory:
    """Reckon the peak of one optimizer step: the largest of the moments that can be it."""
    moments = (_forward, _at_the_loss, _in_a_layer, _after_backward, _at_the_update)
    return max((moment(step) for moment in moments), key=lambda one: one.total)


# Moments ----------------------------------------------------------------------------------------


def _forward(step: Step) -> Memory:
    """The forward pass ends: accelerate copies the logits to float32, beside those of the loss."""
    # Autocast keeps its copies of all weights until here, even those of checkpointed layers.
    casts = _casts(step) * step.shape.layers if step.way.gradient_checkpointing else 0
    return replace(
        _held(step, gradients=step.way.gradient_accumulation > 1),
        saved=_saved(step) + casts,
        logits=_logits(step) + (step.number + FLOAT) * step.tokens * step.shape.vocabulary,
    )


def _at_the_loss(step: Step) -> Memory:
    """The backward pass begins: all layers have saved, and the logits' gradients are made."""
    return replace(
        _held(step, gradients=step.way.gradient_accumulation > 1),
        saved=_saved(step),
        logits=_logits(step) + 2 * FLOAT * step.tokens * step.shape.vocabulary,
    )


def _in_a_layer(step: Step) -> Memory:
    """The last layer's backward pass: the logits are gone, a checkpointed layer is back."""
    again = layer_saved(step) if step.way.gradient_checkpointing else 0
    return replace(
        _held(step, gradients=step.way.gradient_accumulation > 1 or not step.full),
        saved=_saved(step) + again,
        transient=_layer_transient(step),
    )


def _after_backward(step: Step) -> Memory:
    """All gradients are there; a tied embedding's comes from both of its uses."""
    embedding = step.shape.vocabulary * step.shape.d_model * step.weight if step.full else 0
    return replace(_held(step), transient=embedding)


def _at_the_update(step: Step) -> Memory:
    """The optimizer takes the roots of all second moments at once."""
    roots = FLOAT * trained_parameters(step) / step.shared(1)
    return replace(_held(step), transient=roots)


# Parts ------------------------------------------------------------------------------------------


def _held(step: Step, gradients: bool = True) -> Memory:
    """Reckon what a step begins with: weights and optimizer, and gradients if they are there."""
    count, stage = trained_parameters(step), step.training.deepspeed
    whole = parameters(step.shape, step.family) + step.shape.vision_billions * 1e9
    if stage is None:
        states = STATES.get(step.training.optimizer, ADAM)
        own = 0 if step.full else FLOAT
        trained = count * (own + states + (FLOAT if gradients else 0))
        # DistributedDataParallel reduces gradients in a copy of them.
        buckets = FLOAT * count if step.world > 1 else 0
    else:
        trained = count * SHARDED_STATES / step.shared(1)
        trained += 0 if step.full else count * step.number / step.shared(3)
        trained += count * step.number / step.shared(2) if gradients else 0
        buckets = step.number * min(REDUCED_AT_ONCE, count)
        buckets += step.number * min(GATHERED_AT_ONCE, whole) if stage == 3 else 0
    return Memory(weights=whole * step.weight / step.shared(3), trained=trained, sharding=buckets)


def _saved(step: Step) -> float:
    """Reckon what all layers keep: everything, or with checkpointing the input of each."""
    shape, layers = step.shape, step.shape.layers
    stream = FLOAT if step.full and step.autocast else step.number
    if step.way.gradient_checkpointing:
        return layers * stream * step.tokens * shape.d_model + _masks(step)
    return layers * layer_saved(step)


def layer_saved(step: Step) -> float:
    """Reckon what one decoder layer keeps for its backward pass."""
    shape, tokens, number = step.shape, step.tokens, step.number
    mlp = 3 * number * tokens * shape.d_ff  # gate, up, and the activation of the gate
    return _norms(step) + _attention(step) + mlp + _inputs(step) + _casts(step)


def _norms(step: Step) -> float:
    """Their inputs in float32; if they are trained, what their weights are multiplied with."""
    shape, tokens = step.shape, step.tokens
    stream = FLOAT if step.full and step.autocast else step.number
    queries = (shape.heads + shape.kv_heads) * shape.head_dim
    kept = (4 if step.gemma else 2) * tokens * shape.d_model
    kept_heads = tokens * queries if step.family in ("qwen3", "gemma3") else 0
    if not step.full:
        return FLOAT * (kept + kept_heads)
    # Gemma multiplies in float32, the others in the type of the input.
    of_stream, of_heads = (FLOAT, FLOAT) if step.gemma else (stream, step.number)
    return (FLOAT + of_stream) * kept + (FLOAT + of_heads) * kept_heads


def _attention(step: Step) -> float:
    shape, tokens, number = step.shape, step.tokens, step.number
    queries = number * tokens * shape.heads * shape.head_dim
    # Queries, and keys and values as often as there are queries.
    kept = 3 * queries
    if step.attention == "sdpa":
        # Its output, the logarithm of its sum, and the mask of packed documents.
        return kept + queries + FLOAT * tokens * shape.heads + _masks(step)
    scores = tokens * shape.heads * step.training.max_length
    kept += FLOAT * scores  # the softmax, and its copy
    kept += number * scores if number == HALF else 0
    return kept + (number * scores if step.family == "gemma2" else 0)  # the softcap's tanh


def _masks(step: Step) -> float:
    """The mask of packed documents as numbers; eager attention shares one among all layers."""
    return step.number * step.tokens * step.training.max_length


def _inputs(step: Step) -> float:
    """What linear modules keep of their inputs, and adapters of theirs."""
    shape, tokens, number = step.shape, step.tokens, step.number
    eager = step.attention == "eager"
    if step.full and step.autocast:
        # The norms write float32, which each module casts for itself.
        own = 5 * shape.d_model + shape.d_ff + (shape.heads * shape.head_dim if eager else 0)
        return number * tokens * own
    targets = linears(shape) if step.full else adapted(step)
    ranks = 0 if step.full else number * tokens * step.training.rank * len(targets)
    if not step.full and step.training.dropout > 0:
        # Each adapter drops for itself: what is left, and which.
        return ranks + (number + 1) * tokens * sum(one.inputs for one in targets)
    names = {one.name for one in targets}
    shared = shape.d_model * bool(names & {"q_proj", "k_proj", "v_proj"})
    shared += shape.d_model * bool(names & {"gate_proj", "up_proj"})
    shared += shape.d_ff * ("down_proj" in names)
    # Fused attention keeps its output anyway.
    shared += shape.heads * shape.head_dim * ("o_proj" in names and eager)
    return ranks + number * tokens * shared


def _casts(step: Step) -> float:
    """The bfloat16 copies of a layer's float32 weights, which autocast makes."""
    if not step.autocast:
        return 0
    if step.full:
        return HALF * layer_parameters(step.shape, step.family)
    return HALF * step.training.rank * sum(one.inputs + one.outputs for one in adapted(step))


def _logits(step: Step) -> float:
    """What is kept above the layers: the last norm, the loss, and of a Gemma 2 its softcap."""
    shape, tokens = step.shape, step.tokens
    kept = FLOAT * tokens * (shape.d_model + shape.vocabulary)
    kept += step.number * tokens * shape.vocabulary if step.family == "gemma2" else 0
    if step.full:
        kept += (FLOAT + step.number) * tokens * shape.d_model
        kept += HALF * shape.vocabulary * shape.d_model if step.autocast else 0
    return kept


def _layer_transient(step: Step) -> float:
    """What a layer's backward pass holds beside what is saved."""
    shape, tokens, number = step.shape, step.tokens, step.number
    stream = FLOAT * tokens * shape.d_model
    mlp = stream + 2 * number * tokens * shape.d_ff
    if step.attention == "sdpa":
        return mlp
    # Attention comes after the MLP, which has given back what it saved.
    scores = tokens * shape.heads * step.training.max_length
    return max(mlp, stream + (number + FLOAT) * scores - 4 * number * tokens * shape.d_ff)
