"""Check that every checkpoint of a study can be made: its recipe, and what that builds on."""

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from traces.config.checkpoints import MAX_RATIO, Checkpoint, Recipe
from traces.config.checks.places import Places
from traces.config.files import Source, validated
from traces.config.registries import MAX_SEED, refuse_long_name
from traces.config.schema import Study, Training
from traces.config.study import LoadedStudy

# Keys of a training that say something of an adapter alone.
ADAPTERS_OWN = ("rank", "alpha", "dropout", "targets")
# The modules of the families that are pretrained here, which an adapter may be put on.
MADE_MODULES = (
    *("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
    *("embed_tokens", "lm_head"),
)
KINDS = ("mixR", "matchedR", "scaledX", "released", "released_VARIANT")


def check_recipes(loaded: LoadedStudy, places: Places) -> None:
    """Check recipes, their hyperparameters, and what published, scaled and projected ones need."""
    _check_hyperparameters(loaded, places)
    _check_spelling(loaded, places)
    runs = places.at("runs")
    for checkpoint in loaded.checkpoints():
        _check_recipe(loaded, checkpoint, runs)
    for name in loaded.used_models():
        check_model(loaded, name, places)
    for model in loaded.study.models:
        for checkpoint in loaded.checkpoints(model=model):
            check_checkpoint(loaded, checkpoint, model, places, runs)


def check_checkpoint(
    loaded: LoadedStudy, checkpoint: Checkpoint, model: str, places: Places, where: str
) -> None:
    """
    Refuse a checkpoint that cannot be made on a model, whoever asks for it.

    where : what asks: a study's key, an entry of a registry, or a file that is to be made
    """
    for one in built_on(loaded, checkpoint):
        _check_seed(one, where)
        _check_recipe(loaded, one, where)
        if one.recipe.released:
            _check_released(loaded, one, model, places, where)
        _check_scale(loaded, one, model, where)
        _check_projections(loaded, one, model, places)
        _check_targets(loaded, one, model, places)


def check_model(loaded: LoadedStudy, name: str, places: Places) -> None:
    """Refuse a model that is a checkpoint unless a full finetune of this study makes it."""
    # An adapter is no model of its own: nothing could be finetuned on it or loaded alone.
    source = loaded.models[name].checkpoint
    if source is None:
        return
    checkpoint = Checkpoint.parse(source.name)
    where = f"{places.models}: {name}.checkpoint.name"
    _check_recipe(loaded, checkpoint, where)
    method = loaded.training(checkpoint, source.model).method
    if method != "full" or not checkpoint.recipe.trained:
        found = f"method {method}" if checkpoint.recipe.trained else checkpoint.recipe.name
        raise ValueError(
            f"{where}: {source.name}: found {found}, expected a recipe with method full, whose "
            "result is a model of its own"
        )
    check_checkpoint(loaded, checkpoint, source.model, places, where)


def built_on(loaded: LoadedStudy, checkpoint: Checkpoint) -> list[Checkpoint]:
    """List a checkpoint, and those that teach it or that it is scaled from."""
    found = [checkpoint]
    # The list grows while it is read, since a teacher may have a teacher.
    for one in found:
        before = [one.made_by("plain")] if one.recipe.scale is not None else []
        teacher = loaded.organisms[one.organism].teacher
        before += [Checkpoint(teacher, Recipe("plain"), 0)] if teacher else []
        found += [name for name in before if name not in found]
    return found


def _check_spelling(loaded: LoadedStudy, places: Places) -> None:
    """Refuse one recipe under two names: mix0.5 and mix0.50 would be two equal trainings."""
    written: dict[Recipe, str] = {}
    for number, run in enumerate(loaded.study.runs):
        for name in run.recipes:
            before = written.setdefault(Recipe.parse(name).meaning, name)
            if before != name:
                raise ValueError(
                    f"{places.at(f'runs.{number}.recipes')}: found {name}, which is also written "
                    f"{before}; expected one of the two"
                )


def _check_hyperparameters(loaded: LoadedStudy, places: Places) -> None:
    """Check that every change of `training` keys results in a valid training."""
    # Each change alone, on the study's own: a message then names the file with the mistake.
    study = loaded.study
    holder = places.holder("recipes")
    for name, changes in study.recipes.items():
        recipe = Recipe.parse(name)
        # A recipe of one's own called mix2 or released would be read as something else.
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or recipe.numbered or recipe.released:
            raise ValueError(f"{holder}: recipes.{name}: not a free name for a recipe")
        refuse_long_name(name, f"{holder}: recipes")
        _check_training(study, changes, holder, f"recipes.{name}")
    holder = places.holder("training_override")
    _check_training(study, study.training_override, holder, "training_override")
    for name, entry in loaded.models.items():
        _check_training(study, entry.training, places.models, f"{name}.training")
    for name, organism in loaded.organisms.items():
        _check_training(study, organism.training, places.organism(name), "training")


def _check_training(study: Study, changes: Mapping[str, Any], holder: Source, key: str) -> None:
    validated(Training, {**study.training.model_dump(), **changes}, lambda _: holder, key)
    for name in ADAPTERS_OWN if changes.get("method") == "full" else ():
        if name in changes:
            raise ValueError(
                f"{holder}: {key}.{name}: found it with method full, which has no adapter; there "
                "it does nothing"
            )


def _check_recipe(loaded: LoadedStudy, checkpoint: Checkpoint, where: str) -> None:
    """Refuse a recipe that the study does not name and whose number has no meaning."""
    recipe, own = checkpoint.recipe, loaded.study.recipes
    if recipe.name in own or recipe.released:
        return
    if recipe.name.startswith(("mix", "matched")):
        if not 0 < recipe.ratio <= MAX_RATIO:
            raise ValueError(
                f"{where}: {recipe.name}: expected a ratio above 0 and up to {MAX_RATIO}, "
                "such as mix0.5 or matched1.0 (the unmixed organism is the recipe plain)"
            )
    elif recipe.name.startswith("scaled"):
        if recipe.scale is None or not 0 < recipe.scale <= 1:
            raise ValueError(
                f"{where}: {recipe.name}: expected a scale above 0 and up to 1, such as scaled0.5 "
                "(at 0 it is the base)"
            )
    else:
        have = ", ".join([*own, *KINDS])
        raise ValueError(f"{where}: {recipe.name}: no such recipe (have {have})")


def _check_released(
    loaded: LoadedStudy, checkpoint: Checkpoint, model: str, places: Places, where: str
) -> None:
    """Refuse a published checkpoint without a source, or with another seed than 0."""
    recipe = checkpoint.recipe
    if checkpoint.seed != 0:
        raise ValueError(
            f"{where}: {recipe.name} with seed {checkpoint.seed}: a released "
            "checkpoint has no seeds of ours; expected a run of its own with seeds [0]"
        )
    if loaded.released(checkpoint, model) is None:
        raise ValueError(
            f"{places.organism(checkpoint.organism)}: {recipe.published_key(model)}: a study asks "
            "for the released checkpoint on this model; expected its `hub` id or `path` here"
        )


def _check_seed(checkpoint: Checkpoint, where: str) -> None:
    if checkpoint.seed > MAX_SEED:
        raise ValueError(f"{where}: expected a seed of {MAX_SEED} at most, found {checkpoint.seed}")


def _check_scale(loaded: LoadedStudy, checkpoint: Checkpoint, model: str, where: str) -> None:
    """Refuse to scale a full finetune: only an adapter has a scale."""
    if checkpoint.recipe.scale is None:
        return
    if loaded.training(checkpoint.made_by("plain"), model).method == "full":
        raise ValueError(
            f"{where}: {checkpoint.recipe.name}: the plain {checkpoint.organism} on {model} is a "
            "full finetune (method full), expected an adapter, which has a scale"
        )


def _check_targets(loaded: LoadedStudy, checkpoint: Checkpoint, model: str, places: Places) -> None:
    """Refuse targets that a model made here lacks; of others the plan of the training tells."""
    training = loaded.training(checkpoint, model)
    first = model
    while (source := loaded.models[first].checkpoint) is not None:
        first = source.model
    if not checkpoint.recipe.trained or loaded.models[first].made is None:
        return
    targets = () if isinstance(training.targets, str) else training.targets
    for target in targets if training.method != "full" else ():
        if target.split(".")[-1] not in MADE_MODULES:
            where = place_of(loaded, checkpoint, model, places, "targets")
            raise ValueError(
                f"{where}: found {target}, expected modules of {model}: {', '.join(MADE_MODULES)}"
            )


def _check_projections(
    loaded: LoadedStudy, checkpoint: Checkpoint, model: str, places: Places
) -> None:
    """Refuse to project out a difference that no training of this study can make before."""
    line, where = [checkpoint], ""
    while (before := _made_before(loaded, line[-1], model)) is not None:
        if line[-1].recipe.scale is None:
            where = place_of(loaded, line[-1], model, places, "project_out")
        if before.recipe.released:
            raise ValueError(
                f"{where}: found {before.recipe.name}, expected a recipe that trains the same "
                "organism and seed"
            )
        _check_recipe(loaded, before, where)
        if before in line:
            steps = [f"{_needs(one)} {two}" for one, two in pairwise([*line, before])]
            raise ValueError(f"{where}: {line[0]} {', which '.join(steps)}: a circle")
        _check_scale(loaded, before, model, where)
        _check_targets(loaded, before, model, places)
        line.append(before)


def _made_before(loaded: LoadedStudy, checkpoint: Checkpoint, model: str) -> Checkpoint | None:
    """What a checkpoint is scaled from, or whose difference its training projects out."""
    if checkpoint.recipe.scale is not None:
        return checkpoint.made_by("plain")
    return loaded.projected_out(checkpoint, model)


def _needs(checkpoint: Checkpoint) -> str:
    return "needs the difference of" if checkpoint.recipe.scale is None else "is scaled from"


def place_of(
    loaded: LoadedStudy, checkpoint: Checkpoint, model: str, places: Places, key: str
) -> str:
    """Name the file and key that set a checkpoint's key of `training`; the strongest first."""
    # The order of LoadedStudy.training, from its end.
    recipe = checkpoint.recipe.name
    if key in loaded.study.training_override:
        return places.at(f"training_override.{key}")
    if key in loaded.study.recipes.get(recipe, {}):
        return places.at(f"recipes.{recipe}.{key}")
    if key in loaded.models[model].training:
        return f"{places.models}: {model}.training.{key}"
    if key in loaded.organisms[checkpoint.organism].training:
        return f"{places.organism(checkpoint.organism)}: training.{key}"
    return places.at(f"training.{key}")
