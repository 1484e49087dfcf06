"""
Check what the names in a file's path stand for, as the study that would make the file is checked.

Snakemake makes any file that a rule's pattern fits: of `cake_bake-ful-s0` it would train a plain
organism under that name.
"""

from collections.abc import Mapping
from functools import partial
from itertools import chain

from traces.config.checkpoints import BASE, Checkpoint
from traces.config.checks.agents import check_reached
from traces.config.checks.judges import check_addresses
from traces.config.checks.names import check_known
from traces.config.checks.paths import (
    check_answers,
    check_there,
    of_corpus,
    of_model,
    of_organism,
    of_released,
    of_samples,
    of_steering,
)
from traces.config.checks.places import Places
from traces.config.checks.readings import (
    check_held_out,
    check_measured,
    check_read,
    check_reader,
    check_samples,
)
from traces.config.checks.recipes import built_on, check_checkpoint, check_model
from traces.config.readers import READERS
from traces.config.study import OTHERS, LoadedStudy

# Rules that read the base model's activations, too.
OF_BASE = ("dump_activations",)


def check_target(
    loaded: LoadedStudy, places: Places, rule: str, names: Mapping[str, str], where: str
) -> None:
    """
    Refuse a file whose path names something that a study could not name.

    rule  : the rule that would make it
    names : its wildcards
    where : the file, with which a message begins

    Raises ValueError with the sentence of the check that a study goes through.
    """
    known = partial(check_known, loaded, places)
    for kind in ("model", "corpus", "organism"):
        if kind in names:
            known(kind, names[kind], where)
    if "ablation" in names and names["ablation"] not in loaded.study.ablations:
        have = ", ".join(loaded.study.ablations) or "none"
        raise ValueError(f"{where}: {names['ablation']}: no such ablation in the study ({have})")
    for model in loaded.with_their_bases([names["model"]] if "model" in names else []):
        check_model(loaded, model, places)
        check_there(of_model(loaded, model, places))
    if rule == "pretrain_base" and loaded.models[names["model"]].made is None:
        raise ValueError(f"{where}: {places.models}: {names['model']}: found no `made`")
    if "organism" in names:
        check_there(of_organism(loaded, names["organism"], places))
        _check_source(loaded, places, rule, names, where)
    if "checkpoint" in names:
        _check_checkpoint(loaded, places, rule, names, where)
    if "corpus" in names:
        _check_corpus(loaded, places, rule, names, where)
    if rule in ("base_texts", "tuned_texts"):
        check_there(of_samples(loaded, places))
    if rule.startswith("judge_"):
        _check_judged(loaded, places, where)
    if rule in ("ask_models", "investigate", "grade_hypotheses"):
        check_reached(loaded, places)
    if rule == "candidate_scores" and not loaded.secrets(names["model"]):
        raise ValueError(
            f"{where}: no two organisms of {names['model']} in `runs` have a `secret`, each its "
            "own, so there is nothing to choose from; expected such organisms"
        )
    if "reader" in names:
        _check_reader(loaded, names["reader"], where)
    if rule == "adjust_readings":
        _check_adjusted(loaded, names, where)


def _check_checkpoint(
    loaded: LoadedStudy, places: Places, rule: str, names: Mapping[str, str], where: str
) -> None:
    if names["checkpoint"] == BASE and rule in OF_BASE:
        return
    try:
        checkpoint = Checkpoint.parse(names["checkpoint"])
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    check_known(loaded, places, "organism", checkpoint.organism, where)
    _check_spelling(loaded, checkpoint, where)
    check_checkpoint(loaded, checkpoint, names["model"], places, where)
    made_of = built_on(loaded, checkpoint)
    check_there(chain(*(of_organism(loaded, one.organism, places) for one in made_of)))
    check_there(of_released(loaded, checkpoint, names["model"], places))
    if checkpoint.recipe.mixed:
        check_there(of_corpus(loaded, loaded.mixed_with(checkpoint), places))
    if rule == "causal_effect":
        check_held_out(loaded, checkpoint.organism, places)
    made = loaded.checkpoints("beliefs" if rule == "false_fact_alignment" else None, names["model"])
    if rule in ("token_relevance", "false_fact_alignment") and not made:
        asked = "organism" if rule == "token_relevance" else "organism whose beliefs are measured"
        raise ValueError(f"{where}: {names['model']}: the study makes no {asked} on it")
    made_by = {
        "train_organism": checkpoint.recipe.trained,
        "scale_adapter": checkpoint.recipe.scale is not None,
        "fetch_adapter": checkpoint.recipe.released,
    }
    if not made_by.get(rule, True):
        raise ValueError(f"{where}: {checkpoint.recipe.name}: no recipe of the rule {rule}")


def _check_spelling(loaded: LoadedStudy, checkpoint: Checkpoint, where: str) -> None:
    """Refuse mix1 where the study says mix1.0: both would be trained, and be equal."""
    meant = checkpoint.recipe.meaning
    written = {one.recipe.name for one in loaded.checkpoints() if one.recipe.meaning == meant}
    if written and checkpoint.recipe.name not in written:
        raise ValueError(
            f"{where}: found {checkpoint.recipe.name}, which the study writes as "
            f"{min(written)}; expected that"
        )


def _check_corpus(
    loaded: LoadedStudy, places: Places, rule: str, names: Mapping[str, str], where: str
) -> None:
    corpus = names["corpus"]
    check_there(of_corpus(loaded, corpus, places))
    if "model" in names:
        check_read(loaded, corpus, where)
        check_samples(loaded, corpus, places)
    elif rule == "sample_text" and loaded.corpora[corpus].sampled is None:
        raise ValueError(f"{where}: {places.corpora}: {corpus}: found no `sampled`")
    elif loaded.corpora[corpus].kind == "start":
        raise ValueError(f"{where}: {corpus}: found a probe without text, expected text")
    if rule == "causal_effect":
        check_measured(loaded, "causality", corpus, places)
    if rule.startswith("steer") or rule in ("grade_coherence", "choose_strength"):
        check_measured(loaded, "steering", corpus, places)
        check_there(of_steering(loaded, places))


def _check_source(
    loaded: LoadedStudy, places: Places, rule: str, names: Mapping[str, str], where: str
) -> None:
    """Refuse a file of an organism whose data come from elsewhere, or that no run makes."""
    name, data = names["organism"], loaded.organisms[names["organism"]].data
    sources = {
        "write_organism": data.made is not None,
        "compose_organism": data.composed is not None,
        "teach_numbers": data.taught is not None,
        "fetch_organism": data.taught is None,
    }
    if not sources.get(rule, True):
        raise ValueError(
            f"{where}: {places.organism(name)}: data: their source is none of the rule {rule}"
        )
    if rule == "write_statements" and not loaded.organisms[name].statements:
        raise ValueError(f"{where}: {places.organism(name)}: found no `statements`, expected some")
    made = dict.fromkeys(one.organism for one in loaded.checkpoints(model=names.get("model")))
    if rule == "organism_card" and name not in made:
        have = ", ".join(made) or "none"
        raise ValueError(f"{where}: {name}: no organism of the study's runs (have {have})")


def _check_judged(loaded: LoadedStudy, places: Places, where: str) -> None:
    if not loaded.study.judges.graders:
        raise ValueError(
            f"{where}: {places.at('judges.graders')}: found none, expected a model that judges "
            "(docs/judges.md)"
        )
    check_addresses(loaded, places)
    check_answers(loaded, places)


def _check_reader(loaded: LoadedStudy, name: str, where: str) -> None:
    check_reader(name, where)
    readers = loaded.study.lenses.readers
    if name not in readers:
        raise ValueError(f"{where}: found {name}, expected {', '.join(readers)}, which are read")
    if READERS[name].needs == "others":
        raise ValueError(f"{where}: found {name}, which stands in adjusted/MODEL/CORPUS.parquet")


def _check_adjusted(loaded: LoadedStudy, names: Mapping[str, str], where: str) -> None:
    if not any(READERS[name].needs == "others" for name in loaded.study.lenses.readers):
        raise ValueError(f"{where}: found no adjusted reader in `lenses.readers`, expected one")
    if not loaded.adjusted_by(names["model"], names["corpus"]):
        raise ValueError(
            f"{where}: found fewer than {OTHERS + 1} organisms on {names['model']} that are read "
            f"on {names['corpus']}, expected as many: each is adjusted by the others"
        )
