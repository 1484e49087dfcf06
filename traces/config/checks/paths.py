"""Check that local files and folders that a study reads exist, and where it may write."""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from traces.config.checkpoints import Checkpoint
from traces.config.checks.places import Places
from traces.config.files import SHOWN, local, shown
from traces.config.study import LoadedStudy

# What belongs to the checkout: the folders of its files, and those of Git, Snakemake and Python.
SOURCES = (
    *("config", "data", "docs", "envs", "profiles", "rules", "scripts", "slurm", "tests", "tools"),
    *("traces", ".ci", ".git", ".github", ".snakemake", ".venv"),
)


# Bytes of a folder's path, so that the system's limit of 4,096 leaves room for files in it.
LONGEST = 3000


class Wanted(NamedTuple):
    """Hold a configured path, if there is one, and the key that sets it."""

    where: str
    path: str | None
    what: Literal["file", "folder"]
    below: str | None = None
    "A folder below, which the key `subfolder` names."
    hint: str | None = None
    "How to get what is not there."


def check_paths(loaded: LoadedStudy, places: Places) -> None:
    """Refuse the first path that does not exist, or where no files can go."""
    # Only of what the study makes: a registry may name data that few machines have.
    read = list(_of_study(loaded, places))
    for name, path in loaded.study.pathvars:
        _check_written(places.at(f"pathvars.{name}"), path)
    check_there(read)
    for name, path in loaded.study.pathvars:
        for wanted in read:
            _check_apart(places.at(f"pathvars.{name}"), path, wanted)


def check_access(loaded: LoadedStudy, places: Places) -> None:
    """Refuse folders of results where this user may not write."""
    for name, path in loaded.study.pathvars:
        _check_access(places.at(f"pathvars.{name}"), path)


def check_there(several: Iterable[Wanted]) -> None:
    """Refuse the first path that does not exist, or is a folder in place of a file."""
    for wanted in several:
        if wanted.path is not None:
            _check(wanted, wanted.path)


def of_model(loaded: LoadedStudy, name: str, places: Places) -> Iterator[Wanted]:
    """Yield the paths of a model's entry."""
    entry = loaded.models[name]
    yield Wanted(f"{places.models}: {name}.path", entry.path, "folder", entry.subfolder)
    yield Wanted(f"{places.models}: {name}.gguf", entry.gguf, "file")
    yield Wanted(f"{places.models}: {name}.chat_template", entry.chat_template, "file")


def of_corpus(loaded: LoadedStudy, name: str, places: Places) -> Iterator[Wanted]:
    """Yield the path of a corpus' entry."""
    yield Wanted(f"{places.corpora}: {name}.path", loaded.corpora[name].path, "file")


def of_organism(loaded: LoadedStudy, name: str, places: Places) -> Iterator[Wanted]:
    """Yield the path of an organism's data."""
    data = loaded.organisms[name].data
    yield Wanted(f"{places.organism(name)}: data.path", data.path, "file", hint=data.path_hint)


def of_released(
    loaded: LoadedStudy, checkpoint: Checkpoint, model: str, places: Places
) -> Iterator[Wanted]:
    """Yield the path of a published checkpoint."""
    found = loaded.released(checkpoint, model) if checkpoint.recipe.released else None
    if found is not None:
        key = checkpoint.recipe.published_key(model)
        where = f"{places.organism(checkpoint.organism)}: {key}.path"
        yield Wanted(where, found.path, "folder", found.subfolder)


def folder_of_embedder(embedder: str) -> str | None:
    """
    Return the folder that `steering.embedder` names, as it is written; None for a hub's name.

    A name of the hub is `name` or `owner/name`. It is taken for a folder where that is one, or
    where `owner` is: then the folder below is missing.
    """
    inside, *more = embedder.split("/")
    hub = len(more) < 2 and inside[:1] not in ("", ".", "~") and "$" not in embedder
    if embedder == "tfidf" or (hub and not local(inside).is_dir()):
        return None
    return embedder


def of_steering(loaded: LoadedStudy, places: Places) -> Iterator[Wanted]:
    """Yield the files of prompts that steered texts answer, and the folder of their embedding."""
    steering = loaded.study.steering
    yield Wanted(places.at("steering.trial.prompts"), steering.trial.prompts, "file")
    yield Wanted(places.at("steering.final.prompts"), steering.final.prompts, "file")
    folder = folder_of_embedder(steering.embedder)
    yield Wanted(places.at("steering.embedder"), folder, "folder")


def of_samples(loaded: LoadedStudy, places: Places) -> Iterator[Wanted]:
    """Yield the file of prompts that both models reply to."""
    yield Wanted(places.at("lenses.samples.prompts"), loaded.study.lenses.samples.prompts, "file")


def check_answers(loaded: LoadedStudy, places: Places, *, writes: bool = True) -> None:
    """
    Refuse a folder of answers that nobody may write to, or that is deleted with the results.

    writes : whether jobs will write
    """
    where, path = places.at("judges.folder"), loaded.study.judges.folder
    _check_written(where, path)
    if writes:
        _check_access(where, path)
    folder = Path(os.path.realpath(local(path)))
    for name, other in loaded.study.pathvars:
        if folder.is_relative_to(os.path.realpath(local(other))):
            raise ValueError(
                f"{where}: found {path!r}, which is in pathvars.{name} ({other}) and would be "
                "deleted with it; expected a folder elsewhere, for the answers were paid for"
            )


def _of_study(loaded: LoadedStudy, places: Places) -> Iterator[Wanted]:
    for name in loaded.used_models():
        yield from of_model(loaded, name, places)
    for name in loaded.used_corpora():
        yield from of_corpus(loaded, name, places)
    for name in loaded.read_organisms():
        yield from of_organism(loaded, name, places)
    for model in loaded.study.models:
        for checkpoint in loaded.checkpoints(model=model):
            yield from of_released(loaded, checkpoint, model, places)
    patchscope = loaded.study.lenses.patchscope
    yield Wanted(places.at("lenses.patchscope.prompts"), patchscope.prompts, "file")
    if loaded.reads_samples():
        yield from of_samples(loaded, places)
    if loaded.checkpoints("steering"):
        yield from of_steering(loaded, places)
    if loaded.checkpoints("agents"):
        prompts = loaded.study.agents.asked.prompts
        yield Wanted(places.at("agents.asked.prompts"), prompts, "file")


def _check(wanted: Wanted, path: str) -> None:
    # The path as it is written: what its variables hold may be a secret.
    told = f". {wanted.hint}" if wanted.hint else ""
    check_variables(wanted.where, path, told)
    found = local(path)
    path = path if path.isprintable() and len(path) <= SHOWN else shown(path)
    try:
        there = found.exists()
    except OSError as error:
        raise ValueError(f"{wanted.where}: {path}: {error.strerror}, expected a path") from None
    if not there:
        raise ValueError(f"{wanted.where}: {path} is not there{told}")
    if wanted.what == "file" and not found.is_file():
        what = "a folder" if found.is_dir() else "a pipe or a device"
        raise ValueError(f"{wanted.where}: {path} is {what}, expected a file")
    if wanted.what == "folder" and not found.is_dir():
        raise ValueError(f"{wanted.where}: {path} is a file, expected a folder")
    if wanted.below is not None and not (found / wanted.below).is_dir():
        raise ValueError(
            f"{wanted.where}: {path}: found no folder {wanted.below}, which `subfolder` names"
        )


def check_variables(where: str, path: str, told: str = "") -> None:
    """Refuse a variable that is not set, or is set to nothing: the path would be another one."""
    for braced, plain in re.findall(r"\$(?:\{([^}]*)\}|(\w+))", path):
        if not os.environ.get(braced or plain):
            raise ValueError(
                f"{where}: the environment variable {braced or plain} is not set (in {path}){told}"
            )


def _check_apart(where: str, path: str, wanted: Wanted) -> None:
    """Refuse a folder that is read, or one inside of it, and the folder of a file that is."""
    if wanted.path is None:
        return
    found, read = (Path(os.path.realpath(local(one))) for one in (path, wanted.path))
    if found.is_relative_to(read) if wanted.what == "folder" else found == read.parent:
        raise ValueError(
            f"{where}: found {path!r}, where {wanted.path} lies ({wanted.where}); expected a "
            "folder for these files alone, such as results"
        )


def _check_written(where: str, path: str) -> None:
    """Refuse where files cannot go: nowhere, into the repository itself, or into a file."""
    if not path.strip():
        raise ValueError(f"{where}: found {path!r}, expected a folder")
    check_variables(where, path)
    found = local(path)
    # Snakemake's report holds paths and escapes none of them. `<logs>` and the like it fills in.
    if "<" in re.sub(r"<(results|logs|benchmarks)>", "", str(found)):
        raise ValueError(f"{where}: found {path!r}, expected a folder without the character <")
    # Snakemake would read braces as wildcards.
    if re.search(r"[{}\x00-\x1f]", str(found)):
        raise ValueError(f"{where}: found {path!r}, expected a folder without braces and controls")
    if str(found).startswith("~"):
        raise ValueError(f"{where}: found {path!r}, of which {found.parts[0]} is nobody's home")
    here, there = Path.cwd(), Path(os.path.realpath(found))
    sources = (here / name for name in SOURCES)
    if here.is_relative_to(there) or any(there.is_relative_to(one) for one in sources):
        raise ValueError(
            f"{where}: found {path!r}, expected a folder for these files alone, such as results"
        )
    if len(os.fsencode(found)) > LONGEST:
        raise ValueError(f"{where}: found {shown(path)}, expected a shorter path")
    there = _nearest(found)
    if not there.is_dir():
        what = "a file" if there.exists() else "a link to what is not there"
        raise ValueError(f"{where}: {path} is, or is in, {what}; expected a folder")


def _nearest(path: Path) -> Path:
    """A path itself, or the first above it that is there."""
    return next(one for one in (path, *path.parents) if one.exists() or one.is_symlink())


def _check_access(where: str, path: str) -> None:
    there = _nearest(local(path))
    if not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(
            f"{where}: found {path!r}, where nothing may be written ({there}); expected a folder "
            "of your own"
        )
