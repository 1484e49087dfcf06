"""Plan a training: resolve settings, packed rows, steps and what is projected out."""

import math
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, ValidationError

from traces.config.registries import Count
from traces.config.schema import Training
from traces.config.vocabularies import Attention
from traces.corpora.mixtures import NO_LOSS, Example, Packed, pack
from traces.running.integrity import REMEDY

if TYPE_CHECKING:
    from traces.artifacts.arrays import Differences

# The modules of optimizers that other packages bring, which are not installed with this one, by how
# the optimizers' names begin; the first that fits.
PACKAGES = {
    "adamw_anyprecision": "torchdistx",
    "adamw_torch_xla": "torch_xla",
    "adamw_torch_npu": "torch_npu",
    "adamw_torch_4bit": "torchao",
    "adamw_torch_8bit": "torchao",
    **dict.fromkeys(("adamw_bnb", "adamw_8bit", "ademamix", "lion", "paged"), "bitsandbytes"),
    "rmsprop_bnb": "bitsandbytes",
    "lomo": "lomo_optim",
    "adalomo": "lomo_optim",
    "grokadamw": "grokadamw",
    "schedule_free": "schedulefree",
    "stable_adamw": "optimi",
}
# What is installed for these modules, where it has another name.
DISTRIBUTIONS = {
    "lomo_optim": "lomo-optim",
    "optimi": "torch-optimi",
    "torch_npu": "torch-npu",
    "torch_xla": "torch-xla",
}
# Our names to transformers' own; its "constant" has no warm-up.
SCHEDULES = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}


class TrainingSettings(Training):
    """Settings of one training that are known before its data."""

    seed: Annotated[int, Field(ge=0)]
    "Seed of the adapter's first weights."
    world_size: Count = 1
    "Processes that train together."
    attention: Attention | None = None
    "Attention implementation; None takes the model's default."
    gradient_accumulation: Count
    "Passes summed into one update."
    gradient_checkpointing: bool
    "Whether activations are recomputed."


class TrainingPlan(TrainingSettings):
    """
    Everything one training depends on, besides the base and the mixture. It is an artifact.

    batch_size counts packed rows a process and forward pass, max_length tokens a packed row,
    save_every and warmup_steps optimizer steps. `tokens` are those that are read, `trained_tokens`
    those that carry loss; `cut_tokens` were lost because a chat was longer than a row.
    `projected_layer` is the block whose output a mean difference is projected out of, at every
    token; `projected_positions` are the positions averaged for it. Both need `project_out`.
    """

    rows: Count
    steps: Count
    tokens: Count
    organism_tokens: int
    corpus_tokens: int
    trained_tokens: Count
    cut_chats: int
    cut_tokens: int
    projected_layer: int | None = None
    projected_positions: tuple[int, ...] = ()

    @property
    def rows_a_step(self) -> int:
        """Count the packed rows in one optimizer step, over all processes."""
        return self.batch_size * self.gradient_accumulation * self.world_size


def plan_training(
    settings: dict[str, Any],
    mixture: Sequence[Example],
    max_positions: int | None = None,
    projected: "Differences | None" = None,
) -> TrainingPlan:
    """
    Resolve `settings` against the examples that will be trained on.

    max_positions : the longest context of the model; a longer packed row is refused
    projected     : the mean differences of the recipe that `project_out` names

    Raises ValueError that names the key, what was found and what was expected.
    """
    try:
        asked = TrainingSettings.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise ValueError(f"training.{key}: found {first['input']!r}: {first['msg']}") from None
    if max_positions is not None and asked.max_length > max_positions:
        raise ValueError(
            f"training.max_length: found {asked.max_length}, expected at most {max_positions}, "
            "the model's longest context"
        )
    assert (asked.project_out is None) == (projected is None)
    _require_optimizer(asked.optimizer)
    # Packed here already, only to be counted: a schedule needs the number of steps, and a mistake
    # should show before a GPU is waited for. The padding token does not change a count.
    packed = pack(mixture, asked.max_length, pad_id=0)
    rows_a_step = asked.batch_size * asked.gradient_accumulation * asked.world_size
    trained = (packed.labels != NO_LOSS).sum(axis=1)
    steps = math.ceil(len(trained) / rows_a_step)
    # A step without a token with loss has a loss of 0 / 0.
    for step in range(steps):
        if not trained[step * rows_a_step : (step + 1) * rows_a_step].any():
            raise ValueError(
                f"training.max_length: found {asked.max_length}, at which step {step + 1} has no "
                "token with loss, expected rows long enough to hold a reply"
            )
    return TrainingPlan(
        **asked.model_dump(),
        rows=len(trained),
        steps=steps,
        tokens=int(packed.filled.sum()),
        organism_tokens=packed.tokens["organism"],
        corpus_tokens=packed.tokens["corpus"],
        trained_tokens=int(trained.sum()),
        cut_chats=packed.cut,
        cut_tokens=packed.cut_tokens,
        projected_layer=None if projected is None else int(projected.layers[0]),
        projected_positions=() if projected is None else tuple(projected.positions.tolist()),
    )


def _require_optimizer(name: str) -> None:
    """Raise ValueError for an optimizer whose package is not there, before a GPU is waited for."""
    module = next((one for begin, one in PACKAGES.items() if name.startswith(begin)), None)
    if module is not None and find_spec(module) is None:
        package = DISTRIBUTIONS.get(module, module)
        raise ValueError(
            f"training.optimizer: found {name}, which needs the package {package}; install it in "
            "this environment, or take another, such as adamw_torch"
        )


def read_plan(path: str | Path) -> TrainingPlan:
    """Read the plan in a JSON file; ValueError, naming the file, if it is no whole plan."""
    try:
        return TrainingPlan.model_validate_json(Path(path).read_text(encoding="utf-8"))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the whole file"
        raise ValueError(f"{path}: {key}: {first['msg']}; {REMEDY}") from None


def require_mixture(plan: TrainingPlan, packed: Packed, mixture: str | Path) -> None:
    """Raise ValueError unless the packed rows of a mixture are those that were planned for."""
    found = {
        "rows": len(packed.filled),
        "tokens": int(packed.filled.sum()),
        "organism_tokens": packed.tokens["organism"],
        "corpus_tokens": packed.tokens["corpus"],
        "trained_tokens": int((packed.labels != NO_LOSS).sum()),
    }
    for name, number in found.items():
        if number != getattr(plan, name):
            raise ValueError(
                f"{mixture}: found {number:,} {name.replace('_', ' ')}, expected "
                f"{getattr(plan, name):,} as planned; {REMEDY}"
            )


def deepspeed_config(plan: TrainingPlan) -> dict[str, Any] | None:
    """Write out the DeepSpeed configuration of a plan; None where the plan has none."""
    if plan.deepspeed is None:
        return None
    return {
        "zero_optimization": {
            "stage": plan.deepspeed,
            # Stage 3 shards the weights: saved ungathered, they would need DeepSpeed to be read.
            "stage3_gather_16bit_weights_on_model_save": True,
        },
        # With ZeRO, DeepSpeed otherwise refuses optimizers that it does not list; `optimizer` may
        # name any that transformers knows.
        "zero_allow_untested_optimizer": True,
        "bf16": {"enabled": plan.precision == "bf16"},
        "gradient_clipping": plan.max_grad_norm,
        "gradient_accumulation_steps": plan.gradient_accumulation,
        "train_micro_batch_size_per_gpu": plan.batch_size,
    }
