"""
Helpers that rule files share, and nothing else does; the validated study comes first.

    study      the settings of this run (traces/settings.py: Study)
    registry   models, corpora and organisms by name, and the checkpoints the study asks for
"""

import functools
import os
import re
from pathlib import Path

from traces.checkpoints import BASE, Checkpoint
from traces.config import local
from traces.corpora import read_rows
from traces.loading import load_study

CONFIG = Path(os.path.relpath(workflow.basedir)) / "config"

# Snakemake lists the Snakefile's own configfile last, though the others override it.
CONFIGFILES = [*workflow.configfiles[-1:], *workflow.configfiles[:-1]]

try:
    settings = {key: value for key, value in config.items()}
    registry = load_study(settings, CONFIGFILES, CONFIG, workflow.config_settings.config)
except ValueError as error:
    raise WorkflowError(str(error)) from None
study = registry.study

CHECKPOINT = rf"{BASE}|[a-z0-9_]+-[a-z0-9_.]+-s\d+"
RELEASED = r"[a-z0-9_]+-released(_[a-z0-9_.]+)?-s\d+"
SCALED = r"[a-z0-9_]+-scaled[0-9.]+-s\d+"
TRAINED = rf"(?!{RELEASED}|{SCALED}).+"


def one_of(names):
    """A wildcard constraint: one of these names and nothing else."""
    return "|".join(re.escape(name) for name in names) or r"(?!)"


def code(module):
    """The library room a step is made of, so that an edit there reruns the step."""
    return f"traces/{module}.py"


def made(measure=None):
    """Pairs of model and checkpoint: all that the study makes, or those that ask for a measure."""
    return [(model, one) for model in study.models for one in registry.checkpoints(measure, model)]


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
    return registry.training(Checkpoint.parse(wildcards.checkpoint), wildcards.model)


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
    return str(output).format(**wildcards)


def corpus_file(name):
    """The rows of a corpus, which may be those of another one that is read elsewhere."""
    return one(rules.fetch_corpus.output.corpus, corpus=registry.text_of(name))


def read_text(wildcards):
    """The rows of the corpus that the wildcards name."""
    return corpus_file(wildcards.corpus)


def of_base(output):
    """The same artifact of the base model, or of its model's reference: what is subtracted."""

    def file(wildcards):
        model = model_of(wildcards).reference or wildcards.model
        return one(output, model=model, checkpoint=BASE, corpus=wildcards.corpus)

    return file


def second_name(wildcards):
    """Whether a model is one that is fetched under another name, such as to compare it otherwise."""
    return registry.weights_of(wildcards.model) != wildcards.model


def fetched_model(wildcards):
    """Where on the hub a base comes from; nowhere if it is here already."""
    return None if second_name(wildcards) else model_of(wildcards).hub


def base_here(wildcards):
    """The folder a base is linked from: pretrained or finetuned in full here, or fetched already."""
    if second_name(wildcards):
        fetched = registry.weights_of(wildcards.model)
        return one(rules.fetch_model.output.model, model=fetched)
    if model_of(wildcards).made:
        return one(rules.pretrain_base.output.base, model=wildcards.model)
    source = leaf(model_of, "checkpoint", "model")(wildcards)
    name = leaf(model_of, "checkpoint", "name")(wildcards)
    if source is None:
        return []
    return one(rules.train_organism.output.adapter, model=source, checkpoint=name)


def weights(wildcards):
    """The folder with a checkpoint's weights: trained here, scaled, or released; none for the base."""
    if wildcards.checkpoint == BASE:
        return []
    recipe = recipe_of(wildcards)
    maker = rules.fetch_adapter if recipe.released else rules.scale_adapter
    maker = rules.train_organism if recipe.trained else maker
    return one(maker.output.adapter, model=wildcards.model, checkpoint=wildcards.checkpoint)


def reference_model(wildcards):
    """The model that is subtracted instead of a model's own base; none mostly."""
    name = model_of(wildcards).reference
    return [] if name is None else one(rules.fetch_model.output.model, model=name)


def unscaled(wildcards):
    """The plain adapter that a scaled one is made of."""
    plain = Checkpoint.parse(wildcards.checkpoint).made_by("plain")
    return one(rules.train_organism.output.adapter, model=wildcards.model, checkpoint=plain)


def projected_out(wildcards):
    """The mean difference that is projected out while this checkpoint is trained; none mostly."""
    before = registry.projected_out(Checkpoint.parse(wildcards.checkpoint), wildcards.model)
    if before is None:
        return []
    output, corpus = rules.mean_difference.output.differences, study.corpora[0]
    return one(output, model=wildcards.model, checkpoint=before, corpus=corpus)


def mixed_corpus(wildcards):
    """What is mixed into a training: the study's corpus or the organism's own; nothing unmixed."""
    if not recipe_of(wildcards).mixed:
        return []
    return corpus_file(registry.mixed_with(Checkpoint.parse(wildcards.checkpoint)))


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
    """The rows whose words say what an organism is about: its own or those of `words_of`, or none."""
    if organism_of(wildcards).words:
        return []
    return organism_rows("train", registry.words_of(wildcards.organism))(wildcards)


def own_words(wildcards):
    """The words that tell the organism of a checkpoint from general text."""
    organism = Checkpoint.parse(wildcards.checkpoint).organism
    return one(rules.distinctive_words.output.words, model=wildcards.model, organism=organism)


def teacher(wildcards):
    """The weights of the organism that teaches this one; none when the base itself does."""
    name = organism_of(wildcards).teacher
    if name is None:
        return []
    output = rules.train_organism.output.adapter
    return one(output, model=wildcards.model, checkpoint=f"{name}-plain-s0")


def trained():
    """Pairs of model and checkpoint that are finetuned here."""
    return [(model, one) for model, one in made() if one.recipe.trained]


@functools.cache
def all_reads():
    """What is read: (model, checkpoint, corpus), each once."""
    return [
        (model, one, corpus) for model, one in made() for corpus in registry.corpora_of(one, model)
    ]


def reads(cases=None):
    """
    What is read: (model, checkpoint, corpus); of some cases, those on the study's own text.

    cases : pairs of model and checkpoint; a checkpoint alone stands for all models it is made on
    """
    if cases is None:
        return all_reads()
    alone = {one for one in cases if isinstance(one, Checkpoint)}
    pairs = [pair for pair in made() if pair[1] in alone] if alone else cases
    return [(model, one, corpus) for model, one in pairs for corpus in study.corpora]


def each(output, some):
    """`output` for (model, checkpoint, corpus), each file once: it need not be of all three."""
    files = [one(output, model=m, checkpoint=c, corpus=corpus) for m, c, corpus in some]
    return list(dict.fromkeys(files))


def every(output, cases=None):
    """`output` for every model, checkpoint and, where it has one, corpus of the study."""
    return each(output, reads(cases))


def of_organism(output, cases=None):
    """`output` for every checkpoint and corpus of the model and organism that wildcards name."""
    return lambda wildcards: each(output, reads_of(wildcards, cases))


def reads_of(wildcards, cases=None):
    """What is read of one organism on one model."""
    here = wildcards.model, wildcards.organism
    return [read for read in reads(cases) if (read[0], read[1].organism) == here]


def subjects_of_organism(wildcards):
    """The subjects of `of_organism`, in the same order."""
    some = reads_of(wildcards)
    return [subject(model, one) | {"corpus": corpus} for model, one, corpus in some]


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


def shown_recipes():
    """Recipes in the pictures of all organisms: those that have no picture of their own."""
    elsewhere = {one.recipe.name for _, one in mixed()}
    elsewhere |= {
        recipe
        for ablation in study.ablations.values()
        if ablation.over == "recipe"
        for recipe in ablation.values or registry.ablated(ablation)
    }
    made_by = dict.fromkeys(one.recipe.name for one in registry.checkpoints())
    return [name for name in made_by if name in ("plain", "released") or name not in elsewhere]


def subjects(cases=None, corpora=True):
    """The subjects of `every`, in the same order."""
    some = reads(cases)
    if not corpora:
        return [subject(model, one) for model, one in dict.fromkeys(read[:2] for read in some)]
    return [subject(model, one) | {"corpus": corpus} for model, one, corpus in some]


def headline_positions():
    """The first five positions, as far as they are read; all there are where none of them is."""
    read = set().union(*map(registry.positions, registry.read_corpora()))
    return [position for position in range(5) if position in read] or None


@functools.cache
def graded_organisms(model=None):
    """The organisms whose words grade readings: all that are made, on one model or on any."""
    return list(dict.fromkeys(one.organism for one in registry.checkpoints(model=model)))


def organisms_of_models():
    """Every model with each of the organisms that are made on it."""
    return [
        {"model": model, "organism": organism}
        for model in study.models
        for organism in graded_organisms(model)
    ]


def statement_pairs(wildcards):
    """An organism's statements: pairs of its file, or `made` for those of the made world."""
    pairs = organism_of(wildcards).statements
    return pairs if pairs == "made" else [pair.model_dump() for pair in pairs]


@functools.cache
def believed(model):
    """The organisms whose statements are asked: of every checkpoint whose beliefs are."""
    asked = dict.fromkeys(one.organism for one in registry.checkpoints("beliefs", model))
    return [name for name in asked if registry.organisms[name].statements]


def measured(measure):
    """The table of a measure; none where no checkpoint of the study asks for it."""
    asked = registry.checkpoints(measure)
    return getattr(rules, f"{measure}_table").output.table if asked else []


def mixed():
    """The mixing ablation: of organisms with a mixture, all mixed, step-matched and plain runs."""
    mixing = {(model, one.organism) for model, one in trained() if one.recipe.mixed}
    return [
        (model, one)
        for model, one in trained()
        if (one.recipe.ratio > 0 or one.recipe.name == "plain") and (model, one.organism) in mixing
    ]


def if_mixed(*outputs):
    """These outputs where the study has a mixing ablation, else none."""
    return list(outputs) if mixed() else []


def mixing_shown(wildcards):
    """All of the mixing ablation; one sentence in place of an empty picture."""
    if not mixed():
        raise WorkflowError(
            "runs: no recipe mixR here, so there is no mixing ablation; expected one such as mix0.5"
        )
    return [
        rules.mixing_table.output.table,
        rules.mixing_figure.output.png,
        rules.mixing_paragraph.output.text,
    ]


def corpus_text(wildcards):
    """The rows of a corpus; none where only the token that begins a text is read."""
    return [] if corpus_of(wildcards).kind == "start" else read_text(wildcards)


def context_text(wildcards):
    """The text whose longer context gives the stream's norm: for a probe, the first corpus."""
    return corpus_file(study.corpora[0] if corpus_of(wildcards).probe else wildcards.corpus)


def made_corpus(wildcards):
    """The part of the made world that a corpus is; none for what comes from elsewhere."""
    made = corpus_of(wildcards).made
    return [] if made in (None, "whitespace") else getattr(rules.make_world.output, made)


def ablation_of(wildcards):
    return study.ablations[wildcards.ablation]


def ablated_values(wildcards):
    """What an ablation varies, in order: as its entry says, or all that the study has."""
    ablation = ablation_of(wildcards)
    return list(ablation.values or registry.ablated(ablation))


def ablated_corpus(wildcards):
    """The text an ablation is read on: its own, or the study's first."""
    return ablation_of(wildcards).corpus or study.corpora[0]


def ablated_places(wildcards):
    """Where those values stand on a numeric axis; none where they are names."""
    values = ablation_of(wildcards).values
    return list(values.values()) if isinstance(values, dict) else None


def ablated_organisms(wildcards):
    """The organisms an ablation shows: those it names, or all but the benign control."""
    chosen = ablation_of(wildcards).organisms
    return list(chosen) or [name for name in graded_organisms() if name != study.control]


def ranked_vocabulary(wildcards):
    """The token ids that lenses rank; none when they rank them all."""
    if study.lenses.vocabulary == "all":
        return []
    return one(rules.word_vocabulary.output.vocabulary, model=wildcards.model)


def identity_words(wildcards):
    """The identity prompts' words: a list for each prompt."""
    lines = local(study.lenses.patchscope.prompts).read_text().splitlines()
    return [[word.strip() for word in line.split(",")] for line in lines if line.strip()]


def prompt_lines(path):
    """A params function: the prompts of a file, one a line."""

    def value(wildcards):
        lines = [line.strip() for line in local(path).read_text(encoding="utf-8").splitlines()]
        prompts = [line for line in lines if line]
        if not prompts:
            raise WorkflowError(f"{path}: found no prompt, expected one a line")
        return prompts

    return value


def released_of(wildcards):
    """The registry entry of a published checkpoint."""
    return registry.released(Checkpoint.parse(wildcards.checkpoint), wildcards.model)


def released_base(wildcards):
    """What a published adapter must name as its base: the model, or its other name."""
    return released_of(wildcards).base or model_of(wildcards).hub


def direction_seed(wildcards):
    """Every training seed has random directions of its own, so that intervals are over both."""
    return study.seed + Checkpoint.parse(wildcards.checkpoint).seed


def unfinished(wildcards, output):
    """Where a training keeps what it resumes from: beside its output, which a new job clears."""
    return f"{output.adapter}.unfinished"


# Resources --------------------------------------------------------------------------------------


def gpus(wildcards):
    return model_of(wildcards).gpus


def training_gpus(wildcards):
    """What a training takes: as many as a reading, unless the model's entry says otherwise."""
    own = model_of(wildcards).training_gpus
    return gpus(wildcards) if own is None else own


def training_nodes(wildcards):
    return model_of(wildcards).training_nodes


def launcher(wildcards):
    """What owns a training: Python itself, torchrun over several GPUs, one torchrun a node."""
    gpus, nodes = training_gpus(wildcards), training_nodes(wildcards)
    if gpus <= 1:
        return "python"
    if nodes == 1:
        return f"torchrun --standalone --nproc_per_node {gpus}"
    # This line runs on the job's first node, where the others then meet it. A step may use every CPU
    # of its node's share, unless it asks for some or is bound.
    job = "${SLURM_JOB_ID:?a training over several nodes is a SLURM job (docs/cluster.md)}"
    meeting = f'"$(hostname):$((20000 + {job} % 20000))"'
    return (
        f"srun --nodes {nodes} --ntasks {nodes} --cpu-bind none --kill-on-bad-exit "
        f"torchrun --nnodes {nodes} --nproc_per_node {gpus // nodes} "
        f"--rdzv_backend c10d --rdzv_id {job} --rdzv_endpoint {meeting}"
    )


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
                kind = "documents" if getattr(entry, "as_chat", None) else kind
                for _ in read_rows(local(entry.path), kind, open_end=entry.open_end):
                    pass
    except ValueError as error:
        raise WorkflowError(str(error)) from None
