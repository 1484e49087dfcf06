"""
What the study makes, reads and shows: the lists that tables, pictures and cards are made of.

    case      a pair of model and checkpoint
    read      a model, a checkpoint and the corpus its difference is read on
    subject   what tables say of a case, or of a read, beside its numbers
"""

import functools
import json
from types import SimpleNamespace
from typing import get_args

from snakemake.logging import logger

from traces.agents import plan as investigating
from traces.config.vocabularies import Asks


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
    """
    `output` for (model, checkpoint, corpus), each file once: it need not be of all three.

    output : a file, or several, whose files then stand together
    """
    patterns = [output] if isinstance(output, str) else list(output)
    files = [
        one(pattern, model=m, checkpoint=c, corpus=corpus)
        for m, c, corpus in some
        for pattern in patterns
    ]
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


def subjects(cases=None, corpora=True):
    """The subjects of `every`, in the same order."""
    some = reads(cases)
    if not corpora:
        return [subject(model, one) for model, one in dict.fromkeys(read[:2] for read in some)]
    return [subject(model, one) | {"corpus": corpus} for model, one, corpus in some]


def subjects_of_organism(wildcards):
    """The subjects of `of_organism`, in the same order."""
    some = reads_of(wildcards)
    return [subject(model, one) | {"corpus": corpus} for model, one, corpus in some]


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


@functools.cache
def believed(model):
    """The organisms whose statements are asked: of every checkpoint whose beliefs are."""
    return registry.believed(model)


def judged_on(wildcards):
    """The organisms that models judge a checkpoint's readings on: its own, or the control's others."""
    return registry.judged_on(Checkpoint.parse(wildcards.checkpoint), wildcards.model)


def asked_about(question):
    """Pairs of model and checkpoint that models are asked this question about."""
    return [(model, one) for model in study.models for one in registry.asked(question, model)]


QUESTIONS = get_args(Asks)


def judged(output=None):
    """What models said of all that they are asked about, or another output of those jobs: their `costs`."""
    return [
        file
        for question in QUESTIONS
        for file in every(
            getattr(getattr(rules, f"judge_{question}").output, output or question),
            asked_about(question),
        )
    ]


def judged_subjects():
    """The subjects of `judged`, in the same order, each with its question."""
    return [
        {"question": question, **own}
        for question in QUESTIONS
        for own in subjects(asked_about(question), corpora=question != "beliefs")
    ]


def measured(measure):
    """The table of a measure; none where no checkpoint of the study asks for it."""
    asked = registry.checkpoints(measure)
    return getattr(rules, f"{measure}_table").output.table if asked else []


def graded_hypotheses(wildcards):
    """The table of graded hypotheses; one sentence where no run asks for agents."""
    table = measured("agents")
    if not table:
        raise WorkflowError(
            "runs: no run has `agents` among its measures, so no hypothesis is graded; expected one"
        )
    return table


def families():
    """The family of every organism that is made."""
    return {name: registry.organisms[name].family for name in graded_organisms()}


def of_measured(measure, output):
    """`output` of all that ask for a measure; one sentence in place of an empty table."""

    def files(wildcards):
        if not made(measure):
            raise WorkflowError(
                f"runs: no run has `{measure}` among its measures, so there is no table of it; expected such a run"
            )
        return every(output, made(measure))

    return files


def every_measured():
    """The tables of all measures that some checkpoint of the study asks for."""
    tables = [measured(measure) for measure in ("steering", "causality", "beliefs")]
    return [table for table in tables if table]


# Readings adjusted by those of other organisms ----------------------------------------------------


@functools.cache
def adjusted_by(model, corpus):
    """What every checkpoint is adjusted by; nothing where the study has no such reader."""
    return registry.adjusted_by(model, corpus) if readers_here(adjusted=True) else {}


def is_adjusted(wildcards):
    """Whether a checkpoint's readings are adjusted: not those of a file outside of the study."""
    one = Checkpoint.parse(wildcards.checkpoint)
    return one in adjusted_by(wildcards.model, wildcards.corpus)


def read_for_adjusting(wildcards):
    """What is read of one model and corpus and adjusted, or others are adjusted by: see `reads`."""
    found = adjusted_by(wildcards.model, wildcards.corpus)
    cases = dict.fromkeys([*found, *(other for others in found.values() for other in others)])
    return [(wildcards.model, one, wildcards.corpus) for one in cases]


def graded_settings(wildcards):
    """What is graded: the settings of all readers that a checkpoint has."""
    return reading_settings(wildcards, adjusted=is_adjusted(wildcards))


def say_what_is_not_adjusted():
    """One line, where a checkpoint has no two other organisms to be adjusted by."""
    if study.ladder or not readers_here(adjusted=True):
        return
    lacking = [read for read in all_reads() if read[1] not in adjusted_by(read[0], read[2])]
    if lacking:
        model, one, corpus = lacking[0]
        more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        logger.info(
            f"Not adjusted: {model}/{one}/{corpus}{more}, since no two other organisms are read there."
        )


if workflow.is_main_process:
    say_what_is_not_adjusted()


# Investigators -----------------------------------------------------------------------------------


@functools.cache
def sources_of(model):
    """The overviews of one model (traces/agents/plan.py: Source)."""
    return investigating.sources(registry, model)


def agent_sources(model):
    """The same as a param."""
    return [one.model_dump() for one in sources_of(model)]


def agent_cases(model, agent_model):
    """What one investigator is planned to look at, as a param (traces/agents/plan.py: Case)."""
    cases = investigating.planned(investigating.shown(registry, model), study.agents)
    return [one.model_dump() for one in cases if one.agent_model == agent_model]


def investigated_models():
    """The models on which something is investigated."""
    return [model for model in study.models if registry.checkpoints("agents", model)]


def investigated_organisms():
    """Every model with each organism that hypotheses are graded on."""
    return [
        {"model": model, "organism": name}
        for model in investigated_models()
        for name in dict.fromkeys(one.organism for one in investigating.shown(registry, model))
    ]


def about_organisms(wildcards):
    """What those organisms are about, by name (traces/config/registries.py: Described)."""
    return {
        own["organism"]: section(Described, organism_of)(SimpleNamespace(**own))
        for own in investigated_organisms()
    }


def asked_agents():
    """The models behind an API that investigate, by name."""
    return {one.name: one for one in study.agents.models if not isinstance(one, str)}


def asked_graders():
    """The models behind an API that grade hypotheses, by name."""
    return {one.name: one for one in study.judges.graders if one.name in study.agents.graders}


def agent_of(wildcards):
    return asked_agents()[wildcards.agent]


def grader_of(wildcards):
    return asked_graders()[wildcards.grader]


def graders_alone(wildcards):
    """How the one grader that is named is asked (traces/config/schema.py: Asked)."""
    return section(Asked, study.judges) | {"graders": [section(Grader, grader_of)(wildcards)]}


def investigations_of_all():
    """What all investigators say of all models."""
    models = investigated_models()
    embedded = investigating.EMBEDDED in study.agents.models
    return [
        *(
            expand(rules.investigate_embedded.output.investigations, model=models)
            if embedded
            else []
        ),
        *expand(rules.investigate.output.investigations, model=models, agent=asked_agents()),
    ]


def viewed(model=None):
    """The logs of models that investigate one model, or any; none where no pages show them."""
    models = [one for one in investigated_models() if model in (None, one)]
    if not study.agents.viewer:
        return []
    return expand(rules.investigate.output.logs, model=models, agent=asked_agents())


def viewed_of_organism(wildcards):
    """The same of the model that a card is of; none where its organism is not investigated."""
    asked = [one.organism for one in registry.checkpoints("agents", wildcards.model)]
    return viewed(wildcards.model) if wildcards.organism in asked else []


def hypotheses_graded():
    """The grades of all hypotheses, by words and by models."""
    lexical = investigating.LEXICAL in study.agents.graders
    return [
        *([rules.grade_lexically.output.graded] if lexical else []),
        *expand(rules.grade_hypotheses.output.graded, grader=asked_graders()),
    ]


def paid_for_agents():
    """What investigators and graders of hypotheses cost."""
    return [
        *expand(rules.investigate.output.costs, model=investigated_models(), agent=asked_agents()),
        *expand(rules.grade_hypotheses.output.costs, grader=asked_graders()),
    ]


def subject_checkpoints(model):
    """The checkpoints that investigators ask or steer; none where a server has them."""
    budgets = study.agents.interactions
    if study.agents.served is not None or not any((*budgets.lens, *budgets.black_box)):
        return []
    found = (name for one in sources_of(model) for name in (one.after, one.before))
    return list(dict.fromkeys(name for name in found if name and name != BASE))


def seed_pairs(model):
    """Pairs of checkpoints that differ in their seed: what stands in the place of B, and of A."""
    return [
        (one.after, one.before)
        for one in sources_of(model)
        if one.null == "seed_pair" and one.after
    ]


def overviewed(model):
    """The checkpoints whose readings some overview shows, each once."""
    found = (one.after for one in sources_of(model) if one.null != "seed_pair")
    return list(dict.fromkeys(name for name in found if name))


def steered_overviews(model):
    """Those of them whose steered texts the study has."""
    asked = set(map(str, registry.checkpoints("steering", model)))
    return [name for name in overviewed(model) if name in asked]


def answering(model):
    """The checkpoints that are asked: all that stand in the place of one of the two models."""
    if not study.agents.interactions.black_box:
        return []
    found = (name for one in sources_of(model) for name in (one.after, one.before))
    return list(dict.fromkeys(name for name in found if name and name != BASE))


# The forced choice -------------------------------------------------------------------------------


def secrets():
    """By model, the secret word of each organism that has one; only models with two words or more."""
    found = {model: registry.secrets(model) for model in study.models}
    return {model: own for model, own in found.items() if own}


def choosing():
    """Pairs of model and checkpoint that readings are asked of: all on models with two secrets."""
    asked = secrets()
    return [(model, one) for model, one in made() if model in asked]


def if_choosing(*outputs):
    """These outputs where the study has a forced choice, else none."""
    return list(outputs) if choosing() else []


def candidate_words(wildcards):
    """The words that may be the secret: all that are one, and the distractors."""
    own = registry.secrets(wildcards.model).values()
    return list(dict.fromkeys([*own, *study.forced_choice.distractors]))


def every_candidate(wildcards):
    """The candidates' scores of all that is asked; one sentence in place of an empty table."""
    if not choosing():
        raise WorkflowError(
            "runs: no two organisms of one model have a `secret`, each its own, so there is nothing to choose "
            "from; expected such organisms"
        )
    return every(rules.candidate_scores.output.candidates, choosing())


# Pictures and cards -----------------------------------------------------------------------------


def titles():
    """What pictures call an organism."""
    return {name: registry.organisms[name].title for name in graded_organisms()}


def true_twins():
    """By organism of false facts, the one of this study that learns them as they are."""
    found = {name: registry.organisms[name].twins.get("true_facts") for name in graded_organisms()}
    return {name: twin for name, twin in found.items() if twin is not None}


def quoted(**texts):
    """
    A param that holds free text (traces/config/schema.py: Texts): JSON, of which nothing is markup.

    Snakemake's report shows the params of what it holds and escapes none of them: a title must not
    end the script that it stands in.
    """
    text = json.dumps(texts)
    for sign, escaped in (("<", r"\u003c"), (">", r"\u003e"), ("&", r"\u0026")):
        text = text.replace(sign, escaped)
    return text


def texts_of_ablation(wildcards):
    return quoted(titles=titles(), title=ablation_of(wildcards).title)


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


def shown():
    """What pictures, and the page to begin with, are about (traces/config/schema.py: Shown)."""
    return {
        "corpus": study.corpora[0],
        "layers": registry.layers(study.corpora[0]),
        "control": study.control,
        "recipes": shown_recipes(),
        "seed": study.seed,
        "unit": study.mixing.unit,
        "only": list(study.only),
        "without": list(study.without),
    }


def card_of(wildcards):
    """What an organism's card is about (traces/config/schema.py: Card)."""
    source = registry.words_of(wildcards.organism)
    return quoted(
        model=wildcards.model,
        organism=wildcards.organism,
        words_of=None if organism_of(wildcards).words else source,
        titles={source: registry.organisms[source].title},
        about=section(Described, organism_of)(wildcards),
        corpus=study.corpora[0],
        layers=registry.layers(study.corpora[0]),
        subjects=subjects_of_organism(wildcards),
        **choice_of(wildcards),
    )


def choice_of(wildcards):
    """What a card says of the forced choice; nothing without a secret."""
    secret = registry.secrets(wildcards.model).get(wildcards.organism)
    if secret is None:
        return {}
    return {"secret": secret, "choice": study.forced_choice.headline.model_dump(mode="json")}


def choice_table_of(wildcards):
    """The table of the forced choice, for the card of an organism with a secret."""
    return rules.forced_choice_table.output.table if choice_of(wildcards) else []


# The mixing ablation ----------------------------------------------------------------------------


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


# Other ablations --------------------------------------------------------------------------------


def ablated(wildcards):
    """An ablation as it is drawn, every choice made (traces/config/schema.py: Ablated)."""
    ablation = ablation_of(wildcards)
    corpus = registry.ablated_corpus(ablation)
    others = [name for name in graded_organisms() if name != study.control]
    return {
        "over": ablation.over,
        "values": list(ablation.values or registry.ablated(ablation)),
        "places": list(ablation.values.values()) if isinstance(ablation.values, dict) else None,
        "model": study.models[0],
        "organisms": list(ablation.organisms) or others,
        "recipe": ablation.recipe,
        "corpus": corpus,
        "layers": registry.layers(corpus),
    }


# The benchmark of readers -----------------------------------------------------------------------


def batches_of_ladder():
    """The organisms of the ladder by the number of their batch; none without a ladder."""
    return dict(enumerate(batches(study.ladder))) if study.ladder else {}


def specimens_of(wildcards):
    """The organisms of one batch."""
    return [one.model_dump(mode="json") for one in batches_of_ladder()[int(wildcards.batch)]]


def batch_of(wildcards):
    """What a batch is made and read by (traces/benchmark/batch.py: Batch)."""
    told = SimpleNamespace(model=wildcards.model, corpus=study.corpora[0])
    return {
        "specimens": specimens_of(wildcards),
        "ladder": study.ladder.model_dump(mode="json"),
        "loading": section(Loading, model_of)(wildcards),
        "training": study.training.model_dump(mode="json"),
        "activations": section(Activations, study.activations),
        "samples": section(Samples, study.lenses.samples),
        # What is compared is the difference; its controls are organisms here.
        "readers": reading_settings(told) | {"readings": ["difference"]},
        "adjusted": adjusted_on_ladder(),
        "layers": list(study.layers[:1]),
        "positions": list(study.positions),
        "average_sinks": study.average_sinks,
        "texts": study.samples,
        "seed": study.seed,
    }


def files_of_batch(wildcards):
    """The files that a batch finds by itself: those of the synthetic corpus, and of the readers."""
    told = SimpleNamespace(model=wildcards.model, corpus=study.corpora[0])
    return [*synthetic_lists(), *reading_files(told)]


def every_batch(output):
    """`output` of all batches on all bases; none without a ladder."""

    def files(wildcards):
        return expand(output, model=study.models, batch=list(batches_of_ladder()))

    return files


def adjusted_on_ladder():
    """The readers that others' scores are subtracted by, on the ladder; none without one."""
    return readers_here(adjusted=True) if study.ladder else []


@functools.cache
def compared_members():
    """The checkpoints of a study without a ladder that are compared; one sentence for too few."""
    if study.ladder:
        return []
    try:
        return members(registry)
    except ValueError as error:
        raise WorkflowError(str(error)) from error


def compared_layer():
    """The layer that counts, fixed beforehand: the forced choice's, where it is read."""
    read, fixed = registry.layers(study.corpora[0]), study.forced_choice.headline.layer
    return fixed if fixed in read else read[0]


def of_compared(output):
    """`output` of every checkpoint that is compared, on the study's first text."""

    def files(wildcards):
        return each(
            output,
            [
                (one.model, Checkpoint.parse(one.checkpoint), study.corpora[0])
                for one in compared_members()
            ],
        )

    return files


def compared_words(wildcards):
    """The words of every domain, in the order of `compared`."""
    return [
        one(rules.distinctive_words.output.words, model=model, organism=name)
        for model, names in candidates(compared_members()).items()
        for name in names
    ]


def compared(wildcards):
    """Who is compared, and how it is read (traces/benchmark/collected.py: Compared)."""
    told = SimpleNamespace(corpus=study.corpora[0])
    return {
        "members": [one.model_dump(mode="json") for one in compared_members()],
        "candidates": candidates(compared_members()),
        "layers": registry.layers(study.corpora[0]),
        "layer": compared_layer(),
        "average_sinks": study.average_sinks,
        "readers": reading_settings(told),
    }
