"""
The validated study, and what it says of what wildcards name; for the files of this folder alone.

    study      the settings of this run (traces/config/schema.py: Study)
    registry   models, corpora and organisms by name, and the checkpoints the study asks for
"""

import atexit
import gc
import os
import re
from pathlib import Path

from traces.closure import digest
from traces.config.checkpoints import BASE, Checkpoint
from traces.config.files import local
from traces.config.load import load_study
from traces.config.readers import reader, settings_of
from traces.config.registries import Described, Lesson, Loading, Prepared, Source
from traces.config.schema import (
    Activations,
    Beliefs,
    CausalEffect,
    Choosing,
    Finals,
    Pretraining,
    Similarity,
    SyntheticCorpus,
    Trials,
)
from traces.corpora.rows import read_prompts, read_rows
from traces.printable import without_secrets

# Job objects live until exit, so looking for garbage among thousands of them only costs time.
gc.set_threshold(10_000_000)
atexit.register(gc.freeze)

# Relative, so that a checkout that was moved or copied has the same params.
SNAKEFILE = os.path.relpath(workflow.main_snakefile)
CONFIG = Path(os.path.relpath(workflow.basedir)) / "config"

# Snakemake lists the Snakefile's own configfile last, though the others override it.
CONFIGFILES = [*workflow.configfiles[-1:], *workflow.configfiles[:-1]]

try:
    settings = {key: value for key, value in config.items()}
    registry = load_study(settings, CONFIGFILES, CONFIG, workflow.config_settings.config)
except ValueError as error:
    raise WorkflowError(without_secrets(str(error))) from None
study = registry.study

CHECKPOINT = rf"{BASE}|[a-z0-9_]+-[a-z0-9_.]+-s\d+"
RELEASED = r"[a-z0-9_]+-released(_[a-z0-9_.]+)?-s\d+"
SCALED = r"[a-z0-9_]+-scaled[0-9.]+-s\d+"
TRAINED = rf"(?!{RELEASED}|{SCALED}).+"


def one_of(names):
    """A wildcard constraint: one of these names and nothing else."""
    return "|".join(re.escape(name) for name in names) or r"(?!)"


def code(name):
    """The digest of all code that a rule's script is made of: an edit there reruns the rule."""
    return digest(f"scripts/{name}.py")


def made(measure=None):
    """Pairs of model and checkpoint: all that the study makes, or those that ask for a measure."""
    return [(model, one) for model in study.models for one in registry.checkpoints(measure, model)]


# Wildcards to registry entries ------------------------------------------------------------------


def model_of(wildcards):
    return registry.models[wildcards.model]


def corpus_of(wildcards):
    return registry.corpora[wildcards.corpus]


def organism_of(wildcards):
    if hasattr(wildcards, "organism"):
        return registry.organisms[wildcards.organism]
    return registry.organisms[Checkpoint.parse(wildcards.checkpoint).organism]


def lesson_of(wildcards):
    return data_of(wildcards).taught


def data_of(wildcards):
    return organism_of(wildcards).data


def recipe_of(wildcards):
    return Checkpoint.parse(wildcards.checkpoint).recipe


def training_of(wildcards):
    return registry.training(Checkpoint.parse(wildcards.checkpoint), wildcards.model)


def ablation_of(wildcards):
    return study.ablations[wildcards.ablation]


def leaf(of, *path):
    """A params function: the one value at `path` of the entry that the wildcards name."""

    def value(wildcards):
        found = of(wildcards)
        for part in path:
            found = getattr(found, part) if found is not None else None
        return list(found) if isinstance(found, tuple) else found

    return value


def section(kind, of):
    """
    The keys of `kind`, a section in traces/config: of a section of the study, or of an entry.

    of : the section itself, or a function from wildcards to the entry
    """
    keys = set(kind.model_fields)
    if callable(of):
        return lambda wildcards: of(wildcards).model_dump(mode="json", include=keys)
    return of.model_dump(mode="json", include=keys)


# Params that are no leaf of an entry ------------------------------------------------------------


def released_of(wildcards):
    """The registry entry of a published checkpoint."""
    return registry.released(Checkpoint.parse(wildcards.checkpoint), wildcards.model)


def released_base(wildcards):
    """What a published adapter must name as its base: the model, or its other name."""
    return released_of(wildcards).base or model_of(wildcards).hub


def read_of(wildcards):
    """What is read of a corpus (traces/config/schema.py: ReadText)."""
    corpus = wildcards.corpus
    return {
        "kind": corpus_of(wildcards).kind,
        "layers": registry.layers(corpus),
        "positions": registry.positions(corpus),
        "samples": registry.samples(corpus),
    }


def mixture_of(wildcards):
    """What one training reads (traces/config/schema.py: Mixture)."""
    recipe, training = recipe_of(wildcards), training_of(wildcards)
    return {
        "kind": organism_of(wildcards).data.kind,
        "ratio": recipe.ratio,
        "matched": recipe.matched,
        "unit": study.mixing.unit,
        **training.model_dump(mode="json", include={"epochs", "limit", "max_length"}),
    }


def statement_pairs(wildcards):
    """An organism's statements: pairs of its file, or `made` for those of the made world."""
    pairs = organism_of(wildcards).statements
    return pairs if pairs == "made" else [pair.model_dump() for pair in pairs]


def reading_settings(wildcards):
    """What is read, and by which readers with which settings (traces/readers/reading.py: Settings)."""
    lenses = study.lenses.model_dump(mode="json")
    told = {name: settings_of(name, lenses) for name in study.lenses.readers}
    for name, own in told.items():
        own.update({key: str(local(own[key])) for key in reader(name).files})
    return {
        "readings": list(study.lenses.readings),
        "top_k": study.lenses.top_k,
        "readers": told,
    }


def draws(name):
    """What names a job's random draws (traces/config/schema.py: Draws); `name` holds wildcards."""
    return lambda wildcards: {"seed": study.seed, "name": name.format(**wildcards)}


def direction_seed(wildcards):
    """Every training seed has random directions of its own, so that intervals are over both."""
    return study.seed + Checkpoint.parse(wildcards.checkpoint).seed


def unfinished(wildcards, output):
    """Where a training keeps what it resumes from: beside its output, which a new job clears."""
    return f"{output.adapter}.unfinished"


# Checks of local data, once and before the first job --------------------------------------------


def check_local_data():
    """Read every local row and prompt once: a mistake in one is told before any job runs."""
    asked = [study.steering.trial.prompts, study.steering.final.prompts]
    for path in asked if registry.checkpoints("steering") else []:
        read_prompts(local(path))
    named = dict.fromkeys(one.organism for one in registry.checkpoints())
    entries = [registry.organisms[name].data for name in named]
    entries += [registry.corpora[name] for name in registry.used_corpora()]
    for entry in entries:
        if entry.path is not None:
            kind = None if entry.kind == "both" else entry.kind
            kind = "documents" if getattr(entry, "as_chat", None) else kind
            for _ in read_rows(local(entry.path), kind, open_end=entry.open_end):
                pass


if workflow.is_main_process:
    try:
        check_local_data()
    except ValueError as error:
        raise WorkflowError(without_secrets(str(error))) from None
