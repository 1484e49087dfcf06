"""Check that local files and folders that a study reads exist, and their variables are set."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from traces.config.checks.places import Places
from traces.config.files import local
from traces.config.study import LoadedStudy


class Wanted(NamedTuple):
    """Hold a configured path, if there is one, and the key that sets it."""

    where: str
    path: str | None
    hint: str | None = None
    "How to get what is not there."


def check_paths(loaded: LoadedStudy, places: Places) -> None:
    """Refuse the first path that does not exist."""
    # Only of what the study makes: a registry may name data that few machines have.
    for wanted in (
        *_of_registries(loaded, places),
        *_of_organisms(loaded, places),
        *_of_study(loaded, places),
    ):
        if wanted.path is not None:
            _check(wanted.where, wanted.path, f". {wanted.hint}" if wanted.hint else "")


def _of_registries(loaded: LoadedStudy, places: Places) -> Iterator[Wanted]:
    for name in loaded.used_models():
        for key in ("path", "chat_template"):
            yield Wanted(f"{places.models}: {name}.{key}", getattr(loaded.models[name], key))
    for name in loaded.used_corpora():
        yield Wanted(f"{places.corpora}: {name}.path", loaded.corpora[name].path)


def _of_organisms(loaded: LoadedStudy, places: Places) -> Iterator[Wanted]:
    for name in dict.fromkeys(checkpoint.organism for checkpoint in loaded.checkpoints()):
        data = loaded.organisms[name].data
        yield Wanted(f"{places.organism(name)}: data.path", data.path, data.path_hint)
    for model in loaded.study.models:
        for checkpoint in loaded.checkpoints(model=model):
            if checkpoint.recipe.released and (found := loaded.released(checkpoint, model)):
                file, key = places.organism(checkpoint.organism), checkpoint.recipe
                yield Wanted(f"{file}: {key.published_key(model)}.path", found.path)


def _of_study(loaded: LoadedStudy, places: Places) -> Iterator[Wanted]:
    study = loaded.study
    yield Wanted(places.at("lenses.patchscope.prompts"), study.lenses.patchscope.prompts)
    if loaded.checkpoints("steering"):
        yield Wanted(places.at("steering.trial.prompts"), study.steering.trial.prompts)
        yield Wanted(places.at("steering.final.prompts"), study.steering.final.prompts)


def _check(where: str, path: str, told: str) -> None:
    found = local(path)
    # Unset variables are left in place by `expandvars`, and would read as a missing file.
    unset = re.search(r"\$\{?(\w+)", str(found))
    if unset:
        raise ValueError(
            f"{where}: the environment variable {unset[1]} is not set (in {path}){told}"
        )
    if not found.exists():
        raise ValueError(f"{where}: {found} is not there{told}")
