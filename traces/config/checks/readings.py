"""Check that a study reads what it measures and draws, and lists nothing twice."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from traces.config.checkpoints import Recipe
from traces.config.checks.places import Places
from traces.config.readers import READERS
from traces.config.schema import Ablation, Measure
from traces.config.study import LoadedStudy


def check_readings(loaded: LoadedStudy, places: Places) -> None:
    """Check the text, positions and values that a study reads, measures and draws."""
    for name in loaded.study.lenses.readers:
        if name not in READERS:
            raise ValueError(
                f"{places.at('lenses.readers')}: found {name}, expected {', '.join(READERS)}"
            )
    _check_corpora(loaded, places)
    _check_lists(loaded, places)
    _check_positions(loaded, places)
    _check_beliefs(loaded, places)
    for name, ablation in loaded.study.ablations.items():
        if found := lacking(loaded, ablation):
            raise ValueError(f"{places.at(f'ablations.{name}')}{found}")


def _check_corpora(loaded: LoadedStudy, places: Places) -> None:
    study = loaded.study
    for name in loaded.read_corpora():
        if loaded.corpora[name].kind == "both":
            key = "corpora" if name in study.corpora else "runs"
            raise ValueError(
                f"{places.at(key)}: {name}: found a corpus of both kinds, expected one of "
                "documents or of conversations, whose positions can be averaged"
            )
    if loaded.corpora[study.corpora[0]].probe:
        raise ValueError(
            f"{places.at('corpora')}: {study.corpora[0]}: found a probe, expected text first, "
            "whose longer context gives the residual-stream norm"
        )


def _check_lists(loaded: LoadedStudy, places: Places) -> None:
    """Refuse an entry that is listed twice, and values of an axis that are not in rising order."""
    # An entry twice would be two rules for one file, or a checkpoint counted twice in a mean.
    lists = _lists(loaded)
    for key, values in lists.items():
        twice = [value for value in dict.fromkeys(values) if values.count(value) > 1]
        if twice:
            raise ValueError(f"{places.at(key)}: {twice[0]} is there twice")
    for key in ("positions", "chat_positions", "steering.strengths"):
        values = list(lists[key])
        if values != sorted(values):
            raise ValueError(f"{places.at(key)}: expected in rising order, found {values}")
    for number, run in enumerate(loaded.study.runs):
        # mix0.5 and mix0.50 are one recipe under two names: two trainings that are the same.
        meant = [Recipe.parse(name).meaning for name in run.recipes]
        for name, meaning in zip(run.recipes, meant, strict=True):
            if meant.count(meaning) > 1:
                key = f"runs.{number}.recipes"
                raise ValueError(f"{places.at(key)}: {name} is there twice, written otherwise")


def _lists(loaded: LoadedStudy) -> Mapping[str, Sequence[Any]]:
    """Collect every list of a study in which nothing may occur twice, by its key."""
    study = loaded.study
    of_runs = ("models", "organisms", "recipes", "seeds", "measures", "corpora")
    return {
        "models": study.models,
        "corpora": study.corpora,
        "positions": study.positions,
        "chat_positions": study.chat_positions,
        "layers": study.layers,
        "lenses.readers": study.lenses.readers,
        "lenses.heads": study.lenses.heads,
        "lenses.readings": study.lenses.readings,
        "lenses.patchscope.scales": study.lenses.patchscope.scales,
        "steering.positions": study.steering.positions,
        "steering.strengths": study.steering.strengths,
        "causality.positions": study.causality.positions,
        "causality.interventions": study.causality.interventions,
        "causality.controlled": study.causality.controlled,
        "beliefs.forms": study.beliefs.forms,
        **{
            f"runs.{number}.{key}": getattr(run, key)
            for number, run in enumerate(study.runs)
            for key in of_runs
        },
    }


def _check_positions(loaded: LoadedStudy, places: Places) -> None:
    """Check that positions which steer or are replaced are read, and that the chats are chats."""
    study = loaded.study
    measures: dict[Measure, Iterable[int]] = {
        "steering": study.steering.positions,
        "causality": study.causality.positions,
    }
    for measure, positions in measures.items():
        for corpus in study.corpora if loaded.checkpoints(measure) else ():
            read = loaded.positions(corpus)
            unread = sorted(set(positions) - set(read))
            if unread:
                raise ValueError(
                    f"{places.at(f'{measure}.positions')}: found {unread[0]}, expected positions "
                    f"that are read of {corpus} ({read})"
                )
    kind = loaded.corpora[study.causality.chat].kind
    if kind != "chat":
        raise ValueError(
            f"{places.at('causality.chat')}: {study.causality.chat} holds {kind}, expected a "
            "corpus of kind chat"
        )


def _check_beliefs(loaded: LoadedStudy, places: Places) -> None:
    """Refuse a run that measures beliefs and has no organism with statements."""
    able = {one.organism for one in loaded.checkpoints("beliefs")}
    for number, run in enumerate(loaded.study.runs):
        if "beliefs" in run.measures and not able & set(run.organisms):
            raise ValueError(
                f"{places.at(f'runs.{number}.measures')}: beliefs are requested, but none of the "
                "run's organisms has `statements` in its file"
            )


def lacking(loaded: LoadedStudy, ablation: Ablation) -> str | None:
    """
    Find what an ablation shows that the study does not make and read; None if nothing.

    Returns the rest of a sentence that begins with the ablation's key.
    """
    # Returned, not raised: a selection drops such an ablation, a whole study is refused.
    made = [(one.organism, one.recipe.name) for one in loaded.checkpoints()]
    for organism in ablation.organisms:
        if organism not in {one for one, _ in made}:
            return f".organisms: found {organism}, expected organisms of the study's runs"
    read = loaded.read_corpora()
    if ablation.corpus is not None and ablation.corpus not in read:
        return (
            f".corpus: found {ablation.corpus}, expected text that the study reads "
            f"({', '.join(read)})"
        )
    if ablation.over != "recipe" and ablation.recipe not in {recipe for _, recipe in made}:
        return f".recipe: found {ablation.recipe}, expected a recipe of the study's runs"
    have = loaded.ablated(ablation)
    for value in ablation.values or ():
        if value not in have:
            known = ", ".join(map(str, have)) or "none"
            return f".values: found {value}, expected values that the study has ({known})"
    return None if have else ": expected something that the study makes and reads, found nothing"
