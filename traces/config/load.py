"""
Load a study from its configuration: validate, check, and select by `only` and `without`.

Every failure is one sentence and comes before the first job.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from traces.config.checks.agents import check_agents, check_reached
from traces.config.checks.judges import check_addresses, check_judges
from traces.config.checks.names import check_names
from traces.config.checks.paths import check_access, check_answers, check_paths
from traces.config.checks.places import Places
from traces.config.checks.readings import check_readings, check_rows, lacking
from traces.config.checks.recipes import check_recipes
from traces.config.checks.secrets import check_secrets
from traces.config.checks.words import check_words
from traces.config.files import (
    CommandLine,
    Section,
    Source,
    as_meant,
    holder_of,
    merged,
    read_yaml,
    validated,
)
from traces.config.registries import (
    NAME,
    CorpusEntry,
    ModelEntry,
    Organism,
    Prices,
    refuse_long_name,
)
from traces.config.schema import Ablation, Study
from traces.config.selection import runs_left, runs_placed
from traces.config.study import LoadedStudy


def load_study(
    config: Mapping[str, Any],
    files: Iterable[Path | str],
    folder: Path = Path("config"),
    command_line: Mapping[str, Any] | None = None,
    *,
    writes: bool = True,
) -> LoadedStudy:
    """
    Validate a merged configuration and the registries in `folder`.

    config       : the study as Snakemake merged it
    files        : the files it was merged from, in order; a message names the one that holds a key
    command_line : what `--config` set after them (traces/config/command_line.py: set_by)
    writes       : whether jobs will write; else results that this user can only read will do

    Raises ValueError with one sentence for the first thing that is wrong.
    """
    loaded, places = _read(config, files, folder, command_line or {})
    # Paths last: what the selection leaves out need not be on this machine.
    loaded = loaded._replace(study=_asked_for(loaded, places))
    check_paths(loaded, places)
    if writes:
        check_access(loaded, places)
    # A selection without judges needs no address of theirs.
    if loaded.checkpoints("judges"):
        check_addresses(loaded, places)
        check_answers(loaded, places, writes=writes)
    if loaded.checkpoints("agents"):
        check_reached(loaded, places, writes=writes)
    check_rows(loaded, places)
    check_words(loaded, places)
    return loaded


def read_study(
    files: Iterable[Path],
    folder: Path = Path("config"),
    command_line: Mapping[str, Any] | None = None,
) -> LoadedStudy:
    """
    Merge and validate a study's files and the registries in `folder`, without their data.

    command_line : what `--config` sets after them, as `load_study` takes it

    No file that the study names need be on this machine. Raises ValueError as `load_study` does.
    """
    files, said = list(files), command_line or {}
    loaded, places = _read(merged([*map(read_yaml, files), said]), files, folder, said)
    return loaded._replace(study=_asked_for(loaded, places))


def _read(
    config: Mapping[str, Any],
    files: Iterable[Path | str],
    folder: Path,
    command_line: Mapping[str, Any],
) -> tuple[LoadedStudy, Places]:
    sources: list[Source] = [*map(Path, files), CommandLine(command_line)]
    # Read here once, so that a file which is no YAML is reported before anything it may lack.
    config = as_meant(config, sources)
    places = Places(sources, folder)
    study = validated(Study, config, lambda loc: holder_of(sources, loc))
    loaded = LoadedStudy(
        study,
        _registry(places.models, ModelEntry),
        _registry(places.corpora, CorpusEntry),
        _organisms(places.organisms),
        validated(Prices, read_yaml(places.prices), lambda _: places.prices),
    )
    loaded = loaded._replace(study=_with_placed(loaded, places))
    checks = (check_names, check_recipes, check_readings, check_secrets, check_judges, check_agents)
    for check in checks:
        check(loaded, places)
    return loaded, places


def _with_placed(loaded: LoadedStudy, places: Places) -> Study:
    """Add the runs of the organisms that are placed. Raises ValueError for one without a file."""
    study = loaded.study
    for name in study.placed:
        if name not in loaded.organisms:
            raise ValueError(
                f"{places.at('placed')}: found {name}, expected a file of {places.organisms}"
            )
    if study.placed and study.ladder:
        raise ValueError(
            f"{places.at('placed')}: found {study.placed[0]} beside a `ladder`, expected a study "
            "without one, such as config/readers_smol.yaml behind config/smol.yaml"
        )
    runs = (*study.runs, *runs_placed(study, loaded.organisms))
    return study.model_copy(update={"runs": runs})


def load_organism(file: Path) -> Organism:
    """Load one organism's file."""
    return validated(Organism, read_yaml(file), lambda _: file)


def _organisms(folder: Path) -> dict[str, Organism]:
    # Editors leave .#name.yaml beside a file, and macOS leaves ._name.yaml.
    files = [file for file in sorted(folder.glob("*.yaml")) if not file.name.startswith(".")]
    # YAML's other ending, in any case: what nobody reads is an organism that is missed.
    for file in sorted(folder.iterdir()):
        if re.fullmatch(r"(?!\.).*\.ya?ml", file.name, re.IGNORECASE) and file not in files:
            raise ValueError(f"{file}: found the ending {file.suffix}, expected .yaml")
    return {_checked_name(file.stem, str(file)): load_organism(file) for file in files}


def _registry(file: Path, kind: type[Section]) -> dict[str, Section]:
    return {
        _checked_name(name, str(file)): validated(kind, entry, lambda _: file, name)
        for name, entry in read_yaml(file).items()
    }


def _checked_name(name: Any, where: str) -> str:
    # Names become folders and wildcards, and a dash would end an organism in a checkpoint's name.
    if not isinstance(name, str) or not re.fullmatch(NAME, name):
        raise ValueError(
            f"{where}: found the name {name!r}, expected small letters, digits and underscores"
        )
    refuse_long_name(name, where)
    return name


# A selection of a study --------------------------------------------------------------------------


def _asked_for(loaded: LoadedStudy, places: Places) -> Study:
    """Reduce the study to the runs that `only` and `without` select, and to their ablations."""
    study = loaded.study
    if not study.only and not study.without:
        return study
    runs = runs_left(study, loaded.organisms)
    if not runs:
        raise ValueError(f"{places.holder('without')}: only and without leave no run, expected one")
    asked = {name for run in runs for name in run.models}
    models = tuple(name for name in study.models if name in asked)
    made = {name for run in runs for name in run.organisms}
    # Snakemake would plan everything that the study names: what no selected run makes must go.
    control = study.control if study.control in made else None
    part = study.model_copy(update={"runs": tuple(runs), "models": models, "control": control})
    drawn = {name: _left(loaded._replace(study=part), one) for name, one in study.ablations.items()}
    kept = {name: ablation for name, ablation in drawn.items() if ablation is not None}
    return part.model_copy(update={"ablations": kept})


def _left(loaded: LoadedStudy, ablation: Ablation) -> Ablation | None:
    """Reduce an ablation to a selection's organisms; None if fewer than two values are left."""
    made = {one.organism for one in loaded.checkpoints()}
    organisms = tuple(name for name in ablation.organisms if name in made)
    if ablation.organisms and not organisms:
        return None
    ablation = ablation.model_copy(update={"organisms": organisms})
    if lacking(loaded, ablation):
        return None
    varied = ablation.values or loaded.ablated(ablation)
    return ablation if len(varied) > 1 else None
