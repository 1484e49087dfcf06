"""
Select runs of a study: `only` selects and `without` excludes, by the names of runs and others.

Pure functions of the study as it is written and of the organisms' files.
"""

from collections.abc import Iterable, Mapping

from traces.config.registries import Organism
from traces.config.schema import Run, Study

Organisms = Mapping[str, Organism]


def nameable(study: Study, organisms: Organisms) -> dict[str, dict[str, set[str]]]:
    """
    List the names that can be selected: kind -> name -> the runs, models or organisms it selects.

    Kinds are in the order in which a name is looked up.
    """
    # Only what the study makes: a name of the registries that selects nothing is a mistake.
    made = dict.fromkeys(name for run in study.runs for name in run.organisms)
    families: dict[str, set[str]] = {}
    for name in made:
        families.setdefault(organisms[name].family, set()).add(name)
    return {
        "run": {run.name: {run.name} for run in study.runs if run.name is not None},
        "model": {name: {name} for name in study.models},
        "organism": {name: {name} for name in made},
        "family": families,
    }


def runs_placed(study: Study, organisms: Organisms) -> list[Run]:
    """
    The runs of the organisms in `placed`, which must have files.

    A published checkpoint is read on the models it was published for, and a plain training of seed
    0 is made on all models of the study.
    """
    runs = []
    for name in study.placed:
        published = tuple(one for one in study.models if one in organisms[name].released)
        recipe = "released" if published else "plain"
        read = {"organisms": (name,), "recipes": (recipe,), "seeds": (0,)}
        runs.append(Run.model_validate({"models": published, **read}))
    return runs


def runs_left(study: Study, organisms: Organisms) -> list[Run]:
    """
    Apply `only` and `without` to the runs; each keeps the models and organisms that are left.

    Selected organisms keep the control beside them, on the models they are made on.
    """
    # Without the control no table of a selection could compare anything.
    only, without = (_meant(names, study, organisms) for names in (study.only, study.without))
    picked = bool(only["organism"])
    if picked and study.control is not None:
        only["organism"] |= {study.control}

    def left(kind: str, names: Iterable[str | None]) -> tuple[str | None, ...]:
        asked = [one for one in names if not only[kind] or one in only[kind]]
        return tuple(one for one in asked if one not in without[kind])

    runs = [
        run.model_copy(
            update={
                "models": left("model", run.models or study.models),
                "organisms": left("organism", run.organisms),
            }
        )
        for run in study.runs
        if left("run", [run.name])
    ]
    runs = [run for run in runs if run.models and run.organisms]
    return _beside_others(runs, study.control) if picked else runs


def _meant(names: Iterable[str], study: Study, organisms: Organisms) -> dict[str, set[str]]:
    """Resolve `names` to runs, models and organisms."""
    kinds = nameable(study, organisms)
    meant: dict[str, set[str]] = {"run": set(), "model": set(), "organism": set()}
    for name in names:
        kind = next(kind for kind, of in kinds.items() if name in of)
        meant["organism" if kind == "family" else kind] |= kinds[kind][name]
    return meant


def _beside_others(runs: list[Run], control: str | None) -> list[Run]:
    """Remove the control from models that have no organism to compare it with."""
    # Unless the control itself is all that was selected.
    others = {model for run in runs if run.organisms != (control,) for model in run.models}
    kept = [
        run.model_copy(update={"models": tuple(one for one in run.models if one in others)})
        for run in runs
    ]
    return [run for run in kept if run.models] if others else runs
