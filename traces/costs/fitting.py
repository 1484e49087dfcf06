"""
Choose how a training goes through its rows so that it fits its GPU; refuse one that cannot.

The rows of an optimizer step are never changed: they are what the training is. How many of them
one forward pass takes, and whether activations are recomputed, only decide memory and time.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from traces.config.checkpoints import Checkpoint
from traces.config.checks.places import Places
from traces.config.checks.recipes import built_on, place_of
from traces.config.registries import Shape
from traces.config.schema import Training
from traces.config.study import LoadedStudy
from traces.config.vocabularies import Attention, Family
from traces.costs.memory import GB, ROOM, Memory, Step, Way, peak
from traces.costs.shapes import shape_in

log = logging.getLogger(__name__)


class Place(NamedTuple):
    """Hold what a training runs on: the model, and the GPUs that train together."""

    shape: Shape
    family: Family
    attention: Attention
    world: int
    gpu_gb: float

    @property
    def room(self) -> float:
        """Bytes of a GPU that a training may fill."""
        return ROOM * self.gpu_gb * GB

    def peak(self, training: Training, way: Way) -> Memory:
        return peak(Step(self.shape, self.family, self.attention, training, way, self.world))


class Fit(NamedTuple):
    """Hold a way that was chosen, and the peak it is expected to have."""

    way: Way
    memory: Memory


def ways(training: Training) -> Iterator[Way]:
    """
    Yield every way that the settings leave open, the fastest first.

    Smaller passes cost less than recomputing, which is a third more arithmetic: a pass of some
    hundred tokens already keeps a GPU of these models busy.
    """
    checkpointing, passes = training.gradient_checkpointing, training.gradient_accumulation
    rows = training.batch_size
    for again in (False, True) if checkpointing == "auto" else (checkpointing,):
        if passes != "auto":
            yield Way(rows, passes, again)
            continue
        # A part of a row is no pass, and all passes have equally many rows.
        for parts in range(1, rows + 1):
            if rows % parts == 0:
                yield Way(rows // parts, parts, again)


def fit(training: Training, place: Place) -> Fit:
    """
    Choose the fastest way whose peak stays within `ROOM` of the GPU.

    Raises ValueError with the least peak, what there is, and what to change.
    """
    found = [Fit(way, place.peak(training, way)) for way in ways(training)]
    for one in found:
        if one.memory.total <= place.room:
            return one
    least = min(found, key=lambda one: one.memory.total)
    rows = f"{least.way.batch_size} row{'s' if least.way.batch_size > 1 else ''}"
    recomputed = "" if least.way.gradient_checkpointing else ", without gradient_checkpointing"
    raise ValueError(
        f"found a peak of {least.memory.total / GB:.1f} GB on each GPU ({rows} of "
        f"{training.max_length} tokens a pass{recomputed}), expected at most "
        f"{place.room / GB:.1f} GB, {ROOM:g} of the model's gpu_gb {place.gpu_gb:g}: "
        f"{_remedy(training, place)}"
    )


@dataclass(frozen=True)
class Grounds:
    """What a training starts from, and the GPUs it gets; an argument of a script."""

    model: Path
    "Folder of the base."
    family: Family
    attention: Attention
    world_size: int
    "Processes that train together, each on a GPU."
    gpu_gb: float | None
    "Memory of each GPU, in GB; None without one, where nothing has to fit."


def way_on(grounds: Grounds, training: Training) -> Way:
    """
    Choose the way of a training from its base's config.json.

    Raises ValueError as `fit` does.
    """
    if grounds.gpu_gb is None:
        return next(ways(training))
    place = Place(
        shape_in(grounds.model),
        grounds.family,
        grounds.attention,
        grounds.world_size,
        grounds.gpu_gb,
    )
    try:
        way, memory = fit(training, place)
    except ValueError as error:
        raise ValueError(f"training.batch_size: {error}") from None
    log.info("a step is expected to take %.1f GB of a GPU at its peak", memory.total / GB)
    return way


def _remedy(training: Training, place: Place) -> str:
    """Say which settings would make a training fit."""
    names = ("gradient_accumulation", "gradient_checkpointing")
    fixed = [name for name in names if getattr(training, name) != "auto"]
    for freed in (*([name] for name in fixed), fixed):
        changed = training.model_copy(update=dict.fromkeys(freed, "auto"))
        if any(place.peak(changed, way).total <= place.room for way in ways(changed)):
            return f"set {' and '.join(freed)} to auto"
    return (
        "lower max_length, or give the model a larger card (gpu_gb) or more training_gpus with "
        "deepspeed 3"
    )


# A whole study ----------------------------------------------------------------------------------


class Planned(NamedTuple):
    """Hold one training of a study whose shape is known before anything is downloaded."""

    model: str
    checkpoint: Checkpoint
    training: Training
    place: Place


def trained_on_gpus(loaded: LoadedStudy) -> Iterator[Planned]:
    """Yield every training of a study on GPUs whose model has a shape, each once."""
    pairs: dict[tuple[str, Checkpoint], None] = {}
    for name in loaded.used_models():
        source = loaded.models[name].checkpoint
        if source is not None:
            pairs[source.model, Checkpoint.parse(source.name)] = None
    for model in loaded.study.models:
        for checkpoint in loaded.checkpoints(model=model):
            for one in built_on(loaded, checkpoint):
                pairs[model, one] = None
                if (before := loaded.projected_out(one, model)) is not None:
                    pairs[model, before] = None
    for model, checkpoint in pairs:
        planned = planned_of(loaded, model, checkpoint)
        if planned is not None:
            yield planned


def planned_of(loaded: LoadedStudy, model: str, checkpoint: Checkpoint) -> Planned | None:
    """Look one training up; None for what is not trained, not on GPUs, or of unknown shape."""
    entry, shape = loaded.models[model], shape_known(loaded, model)
    world = entry.gpus_to_train
    if not checkpoint.recipe.trained or shape is None or world == 0:
        return None
    place = Place(shape, entry.family, entry.attention, world, entry.gpu_gb)
    return Planned(model, checkpoint, loaded.training(checkpoint, model), place)


def shape_known(loaded: LoadedStudy, model: str) -> Shape | None:
    """Return the shape of a model's entry, or of the model that it is a finetune of."""
    entry = loaded.models[model]
    while entry.shape is None and entry.checkpoint is not None:
        entry = loaded.models[entry.checkpoint.model]
    return entry.shape


def check_fit(loaded: LoadedStudy, places: Places) -> None:
    """
    Refuse a study with a training that cannot fit its GPU, before its first job.

    A model without a `shape` is known only after its download: there the plan of the training
    refuses.
    """
    for one in trained_on_gpus(loaded):
        try:
            fit(one.training, one.place)
        except ValueError as error:
            where = place_of(loaded, one.checkpoint, one.model, places, "batch_size")
            raise ValueError(f"{where}: {one.checkpoint} on {one.model}: {error}") from None


def table(loaded: LoadedStudy, pairs: Iterable[tuple[str, str]]) -> str:
    """
    Format the peak of trainings as Markdown, one line for those that are alike.

    pairs : names of model and checkpoint
    """
    lines: Counter[str] = Counter()
    for model, checkpoint in pairs:
        one = planned_of(loaded, model, Checkpoint.parse(checkpoint))
        lines[_line(one) if one else f"| {model} | | | | | unknown: no `shape` |"] += 1
    head = [
        "| model | training | GPUs | rows a pass x passes | recomputed | peak, GB | trainings |",
        "|---|---|--:|--:|---|--:|--:|",
    ]
    return "\n".join([*head, *(f"{line} {count} |" for line, count in sorted(lines.items()))])


def _line(one: Planned) -> str:
    way, memory = fit(one.training, one.place)
    training = one.training
    kind = training.method if training.method == "full" else f"{training.method} {training.rank}"
    rows = f"{way.batch_size} x {way.gradient_accumulation}, {training.max_length} tokens"
    again = "yes" if way.gradient_checkpointing else "no"
    parts = f"{memory.total / GB:.0f} of {one.place.gpu_gb:g}"
    return f"| {one.model} | {kind} | {one.place.world} | {rows} | {again} | {parts} |"
