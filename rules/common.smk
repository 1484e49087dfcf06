"""
Helpers that rule files share, and nothing else does; the validated study comes first.

    study      the settings of this run (traces/config.py: Study)
    registry   models, corpora and organisms by name, and the checkpoints the study asks for
"""

import os
import re
from pathlib import Path

from traces.config import BASE, Checkpoint, load_study, local
from traces.corpora import read_rows

CONFIG = Path(os.path.relpath(workflow.basedir)) / "config"

# Snakemake lists the Snakefile's own configfile last, though the others override it.
CONFIGFILES = [*workflow.configfiles[-1:], *workflow.configfiles[:-1]]

try:
    registry = load_study({key: value for key, value in config.items()}, CONFIGFILES, CONFIG)
except ValueError as error:
    raise WorkflowError(str(error)) from None
study = registry.study

CHECKPOINT = rf"{BASE}|[a-z0-9_]+-[a-z0-9_.]+-s\d+"
RELEASED = r"[a-z0-9_]+-released-s\d+"
NOT_RELEASED = rf"(?!{RELEASED}).+"


def one_of(names):
    """A wildcard constraint: one of these names and nothing else."""
    return "|".join(re.escape(name) for name in names) or r"(?!)"


def code(module):
    """The library room a step is made of, so that an edit there reruns the step."""
    return f"traces/{module}.py"


def subject(model, checkpoint):
    """What tables say of a checkpoint beside its numbers."""
    return {
        "model": model,
        "checkpoint": str(checkpoint),
        "organism": checkpoint.organism,
        "family": registry.organisms[checkpoint.organism].family,
        "recipe": checkpoint.recipe.name,
        "ratio": checkpoint.recipe.ratio,
        "seed": checkpoint.seed,
    }


# Wildcards to registry entries ------------------------------------------------------------------


def model_of(wildcards):
    return registry.models[wildcards.model]


def corpus_of(wildcards):
    return registry.corpora[wildcards.corpus]


def organism_of(wildcards):
    if hasattr(wildcards, "organism"):
        return registry.organisms[wildcards.organism]
    return registry.organisms[Checkpoint.parse(wildcards.checkpoint).organism]


def recipe_of(wildcards):
    return Checkpoint.parse(wildcards.checkpoint).recipe


def training_of(wildcards):
    return registry.training(Checkpoint.parse(wildcards.checkpoint))


def leaf(of, *path):
    """A params function: the one value at `path` of the entry that the wildcards name."""

    def value(wildcards):
        found = of(wildcards)
        for part in path:
            found = getattr(found, part) if found is not None else None
        return list(found) if isinstance(found, tuple) else found

    return value


def local_path(of, *path):
    """The same for a configured path, its environment variables filled in; None without one."""

    def value(wildcards):
        found = leaf(of, *path)(wildcards)
        return None if found is None else str(local(found))

    return value


# Input functions --------------------------------------------------------------------------------


def one(output, **wildcards):
    """The one file that a rule makes for these wildcards."""
    return expand(output, **wildcards)[0]


def corpus_file(name):
    """A corpus that is named by the study rather than by a wildcard."""
    return one(rules.fetch_corpus.output.corpus, corpus=name)


def of_base(output):
    """The same artifact of the base model, which every checkpoint is compared with."""
    return lambda wildcards: one(
        output, model=wildcards.model, checkpoint=BASE, corpus=wildcards.corpus
    )


def weights(wildcards):
    """The folder with a checkpoint's weights: trained here, or released; none for the base."""
    if wildcards.checkpoint == BASE:
        return []
    released = recipe_of(wildcards).name == "released"
    maker = rules.fetch_adapter if released else rules.train_organism
    return one(maker.output.adapter, model=wildcards.model, checkpoint=wildcards.checkpoint)


def organism_rows(part, organism=None):
    """The organism's `train` or `held_out` rows: fetched, or written by its teacher."""

    def files(wildcards):
        name = organism or getattr(wildcards, "organism", None)
        name = name or Checkpoint.parse(wildcards.checkpoint).organism
        taught = registry.organisms[name].data.taught is not None
        maker = rules.teach_numbers if taught else rules.fetch_organism
        return one(getattr(maker.output, part), model=wildcards.model, organism=name)

    return files


def worded_rows(wildcards):
    """The rows whose words say what an organism is about: its own, or those of `words_of`."""
    return organism_rows("train", registry.words_of(wildcards.organism))(wildcards)


def teacher(wildcards):
    """The weights of the organism that teaches this one; none when the base itself does."""
    name = organism_of(wildcards).data.taught.teacher
    if name is None:
        return []
    output = rules.train_organism.output.adapter
    return one(output, model=wildcards.model, checkpoint=f"{name}-plain-s0")


def trained():
    """The study's checkpoints that are finetuned here."""
    return [one for one in registry.checkpoints() if one.recipe.name != "released"]


def every(output, checkpoints=None):
    """`output` for every model, checkpoint and, where it has one, corpus of the study."""
    some = registry.checkpoints() if checkpoints is None else checkpoints
    return expand(output, model=study.models, checkpoint=some, corpus=study.corpora)


def of_organism(output, checkpoints=None):
    """`output` for every checkpoint and corpus of the organism that the wildcards name."""

    def files(wildcards):
        some = registry.checkpoints() if checkpoints is None else checkpoints
        mine = [one for one in some if one.organism == wildcards.organism]
        return expand(output, model=wildcards.model, checkpoint=mine, corpus=study.corpora)

    return files


def subjects_of_organism(wildcards):
    """The subjects of `of_organism`, in the same order."""
    return [
        subject(wildcards.model, one) | {"corpus": corpus}
        for one in registry.checkpoints()
        if one.organism == wildcards.organism
        for corpus in study.corpora
    ]


def card_links(wildcards, input, output):
    """What a card points to: names and paths relative to it."""
    home = os.path.dirname(output.card)
    files = {
        "relevance": input.relevance,
        "norms": input.norms,
        "losses": input.losses,
        "training data": input.data,
        "distinctive words": input.words,
    }
    return {name: os.path.relpath(str(file), home) for name, file in files.items()}


def titles():
    """What pictures call an organism."""
    return {name: registry.organisms[name].title for name in graded_organisms()}


def subjects(checkpoints=None, corpora=True):
    """The subjects of `every`, in the same order."""
    return [
        subject(model, checkpoint) | ({"corpus": corpus} if corpora else {})
        for model in study.models
        for checkpoint in (registry.checkpoints() if checkpoints is None else checkpoints)
        for corpus in (study.corpora if corpora else [None])
    ]


def graded_organisms():
    """The organisms whose words grade readings: all that the study makes, each once."""
    return list(dict.fromkeys(one.organism for one in registry.checkpoints()))


def ranked_vocabulary(wildcards):
    """The token ids that lenses rank; none when they rank them all."""
    if study.lenses.vocabulary == "all":
        return []
    return one(rules.word_vocabulary.output.vocabulary, model=wildcards.model)


def identity_words(wildcards):
    """The identity prompts' words: a list for each prompt."""
    lines = local(study.lenses.patchscope.prompts).read_text().splitlines()
    return [[word.strip() for word in line.split(",")] for line in lines if line.strip()]


def released_of(wildcards):
    """The registry entry of a published checkpoint."""
    return organism_of(wildcards).released.get(wildcards.model)


def unfinished(wildcards, output):
    """Where a training keeps what it resumes from: beside its output, which a new job clears."""
    return f"{output.adapter}.unfinished"


# Resources --------------------------------------------------------------------------------------


def gpus(wildcards):
    return model_of(wildcards).gpus


def launcher(wildcards):
    """The process that owns a training: Python itself, or torchrun over several GPUs."""
    many = gpus(wildcards) > 1
    return f"torchrun --standalone --nproc_per_node {gpus(wildcards)}" if many else "python"


def memory(wildcards):
    return model_of(wildcards).mem_mb


# Checks of local data, once and before the first job --------------------------------------------

if workflow.is_main_process:
    entries = [registry.organisms[name].data for name in graded_organisms()]
    entries += [registry.corpora[name] for name in registry.used_corpora()]
    try:
        for entry in entries:
            if entry.path is not None:
                kind = None if entry.kind == "both" else entry.kind
                for _ in read_rows(local(entry.path), kind, open_end=entry.open_end):
                    pass
    except ValueError as error:
        raise WorkflowError(str(error)) from None
