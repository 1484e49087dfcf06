"""
What a study is: its settings, the registry entries they name, and the checkpoints they ask for.

`load_study` merges, validates and freezes; every failure is one sentence and comes before the first
job. The one key that runs through everything is the checkpoint, `organism-recipe-sSEED`.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from traces.config import (
    NAME,
    Ablation,
    CommandLine,
    CorpusEntry,
    Measure,
    ModelEntry,
    Organism,
    Released,
    Section,
    Source,
    Study,
    Training,
    content_of,
    holder_of,
    load_organism,
    local,
    read_yaml,
    validated,
)
from traces.parts import nameable, runs_left

# Checkpoints ------------------------------------------------------------------------------------

BASE = "base"
_CHECKPOINT = re.compile(r"^(?P<organism>[a-z0-9_]+)-(?P<recipe>[a-z0-9_.]+)-s(?P<seed>\d+)$")
_NUMBERED = re.compile(r"^(?P<kind>mix|matched|scaled)(?P<number>\d+(\.\d+)?)$")
_RELEASED = re.compile(r"^released(_(?P<variant>[a-z0-9][a-z0-9_.]*))?$")
_MIXED = re.compile(r"(^|_)mix(?P<number>\d+(\.\d+)?)$")
MAX_RATIO = 100


class Recipe(NamedTuple):
    """A way to make an organism: its name and the number that may be in it."""

    name: str
    ratio: float = 0.0
    "Corpus units for each organism unit; for a matched recipe the ratio whose steps it matches."
    matched: bool = False
    "Unmixed, but trained on as many tokens as the mix of that ratio."
    scale: float | None = None
    "Not trained: the plain adapter at this share of its scale, from the base (0) to itself (1)."

    @classmethod
    def parse(cls, text: str) -> "Recipe":
        if _RELEASED.match(text):
            mixed = _MIXED.search(text)
            return cls(text, float(mixed["number"]) if mixed else 0.0)
        found = _NUMBERED.match(text)
        if not found:
            return cls(text)
        if found["kind"] == "scaled":
            return cls(text, scale=float(found["number"]))
        return cls(text, float(found["number"]), found["kind"] == "matched")

    @property
    def mixed(self) -> bool:
        return self.ratio > 0 and not self.matched

    @property
    def trained(self) -> bool:
        """Whether a training makes it; else it is published, or another one at a lower scale."""
        return not self.released and self.scale is None

    @property
    def released(self) -> bool:
        """Whether it was published: an organism's `released`, or one of its `variants`."""
        return _RELEASED.match(self.name) is not None

    @property
    def variant(self) -> str | None:
        """Which of the published variants it is; None for the main one, and for what is made."""
        found = _RELEASED.match(self.name)
        return found["variant"] if found else None


class Checkpoint(NamedTuple):
    """One finetuned model: `organism-recipe-sSEED`. Organisms have no dash: it parses one way."""

    organism: str
    recipe: Recipe
    seed: int

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        found = _CHECKPOINT.match(text)
        if not found:
            raise ValueError(f"{text}: not a checkpoint; expected organism-recipe-sSEED")
        return cls(found["organism"], Recipe.parse(found["recipe"]), int(found["seed"]))

    def __str__(self) -> str:
        return f"{self.organism}-{self.recipe.name}-s{self.seed}"

    def made_by(self, recipe: str) -> "Checkpoint":
        """The same organism and seed, made by another recipe."""
        return self._replace(recipe=Recipe.parse(recipe))


# Loading ------------------------------------------------------------------------------------------


class LoadedStudy(NamedTuple):
    """A validated study with the registry entries it may name."""

    study: Study
    models: Mapping[str, ModelEntry]
    corpora: Mapping[str, CorpusEntry]
    organisms: Mapping[str, Organism]

    def checkpoints(
        self, measure: Measure | None = None, model: str | None = None
    ) -> list[Checkpoint]:
        """
        Every finetuned model the study asks for, in its own order, each once.

        measure : only those of the runs that ask for it; beliefs, only of organisms that have
                  statements, and of the control where there is such an organism to hold against it
        model   : only those that are made on this model
        """
        wanted = (
            Checkpoint(organism, Recipe.parse(recipe), seed)
            for run in self.study.runs
            if measure is None or measure in run.measures
            if model is None or model in (run.models or self.study.models)
            for organism in run.organisms
            if measure != "beliefs"
            or self.organisms[organism].statements
            or organism == self.study.control
            for recipe in run.recipes
            for seed in run.seeds
        )
        found = list(dict.fromkeys(wanted))
        if measure == "beliefs" and not any(
            self.organisms[one.organism].statements for one in found
        ):
            return []
        return found

    def corpora_of(self, checkpoint: Checkpoint, model: str | None = None) -> list[str]:
        """
        The text a checkpoint's difference is read on: the study's, and what its runs add.

        model : only what the runs on this model add
        """
        added = (
            name
            for run in self.study.runs
            if (checkpoint.organism in run.organisms)
            and (checkpoint.recipe.name in run.recipes and checkpoint.seed in run.seeds)
            and (model is None or model in (run.models or self.study.models))
            for name in run.corpora
        )
        return list(dict.fromkeys((*self.study.corpora, *added)))

    def read_corpora(self) -> list[str]:
        """Every corpus that a difference is read on, the study's own first, each once."""
        added = (name for run in self.study.runs for name in run.corpora)
        return list(dict.fromkeys((*self.study.corpora, *added)))

    def positions(self, corpus: str) -> list[int]:
        """The positions read of a corpus: its own, or the study's for its kind."""
        entry = self.corpora[corpus]
        chat = entry.kind == "chat"
        return list(
            entry.positions or (self.study.chat_positions if chat else self.study.positions)
        )

    def layers(self, corpus: str) -> list[float]:
        """The layers read of a corpus: its own, or the study's."""
        return list(self.corpora[corpus].layers or self.study.layers)

    def samples(self, corpus: str) -> int:
        """The samples averaged of a corpus: the study's number, or what the corpus has."""
        return min(self.study.samples, self.corpora[corpus].samples or self.study.samples)

    def used_corpora(self) -> list[str]:
        """Every corpus the study reads, mixes in, or takes words from, each once."""
        study = self.study
        named = [study.mixing.corpus, study.lenses.vocabulary_corpus, study.relevance.corpus]
        if self.checkpoints("causality") or self.checkpoints("steering"):
            named.append(study.causality.chat)
        named += [self.mixed_with(one) for one in self.checkpoints() if one.recipe.mixed]
        return list(dict.fromkeys((*self.read_corpora(), *named)))

    def text_of(self, corpus: str) -> str:
        """The first corpus with these very rows: text that is read in several ways lies once."""
        return self._first_like(self.corpora, corpus, but={"samples", "positions", "layers"})

    def weights_of(self, model: str) -> str:
        """The first model with these very files from the hub: a second name needs no others."""
        if self.models[model].hub is None:
            return model
        files = {"hub", "revision", "chat_template"}
        return self._first_like(self.models, model, but=set(ModelEntry.model_fields) - files)

    @staticmethod
    def _first_like(entries: Mapping[str, Any], name: str, but: set[str]) -> str:
        asked = entries[name].model_dump(exclude=but)
        alike = (one for one, entry in entries.items() if entry.model_dump(exclude=but) == asked)
        return next(alike)

    def mixed_with(self, checkpoint: Checkpoint) -> str:
        """The corpus that a mixture of this organism holds."""
        return self.organisms[checkpoint.organism].mixed_with or self.study.mixing.corpus

    def released(self, checkpoint: Checkpoint, model: str) -> Released | None:
        """Where a published checkpoint on a model comes from; None if its file does not say."""
        organism, variant = self.organisms[checkpoint.organism], checkpoint.recipe.variant
        places = organism.variants.get(variant, {}) if variant else organism.released
        return places.get(model)

    def ablated(self, ablation: Ablation) -> list[str] | list[int] | list[float]:
        """All the values that the study has of what an ablation varies."""
        study = self.study
        lists: dict[str, Iterable[Any]] = {
            "layer": sorted(self.layers(ablation.corpus or study.corpora[0])),
            "position": self.positions(ablation.corpus or study.corpora[0]),
            "recipe": dict.fromkeys(one.recipe.name for one in self.checkpoints()),
            "corpus": self.read_corpora(),
            "reading": study.lenses.readings,
            "model": study.models,
            "head": study.lenses.heads,
            "organism": dict.fromkeys(one.organism for one in self.checkpoints()),
        }
        return list(lists[ablation.over])

    def used_models(self) -> list[str]:
        """Every model the study loads: its own, those they are made from or compared with."""
        found = list(self.study.models)
        for name in found:  # which grows as it is read
            entry = self.models[name]
            for one in (entry.reference, entry.checkpoint and entry.checkpoint.model):
                found += [one] if one and one not in found else []
        return found

    def projected_out(self, checkpoint: Checkpoint, model: str | None = None) -> Checkpoint | None:
        """The checkpoint whose mean difference is projected out while this one is trained."""
        if not checkpoint.recipe.trained:
            return None
        recipe = self.training(checkpoint, model).project_out
        return None if recipe is None else checkpoint.made_by(recipe)

    def words_of(self, organism: str) -> str:
        """The organism whose data's words say what `organism` is about: itself, or another."""
        return self.organisms[organism].words_of or organism

    def training(self, checkpoint: Checkpoint, model: str | None = None) -> Training:
        """
        The hyperparameters of one checkpoint.

        The study's, then what the organism changes, then the model, if one is named, then the
        recipe, then what the study says of all.
        """
        changes = {
            **self.organisms[checkpoint.organism].training,
            **(self.models[model].training if model else {}),
            **self.study.recipes.get(checkpoint.recipe.name, {}),
            **self.study.training_override,
        }
        return Training.model_validate({**self.study.training.model_dump(), **changes})


def load_study(
    config: Mapping[str, Any],
    files: Iterable[Path | str],
    folder: Path = Path("config"),
    command_line: Mapping[str, Any] | None = None,
) -> LoadedStudy:
    """
    Validate a merged configuration and the registries in `folder`.

    config       : the study as Snakemake merged it
    files        : the files it was merged from, in order; a message names the one that holds a key
    command_line : what `--config` set after them

    Raises ValueError with one sentence for the first thing that is wrong.
    """
    sources: list[Source] = [*map(Path, files), CommandLine(command_line or {})]
    for source in sources:
        content_of(source)
    study = validated(Study, dict(config), lambda loc: holder_of(sources, loc))
    models = _registry(folder / "models.yaml", ModelEntry)
    corpora = _registry(folder / "corpora.yaml", CorpusEntry)
    loaded = LoadedStudy(study, models, corpora, _organisms(folder / "organisms"))
    for check in (
        *(_check_names, _check_recipes, _check_lists, _check_measures),
        _check_ablations,
    ):
        check(loaded, sources, folder)
    loaded = loaded._replace(study=_asked_for(loaded, sources, folder))
    _check_paths(loaded, sources, folder)
    return loaded


def _asked_for(loaded: LoadedStudy, sources: list[Source], folder: Path) -> Study:
    """The study with what `only` and `without` leave of its runs, and what is drawn of them."""
    study = loaded.study
    if not study.only and not study.without:
        return study
    runs = runs_left(study, loaded.organisms)
    if not runs:
        raise ValueError(
            f"{holder_of(sources, ('without',))}: only and without leave no run, expected one"
        )
    asked = {name for run in runs for name in run.models}
    models = tuple(name for name in study.models if name in asked)
    made = {name for run in runs for name in run.organisms}
    control = study.control if study.control in made else None
    chosen = study.model_copy(update={"runs": tuple(runs), "models": models, "control": control})
    shown = {name: one for name, one in study.ablations.items() if _is_made(loaded, chosen, one)}
    return chosen.model_copy(update={"ablations": shown})


def _is_made(loaded: LoadedStudy, study: Study, ablation: Ablation) -> bool:
    """Whether the runs of a study still make all that an ablation shows."""
    some = loaded._replace(study=study.model_copy(update={"ablations": {"one": ablation}}))
    try:
        _check_ablations(some, [], Path())
    except ValueError:
        return False
    return True


def _organisms(folder: Path) -> dict[str, Organism]:
    return {
        _checked_name(file.stem, str(file)): load_organism(file)
        for file in sorted(folder.glob("*.yaml"))
    }


def _registry(file: Path, kind: type[Section]) -> dict[str, Section]:
    return {
        _checked_name(name, str(file)): validated(kind, entry, lambda _: file, name)
        for name, entry in read_yaml(file).items()
    }


def _checked_name(name: Any, where: str) -> str:
    if not isinstance(name, str) or not re.match(NAME, name):
        raise ValueError(
            f"{where}: found the name {name!r}, expected small letters, digits and underscores"
        )
    return name


# Checks that no single field can make -----------------------------------------------------------


def _known(name: str, registry: Mapping[str, Any], where: str, what: str, home: Path) -> None:
    if name not in registry:
        have = ", ".join(sorted(registry)) or "none"
        raise ValueError(f"{where}: {name}: no such {what} in {home} (have {have})")


def _check_names(loaded: LoadedStudy, sources: list[Source], folder: Path) -> None:
    study = loaded.study
    models, corpora, organisms = (
        folder / "models.yaml",
        folder / "corpora.yaml",
        folder / "organisms",
    )
    for name in study.models:
        _known(name, loaded.models, f"{holder_of(sources, ('models',))}: models", "model", models)
    for key, name in (
        *(("corpora", name) for name in study.corpora),
        *(("runs", name) for run in study.runs for name in run.corpora),
        ("mixing", study.mixing.corpus),
        ("lenses", study.lenses.vocabulary_corpus),
        ("relevance", study.relevance.corpus),
        ("causality", study.causality.chat),
    ):
        _known(name, loaded.corpora, f"{holder_of(sources, (key,))}: {key}", "corpus", corpora)
    runs = f"{holder_of(sources, ('runs',))}: runs"
    for run in study.runs:
        for name in run.models:
            if name not in study.models:
                have = ", ".join(study.models)
                raise ValueError(f"{runs}: {name}: not one of the study's models (have {have})")
    named = [run.name for run in study.runs if run.name is not None]
    for name in named:
        if named.count(name) > 1:
            raise ValueError(f"{runs}: the name {name} is there twice")
    for key, name in (
        *(("runs", name) for run in study.runs for name in run.organisms),
        *((("control", study.control),) if study.control else ()),
    ):
        _known(
            name, loaded.organisms, f"{holder_of(sources, (key,))}: {key}", "organism", organisms
        )
    parts = nameable(study, loaded.organisms)
    for key in ("only", "without"):
        for name in getattr(study, key):
            if not any(name in of for of in parts.values()):
                have = "; ".join(f"{kind}: {', '.join(of)}" for kind, of in parts.items() if of)
                raise ValueError(
                    f"{holder_of(sources, (key,))}: {key}: {name}: nothing of this study has this "
                    f"name (have {have})"
                )
    for name, organism in loaded.organisms.items():
        where = f"{organisms / name}.yaml"
        for model in organism.released:
            _known(model, loaded.models, f"{where}: released", "model", models)
        for variant, places in organism.variants.items():
            if not re.fullmatch(r"[a-z0-9][a-z0-9_.]*", variant):
                raise ValueError(
                    f"{where}: variants: found the name {variant!r}, expected small letters, "
                    "digits, underscores and points"
                )
            for model in places:
                _known(model, loaded.models, f"{where}: variants.{variant}", "model", models)
        if organism.mixed_with is not None:
            _known(organism.mixed_with, loaded.corpora, f"{where}: mixed_with", "corpus", corpora)
        teacher = _teacher(organism)
        if teacher:
            _known(
                teacher, loaded.organisms, f"{where}: data.taught.teacher", "organism", organisms
            )
    for name in loaded.organisms:
        _check_teachers(loaded, name, f"{organisms / name}.yaml: data.taught.teacher")
    for name, entry in loaded.models.items():
        for key, other in (
            ("checkpoint.model", entry.checkpoint and entry.checkpoint.model),
            ("reference", entry.reference),
        ):
            if other is not None:
                _known(other, loaded.models, f"{models}: {name}.{key}", "model", models)
        if entry.reference == name:
            raise ValueError(
                f"{models}: {name}.reference: found the model itself, which is what is subtracted "
                "without this key"
            )
    for name in loaded.models:
        _check_source(loaded, name, models, organisms)


def _check_source(loaded: LoadedStudy, name: str, models: Path, organisms: Path) -> None:
    """A model that is a checkpoint is made of another one, and in the end of one that is not."""
    line, where = [name], f"{models}: {name}.checkpoint"
    while source := loaded.models[line[-1]].checkpoint:
        if source.model in line:
            raise ValueError(
                f"{where}: {' is made from '.join([*line, source.model])}, which is a circle"
            )
        line.append(source.model)
    source = loaded.models[name].checkpoint
    if source is not None:
        try:
            checkpoint = Checkpoint.parse(source.name)
        except ValueError as error:
            raise ValueError(f"{where}.name: {error}") from None
        _known(checkpoint.organism, loaded.organisms, f"{where}.name", "organism", organisms)


def _teacher(organism: Organism) -> str | None:
    return organism.data.taught.teacher if organism.data.taught else None


def _check_teachers(loaded: LoadedStudy, name: str, where: str) -> None:
    line = [name]
    while teacher := _teacher(loaded.organisms[line[-1]]):
        if teacher in line:
            raise ValueError(
                f"{where}: {' is taught by '.join([*line, teacher])}, which is a circle"
            )
        line.append(teacher)


def _check_recipes(loaded: LoadedStudy, sources: list[Source], folder: Path) -> None:
    study, where = loaded.study, f"{holder_of(sources, ('runs',))}: runs"
    for name, changes in study.recipes.items():
        holder = holder_of(sources, ("recipes",))
        free = re.fullmatch(r"[a-z][a-z0-9_]*", name) and not _NUMBERED.match(name)
        if not free or _RELEASED.match(name):
            raise ValueError(f"{holder}: recipes.{name}: not a free name for a recipe")
        _check_training(study, changes, holder, f"recipes.{name}")
    holder = holder_of(sources, ("training_override",))
    _check_training(study, study.training_override, holder, "training_override")
    for name, entry in loaded.models.items():
        _check_training(study, entry.training, folder / "models.yaml", f"{name}.training")
    for name, organism in loaded.organisms.items():
        _check_training(study, organism.training, folder / "organisms" / f"{name}.yaml", "training")
    for checkpoint in loaded.checkpoints():
        _check_recipe(loaded, checkpoint, where)
    for model in study.models:
        for checkpoint in loaded.checkpoints(model=model):
            if checkpoint.recipe.released:
                _check_released(loaded, checkpoint, model, where, folder)
    for name in loaded.used_models():
        _check_full(loaded, name, folder / "models.yaml")
    for model in loaded.used_models():
        for checkpoint in _needed(loaded):
            _check_scale(loaded, checkpoint, model, where)
            _check_projections(loaded, checkpoint, model, sources, folder)


def _check_recipe(loaded: LoadedStudy, checkpoint: Checkpoint, where: str) -> None:
    """A recipe must be one of the study's, or a name with a number that makes sense."""
    recipe, known = checkpoint.recipe, loaded.study.recipes
    if recipe.name in known or recipe.released:
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
        kinds = ["mixR", "matchedR", "scaledX", "released", "released_VARIANT"]
        have = ", ".join([*known, *kinds])
        raise ValueError(f"{where}: {recipe.name}: no such recipe (have {have})")


def _check_scale(loaded: LoadedStudy, checkpoint: Checkpoint, model: str, where: str) -> None:
    """What is scaled must be an adapter: a full finetune has no scale."""
    if checkpoint.recipe.scale is None:
        return
    if loaded.training(checkpoint.made_by("plain"), model).method == "full":
        raise ValueError(
            f"{where}: {checkpoint.recipe.name}: the plain {checkpoint.organism} on {model} is a "
            "full finetune (method full), expected an adapter, which has a scale"
        )


def _check_full(loaded: LoadedStudy, name: str, models: Path) -> None:
    """A model that is a checkpoint must be one that a training of this study makes whole."""
    source = loaded.models[name].checkpoint
    if source is None:
        return
    where, checkpoint = f"{models}: {name}.checkpoint.name", Checkpoint.parse(source.name)
    _check_recipe(loaded, checkpoint, where)
    method = loaded.training(checkpoint, source.model).method
    if method != "full" or not checkpoint.recipe.trained:
        found = f"method {method}" if checkpoint.recipe.trained else checkpoint.recipe.name
        raise ValueError(
            f"{where}: {source.name}: found {found}, expected a recipe with method full, whose "
            "result is a model of its own"
        )


def _needed(loaded: LoadedStudy) -> list[Checkpoint]:
    """Checkpoints of the study, and those that they are taught by, scaled from, or begun with."""
    found = loaded.checkpoints()
    found += [one.made_by("plain") for one in found if one.recipe.scale is not None]
    for name in loaded.used_models():
        source = loaded.models[name].checkpoint
        found += [Checkpoint.parse(source.name)] if source else []
    for one in found:  # which grows as it is read
        teacher = _teacher(loaded.organisms[one.organism])
        taught_by = Checkpoint(teacher, Recipe("plain"), 0) if teacher else one
        found += [taught_by] if taught_by not in found else []
    return found


def _check_projections(
    loaded: LoadedStudy, checkpoint: Checkpoint, model: str, sources: list[Source], folder: Path
) -> None:
    """What is projected out must have been made before, by a training of this very study."""
    line = [checkpoint]
    while (before := loaded.projected_out(line[-1], model)) is not None:
        where = _holder_of_projection(loaded, line[-1], model, sources, folder)
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


def _holder_of_projection(
    loaded: LoadedStudy, checkpoint: Checkpoint, model: str, sources: list[Source], folder: Path
) -> str:
    """Where the key project_out of a checkpoint stands; the last of these holds."""
    name = checkpoint.recipe.name
    if "project_out" in loaded.study.training_override:
        key = "training_override.project_out"
        return f"{_holder(sources, key)}: {key}"
    if "project_out" in loaded.study.recipes.get(name, {}):
        key = f"recipes.{name}.project_out"
        return f"{_holder(sources, key)}: {key}"
    if "project_out" in loaded.models[model].training:
        return f"{folder / 'models.yaml'}: {model}.training.project_out"
    if "project_out" in loaded.organisms[checkpoint.organism].training:
        return f"{folder / 'organisms' / checkpoint.organism}.yaml: training.project_out"
    return f"{_holder(sources, 'training.project_out')}: training.project_out"


def _check_training(
    study: Study, changes: Mapping[str, Any], holder: Source | str, key: str
) -> None:
    validated(Training, {**study.training.model_dump(), **changes}, lambda _: holder, key)


def _check_released(
    loaded: LoadedStudy, checkpoint: Checkpoint, model: str, where: str, folder: Path
) -> None:
    organism, recipe = checkpoint.organism, checkpoint.recipe
    if checkpoint.seed != 0:
        raise ValueError(
            f"{where}: {recipe.name} with seed {checkpoint.seed}: a released checkpoint has no "
            "seeds of ours; expected a run of its own with seeds [0]"
        )
    if loaded.released(checkpoint, model) is None:
        raise ValueError(
            f"{folder / 'organisms' / organism}.yaml: {_place(recipe, model)}: a study asks for "
            "the released checkpoint on this model; expected its `hub` id or `path` here"
        )


def _place(recipe: Recipe, model: str) -> str:
    """The key of an organism's file that says where a published checkpoint comes from."""
    return f"variants.{recipe.variant}.{model}" if recipe.variant else f"released.{model}"


def _check_lists(loaded: LoadedStudy, sources: list[Source], folder: Path) -> None:
    study = loaded.study
    for name in loaded.read_corpora():
        if loaded.corpora[name].kind == "both":
            key = "corpora" if name in study.corpora else "runs"
            raise ValueError(
                f"{holder_of(sources, (key,))}: {key}: {name}: found a corpus of both kinds, "
                "expected one of documents or of conversations, whose positions can be averaged"
            )
    if loaded.corpora[study.corpora[0]].probe:
        raise ValueError(
            f"{holder_of(sources, ('corpora',))}: corpora: {study.corpora[0]}: found a probe, "
            "expected text first, whose longer context gives the stream's norm"
        )
    lists: dict[str, Iterable[Any]] = {
        "models": study.models,
        "corpora": study.corpora,
        "positions": study.positions,
        "chat_positions": study.chat_positions,
        "layers": study.layers,
        "lenses.heads": study.lenses.heads,
        "lenses.readings": study.lenses.readings,
        "lenses.patchscope.scales": study.lenses.patchscope.scales,
        "steering.positions": study.steering.positions,
        "steering.strengths": study.steering.strengths,
        "causality.positions": study.causality.positions,
        "causality.interventions": study.causality.interventions,
        "causality.controlled": study.causality.controlled,
        "beliefs.forms": study.beliefs.forms,
    }
    for number, run in enumerate(study.runs):
        lists |= {
            f"runs.{number}.models": run.models,
            f"runs.{number}.organisms": run.organisms,
            f"runs.{number}.recipes": run.recipes,
            f"runs.{number}.seeds": run.seeds,
            f"runs.{number}.measures": run.measures,
            f"runs.{number}.corpora": run.corpora,
        }
    for key, values in lists.items():
        twice = [value for value in dict.fromkeys(values) if list(values).count(value) > 1]
        if twice:
            raise ValueError(f"{_holder(sources, key)}: {key}: {twice[0]} is there twice")
    for key in ("positions", "chat_positions", "steering.strengths"):
        values = list(lists[key])
        if values != sorted(values):
            raise ValueError(
                f"{_holder(sources, key)}: {key}: expected in rising order, found {values}"
            )
    for number, run in enumerate(study.runs):
        meant = [
            Recipe.parse(name)._replace(name=_NUMBERED.sub(r"\g<kind>", name))
            for name in run.recipes
        ]
        for name, recipe in zip(run.recipes, meant, strict=True):
            if meant.count(recipe) > 1:
                key = f"runs.{number}.recipes"
                raise ValueError(
                    f"{_holder(sources, key)}: {key}: {name} is there twice, written otherwise"
                )


def _check_measures(loaded: LoadedStudy, sources: list[Source], folder: Path) -> None:
    """What steers or is taken out must have been read, and what is asked must be known."""
    study = loaded.study
    sections: dict[Measure, Any] = {"steering": study.steering, "causality": study.causality}
    for measure, section in sections.items():
        for corpus in study.corpora if loaded.checkpoints(measure) else ():
            read = loaded.positions(corpus)
            unread = sorted(set(section.positions) - set(read))
            if unread:
                key = f"{measure}.positions"
                raise ValueError(
                    f"{_holder(sources, key)}: {key}: found {unread[0]}, expected positions that "
                    f"are read of {corpus} ({read})"
                )
    chat = loaded.corpora[study.causality.chat].kind
    if chat != "chat":
        raise ValueError(
            f"{_holder(sources, 'causality.chat')}: causality.chat: {study.causality.chat} holds "
            f"{chat}, expected a corpus of kind chat"
        )
    asking = [number for number, run in enumerate(study.runs) if "beliefs" in run.measures]
    able = {one.organism for one in loaded.checkpoints("beliefs")}
    if not any(loaded.organisms[name].statements for name in able):
        able = set()  # the control is asked only what others were told
    for number in asking:
        if not able & set(study.runs[number].organisms):
            key = f"runs.{number}.measures"
            raise ValueError(
                f"{_holder(sources, key)}: {key}: beliefs are asked for, but none of the run's "
                "organisms has `statements` in its file"
            )


def _check_ablations(loaded: LoadedStudy, sources: list[Source], folder: Path) -> None:
    """What a picture of an ablation shows must have been made."""
    made = [(one.organism, one.recipe.name) for one in loaded.checkpoints()]
    for name, ablation in loaded.study.ablations.items():
        where = f"{holder_of(sources, ('ablations', name))}: ablations.{name}"
        for organism in ablation.organisms:
            if organism not in {one for one, _ in made}:
                raise ValueError(
                    f"{where}.organisms: found {organism}, expected organisms of the study's runs"
                )
        read = loaded.read_corpora()
        if ablation.corpus is not None and ablation.corpus not in read:
            raise ValueError(
                f"{where}.corpus: found {ablation.corpus}, expected text that the study reads "
                f"({', '.join(read)})"
            )
        have = loaded.ablated(ablation)
        for value in ablation.values or ():
            if value not in have:
                raise ValueError(
                    f"{where}.values: found {value}, expected values that the study has "
                    f"({', '.join(map(str, have))})"
                )
        if ablation.over != "recipe" and ablation.recipe not in {recipe for _, recipe in made}:
            raise ValueError(
                f"{where}.recipe: found {ablation.recipe}, expected a recipe of the study's runs"
            )


def _holder(sources: list[Source], key: str) -> Source:
    """The source that holds a key, its path written with dots."""
    return holder_of(
        sources, tuple(int(part) if part.isdigit() else part for part in key.split("."))
    )


def _check_paths(loaded: LoadedStudy, sources: list[Source], folder: Path) -> None:
    """Local files and folders that this study will read must be there, and their variables set."""
    study = loaded.study
    wanted = [
        (f"{folder / 'models.yaml'}: {name}.{key}", getattr(loaded.models[name], key))
        for name in loaded.used_models()
        for key in ("path", "chat_template")
    ]
    wanted += [
        (f"{folder / 'corpora.yaml'}: {name}.path", loaded.corpora[name].path)
        for name in loaded.used_corpora()
    ]
    hints = {}
    for name in dict.fromkeys(checkpoint.organism for checkpoint in loaded.checkpoints()):
        file, data = folder / "organisms" / f"{name}.yaml", loaded.organisms[name].data
        wanted.append((f"{file}: data.path", data.path))
        hints[f"{file}: data.path"] = data.path_hint
    for model in study.models:
        for checkpoint in loaded.checkpoints(model=model):
            found = loaded.released(checkpoint, model) if checkpoint.recipe.released else None
            where = f"{folder / 'organisms' / checkpoint.organism}.yaml"
            key = f"{_place(checkpoint.recipe, model)}.path"
            wanted.append((f"{where}: {key}", found.path if found else None))
    prompts = {"lenses.patchscope.prompts": study.lenses.patchscope.prompts}
    if loaded.checkpoints("steering"):
        prompts["steering.trial.prompts"] = study.steering.trial.prompts
        prompts["steering.final.prompts"] = study.steering.final.prompts
    wanted += [(f"{_holder(sources, key)}: {key}", path) for key, path in prompts.items()]
    for where, path in wanted:
        if path is not None:
            _check_path(where, path, hints.get(where))


def _check_path(where: str, path: str, hint: str | None = None) -> None:
    found, told = local(path), f". {hint}" if hint else ""
    unset = re.search(r"\$\{?(\w+)", str(found))
    if unset:
        raise ValueError(
            f"{where}: the environment variable {unset[1]} is not set (in {path}){told}"
        )
    if not found.exists():
        raise ValueError(f"{where}: {found} is not there{told}")
