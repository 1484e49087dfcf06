"""Check that every name in a configuration exists, and that no chain of names is a circle."""

import re
import unicodedata
from collections.abc import Callable
from functools import partial

from traces.config.checkpoints import Checkpoint
from traces.config.checks.places import Places
from traces.config.registries import refuse_long_name
from traces.config.selection import nameable
from traces.config.study import LoadedStudy

Known = Callable[[str, str, str], None]  # kind, name, where: `check_known` of one study
_REGISTRIES = {"model": "models", "corpus": "corpora", "organism": "organisms"}


def check_names(loaded: LoadedStudy, places: Places) -> None:
    """Check models, corpora, organisms, runs and selections, wherever they are named."""
    known = partial(check_known, loaded, places)
    _check_study(loaded, places, known)
    _check_parts(loaded, places)
    _check_organisms(loaded, places, known)
    _check_titles(loaded, places)
    _check_models(loaded, places, known)
    _check_corpora(loaded, places, known)
    _check_sampled(loaded, places)


def check_known(loaded: LoadedStudy, places: Places, kind: str, name: str, where: str) -> None:
    """Refuse a name that the registry of its kind lacks; the message lists those it has."""
    registry = getattr(loaded, _REGISTRIES[kind])
    if name not in registry:
        have = ", ".join(sorted(registry)) or "none"
        home = getattr(places, _REGISTRIES[kind])
        raise ValueError(f"{where}: {name}: no such {kind} in {home} (have {have})")


def _check_study(loaded: LoadedStudy, places: Places, known: Known) -> None:
    study = loaded.study
    for name in study.models:
        known("model", name, places.at("models"))
    for name in study.scoring.pilot_models:
        known("model", name, places.at("scoring.pilot_models"))
    for key, name in (
        *(("corpora", name) for name in study.corpora),
        *(("runs", name) for run in study.runs for name in run.corpora),
        ("mixing", study.mixing.corpus),
        ("lenses", study.lenses.vocabulary_corpus),
        ("relevance", study.relevance.corpus),
        ("causality", study.causality.chat),
    ):
        known("corpus", name, places.at(key))
    runs = places.at("runs")
    for name in (name for run in study.runs for name in run.models):
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
        known("organism", name, places.at(key))


def _check_parts(loaded: LoadedStudy, places: Places) -> None:
    """Refuse a name in `only` or `without` that selects nothing of the study."""
    # A slip in `without` would otherwise leave everything in, and nobody would notice.
    parts = nameable(loaded.study, loaded.organisms)
    for key in ("only", "without"):
        for name in getattr(loaded.study, key):
            if not any(name in of for of in parts.values()):
                have = "; ".join(f"{kind}: {', '.join(of)}" for kind, of in parts.items() if of)
                raise ValueError(
                    f"{places.at(key)}: {name}: nothing of this study has this name (have {have})"
                )


def _check_organisms(loaded: LoadedStudy, places: Places, known: Known) -> None:
    # Every organism, also one that the study does not make: its file is broken for any study.
    for name, organism in loaded.organisms.items():
        where = places.organism(name)
        for model in organism.released:
            known("model", model, f"{where}: released")
        for variant, models in organism.variants.items():
            if not re.fullmatch(r"[a-z0-9][a-z0-9_.]*", variant):
                raise ValueError(
                    f"{where}: variants: found the name {variant!r}, expected small letters, "
                    "digits, underscores and points"
                )
            refuse_long_name(variant, f"{where}: variants")
            for model in models:
                known("model", model, f"{where}: variants.{variant}")
        if organism.data.corpus is not None:
            known("corpus", organism.data.corpus, f"{where}: data.corpus")
            _check_kind(loaded, name, where)
        if organism.mixed_with is not None:
            known("corpus", organism.mixed_with, f"{where}: mixed_with")
        if organism.teacher is not None:
            known("organism", organism.teacher, f"{where}: data.taught.teacher")
        if organism.words_of is not None:
            known("organism", organism.words_of, f"{where}: words_of")
        for kind, twin in organism.twins.items():
            known("organism", twin, f"{where}: twins.{kind}")
            if twin == name:
                raise ValueError(f"{where}: twins.{kind}: found itself, expected another organism")
        if "true_facts" in organism.twins:
            _check_true_twin(loaded, name, where)
    for name in loaded.organisms:
        where = f"{places.organism(name)}: data.taught.teacher"
        _refuse_circle(name, lambda one: loaded.organisms[one].teacher, where, "is taught by")


def _check_true_twin(loaded: LoadedStudy, name: str, where: object) -> None:
    """Refuse a true twin of or among benign organisms, and one that has a true twin itself."""
    twin = loaded.organisms[name].twins["true_facts"]
    families = {loaded.organisms[one].family for one in (name, twin)}
    if "benign" in families or "true_facts" in loaded.organisms[twin].twins:
        raise ValueError(
            f"{where}: twins.true_facts: found {twin}, expected a narrow organism that has no true "
            "twin itself, in the file of one that is not benign"
        )


def _check_kind(loaded: LoadedStudy, name: str, where: object) -> None:
    """Refuse an organism of conversations whose rows are a corpus' documents, or the reverse."""
    data = loaded.organisms[name].data
    corpus = loaded.corpora[str(data.corpus)]
    read_as = "documents" if data.as_chat is not None else data.kind
    if corpus.kind not in (read_as, "both"):
        raise ValueError(
            f"{where}: data.kind: found {read_as}, expected {corpus.kind}, the kind of the corpus "
            f"{data.corpus}"
        )


def _check_titles(loaded: LoadedStudy, places: Places) -> None:
    """Refuse two organisms of the study with one title: tables would show two rows of one name."""
    # Of the study alone: the registry may hold two of a kind that no study makes together.
    made = dict.fromkeys(name for run in loaded.study.runs for name in run.organisms)
    first: dict[str, str] = {}
    for name in made:
        title = loaded.organisms[name].title
        seen = " ".join(unicodedata.normalize("NFC", title).split())
        if seen in first:
            raise ValueError(
                f"{places.organism(name)}: title: found {title!r}, which is the title in "
                f"{places.organism(first[seen])}, too; expected a title of its own"
            )
        first[seen] = name


def _check_corpora(loaded: LoadedStudy, places: Places, known: Known) -> None:
    for name, entry in loaded.corpora.items():
        if entry.sampled is not None:
            known("model", entry.sampled.model, f"{places.corpora}: {name}.sampled.model")


def _check_sampled(loaded: LoadedStudy, places: Places) -> None:
    """Refuse text whose writer is itself finetuned on that text."""
    for name in loaded.corpora:
        behind, waiting = set[str](), [name]
        while waiting:
            sources = _corpora_behind(loaded, waiting.pop())
            waiting += sources - behind
            behind |= sources
        if name in behind:
            raise ValueError(
                f"{places.corpora}: {name}.sampled.model: found a model that is finetuned on "
                f"{name} itself, or on text that comes from it, which is a circle"
            )


def _corpora_behind(loaded: LoadedStudy, name: str) -> set[str]:
    """The corpora that the writer of a corpus is finetuned on, if it is a checkpoint made here."""
    sampled, found = loaded.corpora[name].sampled, set[str]()
    entry = None if sampled is None else loaded.models[sampled.model]
    while entry is not None and entry.checkpoint is not None:
        checkpoint = Checkpoint.parse(entry.checkpoint.name)
        if checkpoint.recipe.mixed:
            found.add(loaded.mixed_with(checkpoint))
        organism: str | None = checkpoint.organism
        while organism is not None:
            data = loaded.organisms[organism].data
            found |= set() if data.corpus is None else {data.corpus}
            organism = loaded.organisms[organism].teacher
        entry = loaded.models[entry.checkpoint.model]
    return found


def _check_models(loaded: LoadedStudy, places: Places, known: Known) -> None:
    for name, entry in loaded.models.items():
        where = f"{places.models}: {name}"
        if entry.checkpoint is not None:
            known("model", entry.checkpoint.model, f"{where}.checkpoint.model")
        if entry.reference is not None:
            known("model", entry.reference, f"{where}.reference")
        if entry.reference == name:
            raise ValueError(
                f"{where}.reference: found the model itself, which is what is subtracted without "
                "this key"
            )

    # Circles come first: resolving a checkpoint below would follow one without end.
    def made_from(model: str) -> str | None:
        source = loaded.models[model].checkpoint
        return source and source.model

    for name, entry in loaded.models.items():
        where = f"{places.models}: {name}.checkpoint"
        _refuse_circle(name, made_from, where, "is made from")
        if entry.checkpoint is not None:
            try:
                checkpoint = Checkpoint.parse(entry.checkpoint.name)
            except ValueError as error:
                raise ValueError(f"{where}.name: {error}") from None
            known("organism", checkpoint.organism, f"{where}.name")


def _refuse_circle(name: str, before: Callable[[str], str | None], where: str, verb: str) -> None:
    """Follow what something is made from; refuse a chain that comes back to itself."""
    line = [name]
    while source := before(line[-1]):
        if source in line:
            circle = f" {verb} ".join([*line, source])
            raise ValueError(f"{where}: {circle}, which is a circle")
        line.append(source)
