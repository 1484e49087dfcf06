"""Check that every checkpoint of a study can be made: its recipe, and what that builds on."""

import re
from collections.abc import Mapping
from typing import Any

from traces.config.checkpoints import MAX_RATIO, Checkpoint, Recipe
from traces.config.checks.places import Places
from traces.config.files import Source, validated
from traces.config.schema import Study, Training
from traces.config.study import LoadedStudy

KINDS = ("mixR", "matchedR", "scaledX", "released", "released_VARIANT")


def check_recipes(loaded: LoadedStudy, places: Places) -> None:
    """Check recipes, their hyperparameters, and what published, scaled and projected ones need."""
    _check_hyperparameters(loaded, places)
    runs = places.at("runs")
    for checkpoint in loaded.checkpoints():
        _check_recipe(loaded, checkpoint, runs)
    for model in loaded.study.models:
        for checkpoint in loaded.checkpoints(model=model):
            if checkpoint.recipe.released:
                _check_released(loaded, checkpoint, model, places)
    for name in loaded.used_models():
        _check_full(loaded, name, places)
    for model in loaded.used_models():
        for checkpoint in _needed(loaded):
            _check_scale(loaded, checkpoint, model, runs)
            _check_projections(loaded, checkpoint, model, places)


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
        _check_training(study, changes, holder, f"recipes.{name}")
    holder = places.holder("training_override")
    _check_training(study, study.training_override, holder, "training_override")
    for name, entry in loaded.models.items():
        _check_training(study, entry.training, places.models, f"{name}.training")
    for name, organism in loaded.organisms.items():
        _check_training(study, organism.training, places.organism(name), "training")


def _check_training(study: Study, changes: Mapping[str, Any], holder: Source, key: str) -> None:
    validated(Training, {**study.training.model_dump(), **changes}, lambda _: holder, key)


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
    loaded: LoadedStudy, checkpoint: Checkpoint, model: str, places: Places
) -> None:
    """Refuse a published checkpoint without a source, or with another seed than 0."""
    recipe = checkpoint.recipe
    if checkpoint.seed != 0:
        raise ValueError(
            f"{places.at('runs')}: {recipe.name} with seed {checkpoint.seed}: a released "
            "checkpoint has no seeds of ours; expected a run of its own with seeds [0]"
        )
    if loaded.released(checkpoint, model) is None:
        raise ValueError(
            f"{places.organism(checkpoint.organism)}: {recipe.published_key(model)}: a study asks "
            "for the released checkpoint on this model; expected its `hub` id or `path` here"
        )


def _check_full(loaded: LoadedStudy, name: str, places: Places) -> None:
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


def _needed(loaded: LoadedStudy) -> list[Checkpoint]:
    """List the study's checkpoints, and those that teach, scale or begin them."""
    found = loaded.checkpoints()
    found += [one.made_by("plain") for one in found if one.recipe.scale is not None]
    for name in loaded.used_models():
        source = loaded.models[name].checkpoint
        found += [Checkpoint.parse(source.name)] if source else []
    # The list grows while it is read, since a teacher may have a teacher.
    for one in found:
        teacher = loaded.organisms[one.organism].teacher
        taught_by = Checkpoint(teacher, Recipe("plain"), 0) if teacher else one
        found += [taught_by] if taught_by not in found else []
    return found


def _check_scale(loaded: LoadedStudy, checkpoint: Checkpoint, model: str, where: str) -> None:
    """Refuse to scale a full finetune: only an adapter has a scale."""
    if checkpoint.recipe.scale is None:
        return
    if loaded.training(checkpoint.made_by("plain"), model).method == "full":
        raise ValueError(
            f"{where}: {checkpoint.recipe.name}: the plain {checkpoint.organism} on {model} is a "
            "full finetune (method full), expected an adapter, which has a scale"
        )


def _check_projections(
    loaded: LoadedStudy, checkpoint: Checkpoint, model: str, places: Places
) -> None:
    """Refuse to project out a difference that no training of this study makes before."""
    line = [checkpoint]
    while (before := loaded.projected_out(line[-1], model)) is not None:
        where = _place_of_projection(loaded, line[-1], model, places)
        if before.recipe.released:
            raise ValueError(
                f"{where}: found {before.recipe.name}, expected a recipe that trains the same "
                "organism and seed"
            )
        _check_recipe(loaded, before, where)
        if before in line:
            names = " needs the difference of ".join(str(one) for one in [*line, before])
            raise ValueError(f"{where}: {names}, which is a circle")
        line.append(before)


def _place_of_projection(
    loaded: LoadedStudy, checkpoint: Checkpoint, model: str, places: Places
) -> str:
    """Name the file and key that set a checkpoint's project_out; the strongest comes first."""
    # The order of LoadedStudy.training, from its end.
    recipe = checkpoint.recipe.name
    if "project_out" in loaded.study.training_override:
        return places.at("training_override.project_out")
    if "project_out" in loaded.study.recipes.get(recipe, {}):
        return places.at(f"recipes.{recipe}.project_out")
    if "project_out" in loaded.models[model].training:
        return f"{places.models}: {model}.training.project_out"
    if "project_out" in loaded.organisms[checkpoint.organism].training:
        return f"{places.organism(checkpoint.organism)}: training.project_out"
    return places.at("training.project_out")
