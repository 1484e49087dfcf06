"""
The validated study, and what it says of what wildcards name; for the files of this folder alone.

    study      the settings of this run (traces/config/schema.py: Study)
    registry   models, corpora and organisms by name, and the checkpoints the study asks for
"""

import atexit
import gc
import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

from snakemake.pathvars import Pathvars

from traces.running.closure import digest
from traces.config.checkpoints import BASE, Checkpoint
from traces.config.checks.paths import folder_of_embedder
from traces.config.checks.places import Places
from traces.config.checks.targets import check_target
from traces.config.command_line import check_options, named_files, only_shows, set_by
from traces.config.files import as_meant, local
from traces.config.load import load_study
from traces.benchmark.ladder import batches, check_ladder
from traces.benchmark.members import candidates, members
from traces.config.readers import reader, settings_of
from traces.config.vocabularies import (
    AGENTS,
    ASKED_WITH,
    COMPARED,
    GENERAL_RUBRIC,
    GRADED_WITH,
    RUBRICS,
    RULES,
    PromptForm,
)
from traces.config.registries import (
    Described,
    Drawn,
    Lesson,
    Loading,
    Origin,
    Prepared,
    Sampled,
    Source,
)
from traces.config.schema import (
    Activations,
    AgentQuestions,
    Asked,
    AskedAnswers,
    AskedScales,
    AskedTexts,
    AskedTokens,
    Beliefs,
    CausalEffect,
    ChoiceHeadline,
    Choosing,
    Finals,
    Grader,
    Investigating,
    Judges,
    Patient,
    Pretraining,
    Samples,
    Scoring,
    Similarity,
    SyntheticCorpus,
    Trials,
)
from traces.corpora import english
from traces.costs.fitting import check_fit
from traces.running.digests import Digests
from traces.local_data import LocalData
from traces.models.folders import base_files, checkpoint_files, embedder_files
from traces.printable import without_secrets

# Job objects live until exit, so looking for garbage among thousands of them only costs time.
gc.set_threshold(10_000_000)
atexit.register(gc.freeze)

# Relative, so that a checkout that was moved or copied has the same params.
SNAKEFILE = os.path.relpath(workflow.main_snakefile)
CONFIG = Path(os.path.relpath(workflow.basedir)) / "config"

# Snakemake lists the Snakefile's own configfile last, though the others override it.
CONFIGFILES = [Path(file) for file in (*workflow.configfiles[-1:], *workflow.configfiles[:-1])]

try:
    if workflow.is_main_process:
        check_options(sys.argv[1:])
    said = set_by(workflow.config_settings.config_args or ())
    settings = as_meant(config, [*CONFIGFILES, said])
    writes = not only_shows(sys.argv[1:])
    registry = load_study(settings, CONFIGFILES, CONFIG, said, writes=writes)
except ValueError as error:
    raise WorkflowError(without_secrets(str(error))) from None
study = registry.study
# Beside what Snakemake itself remembers of this checkout; jobs only look.
digests = Digests(Path(".snakemake/contents.json"), writes=workflow.is_main_process)
places = Places([*CONFIGFILES, said], CONFIG)

# Where files go, environment variables filled in. Snakemake took the folders from the configuration
# as they stand there; what it takes from a configuration later replaces them.
filled = {
    "results": str(local(study.pathvars.results)),
    "logs": str(local(study.pathvars.logs)),
    "benchmarks": str(local(study.pathvars.benchmarks)),
}
workflow.pathvars.update(Pathvars.from_config({"pathvars": filled}))
FOLDERS = {name: workflow.pathvars.apply(f"<{name}>") for name in filled}

CHECKPOINT = rf"{BASE}|[a-z0-9_]+-[a-z0-9_.]+-s\d+"
RELEASED = r"[a-z0-9_]+-released(_[a-z0-9_.]+)?-s\d+"
SCALED = r"[a-z0-9_]+-scaled[0-9.]+-s\d+"
TUNED = rf"(?!{BASE}[.]).+"
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
    """The entry of the model that a job loads: of the one it names, or of the one that writes."""
    name = wildcards.model if hasattr(wildcards, "model") else sampled_of(wildcards).model
    return registry.models[name]


def corpus_of(wildcards):
    return registry.corpora[wildcards.corpus]


def sampled_of(wildcards):
    return corpus_of(wildcards).sampled


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


def grader_prices(graders=study.judges.graders):
    """What each model that is asked costs: input and output; none where that is not known."""
    known = registry.prices.models
    return {
        one.model: (known[one.model].input, known[one.model].output) if one.model in known else None
        for one in graders
    }


def released_of(wildcards):
    """The registry entry of a published checkpoint."""
    return registry.released(Checkpoint.parse(wildcards.checkpoint), wildcards.model)


def released_base(wildcards):
    """What a published adapter may name as its base: one of the model's names, or the one given."""
    given, hub = released_of(wildcards).base, model_of(wildcards).hub
    if given is not None:
        return [given]
    return [*([] if hub is None else [hub]), *model_of(wildcards).also_called]


def read_of(wildcards):
    """What is read of a corpus (traces/config/schema.py: ReadText)."""
    corpus = wildcards.corpus
    return {
        "kind": corpus_of(wildcards).kind,
        "layers": registry.layers(corpus),
        "positions": registry.positions(corpus),
        "samples": registry.samples(corpus),
    }


def most_samples(wildcards, output):
    """
    The most samples that are read of a corpus' rows, under any of its names; None if none are.

    It takes `output`, so that Snakemake leaves it out of what a changed value makes anew: another
    number of samples needs the same rows.
    """
    names = [one for one in registry.read_corpora() if registry.text_of(one) == wildcards.corpus]
    return max(map(registry.samples, names), default=None)


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
    """An organism's statements: pairs of its file, or `made` for those of the synthetic corpus."""
    pairs = organism_of(wildcards).statements
    return pairs if pairs == "made" else [pair.model_dump() for pair in pairs]


def readers_here(adjusted=False):
    """The study's readers of one checkpoint alone, or those that need other organisms' scores."""
    named = study.lenses.readers
    return [name for name in named if (reader(name).needs == "others") == adjusted]


def reading_settings(wildcards, adjusted=False):
    """
    What is read, and by which readers with which settings (traces/readers/reading.py: Settings).

    adjusted : with the readers that need other organisms' scores
    """
    lenses = study.lenses.model_dump(mode="json")
    # A probe has no two activations that differ.
    lacking = ("activations",) if corpus_of(wildcards).probe else ()
    nulls = [name for name in study.lenses.contrast.nulls if name not in lacking]
    lenses["contrast"]["nulls"] = nulls
    names = [*readers_here(), *(readers_here(adjusted=True) if adjusted else [])]
    told = {name: settings_of(name, lenses) for name in names}
    for name, own in told.items():
        own.update({key: str(local(own[key])) for key in reader(name).files})
    return {
        "readings": list(study.lenses.readings),
        "top_k": study.lenses.top_k,
        "readers": told,
        "nulls": nulls,
        "directions": study.lenses.contrast.directions,
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


def unfinished_batch(wildcards, output):
    """Where a batch keeps the organisms it has read: a killed job goes on behind them."""
    return f"{Path(output.made[0]).parent}.unfinished"


# Before the first job ----------------------------------------------------------------------------

local_data = LocalData(registry, places)

if workflow.is_main_process:
    try:
        check_fit(registry, places)
        check_ladder(registry, places)
        local_data.check()
    except ValueError as error:
        raise WorkflowError(without_secrets(str(error))) from None
