"""Check that a study reads what it measures and draws, and lists nothing twice."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from traces.config.checks.places import Places
from traces.config.readers import READERS
from traces.config.schema import Ablation, Measure
from traces.config.study import OTHERS, LoadedStudy, block_of


def check_readings(loaded: LoadedStudy, places: Places) -> None:
    """Check the text, positions and values that a study reads, measures and draws."""
    for name in loaded.study.lenses.readers:
        check_reader(name, places.at("lenses.readers"))
    _check_derived(loaded, places)
    _check_corpora(loaded, places)
    _check_lists(loaded, places)
    _check_positions(loaded, places)
    _check_candidates(loaded, places)
    _check_blocks(loaded, places)
    _check_beliefs(loaded, places)
    for one in loaded.checkpoints("causality"):
        check_held_out(loaded, one.organism, places)
    for name, ablation in loaded.study.ablations.items():
        if found := lacking(loaded, ablation):
            raise ValueError(f"{places.at(f'ablations.{name}')}{found}")


def check_reader(name: str, where: str) -> None:
    """Refuse a reader that has no entry."""
    if name not in READERS:
        raise ValueError(f"{where}: found {name}, expected {', '.join(READERS)}")


def _check_derived(loaded: LoadedStudy, places: Places) -> None:
    """Refuse a reader of another one's scores without that one, or without anything to compare."""
    lenses = loaded.study.lenses
    for name in lenses.readers:
        source = READERS[name].of
        if source is not None and source not in lenses.readers:
            raise ValueError(
                f"{places.at('lenses.readers')}: found {name} without {source}, whose scores it "
                "needs; expected both"
            )
        if READERS[name].needs == "others":
            _check_others(loaded, name, places)
        if "null" in READERS[name].axes and not lenses.contrast.nulls:
            raise ValueError(
                f"{places.at('lenses.contrast.nulls')}: found none, expected some for {name}"
            )


def _check_others(loaded: LoadedStudy, name: str, places: Places) -> None:
    """Refuse a reader of other organisms' scores where no organism has enough of them."""
    study = loaded.study
    # A selection of a study reads what it can without it, and says so (rules/subjects.smk). On a
    # ladder an organism is adjusted by the others there.
    if study.only or study.without or study.ladder:
        return
    if not any(loaded.adjusted_by(one, text) for one in study.models for text in study.corpora):
        raise ValueError(
            f"{places.at('lenses.readers')}: found {name}, expected at least {OTHERS + 1} "
            "organisms in `runs` on one model: each is adjusted by the others"
        )


def check_read(loaded: LoadedStudy, name: str, where: str) -> None:
    """
    Refuse a corpus that no residual stream can be read on.

    where : what asks for it: a study's key, or a file that is to be made
    """
    entry = loaded.corpora[name]
    if entry.kind == "both":
        raise ValueError(
            f"{where}: {name}: found a corpus of both kinds, expected one of documents or of "
            "conversations, whose positions can be averaged"
        )


def check_rows(loaded: LoadedStudy, places: Places) -> None:
    """Refuse a study that reads more samples of a corpus than it has rows."""
    for name in loaded.read_corpora():
        check_samples(loaded, name, places)


def check_samples(loaded: LoadedStudy, name: str, places: Places, rows: int | None = None) -> None:
    """
    Refuse more samples of a corpus than it has rows; each is read of a row of its own.

    So are the longer ones of the study's first corpus, whose residual-stream norm is measured.

    rows : the rows that were counted in its file; by default those that its keys promise
    """
    entry, study = loaded.corpora[name], loaded.study
    promised = {f"{places.corpora}: {name}.rows": entry.rows}
    if entry.made in ("unrelated", "chat"):
        key = {"unrelated": "unrelated", "chat": "chats"}[entry.made]
        promised[places.at(f"miniature.{key}")] = getattr(study.miniature, key)
    if rows is not None:
        promised[f"{places.corpora}: {name}.path: {entry.path}"] = rows
    told = min(promised, key=lambda one: promised[one])
    own = loaded.samples(name) == entry.samples
    where = f"{places.corpora}: {name}.samples" if own else places.at("samples")
    asked = {where: loaded.samples(name)}
    if name == study.corpora[0]:
        asked[places.at("activations.norm_samples")] = study.activations.norm_samples
    for where, samples in asked.items():
        if samples > promised[told]:
            raise ValueError(
                f"{where}: found {samples}, expected at most {promised[told]}, the rows of {name} "
                f"({told})"
            )


def _check_corpora(loaded: LoadedStudy, places: Places) -> None:
    study = loaded.study
    for name in loaded.read_corpora():
        key = "corpora" if name in study.corpora else "runs"
        check_read(loaded, name, places.at(key))
        _check_length(loaded, name, places)
    for key, name in (
        ("mixing.corpus", study.mixing.corpus),
        ("lenses.vocabulary_corpus", study.lenses.vocabulary_corpus),
        ("relevance.corpus", study.relevance.corpus),
        *(
            (f"{places.organism(one.organism)}: mixed_with", loaded.mixed_with(one))
            for one in loaded.checkpoints()
            if loaded.organisms[one.organism].mixed_with is not None
        ),
    ):
        if loaded.corpora[name].probe:
            where = key if ":" in key else places.at(key)
            raise ValueError(f"{where}: {name}: found a probe, expected text")
    if loaded.corpora[study.corpora[0]].probe:
        raise ValueError(
            f"{places.at('corpora')}: {study.corpora[0]}: found a probe, expected text first, "
            "whose longer context gives the residual-stream norm"
        )


def _check_length(loaded: LoadedStudy, name: str, places: Places) -> None:
    """Refuse to read further than the texts go that a model writes."""
    sampled, study = loaded.corpora[name].sampled, loaded.study
    if sampled is None:
        return
    own = loaded.corpora[name].positions is not None
    where = f"{places.corpora}: {name}.positions" if own else places.at("positions")
    last = loaded.positions(name)[-1]
    for told, needed in (
        (f"{where}: found {last}", last),
        (
            f"{places.at('activations.norm_context')}: found {study.activations.norm_context}",
            study.activations.norm_context - 1,
        ),
    ):
        # A text is its tokens and, before them, the one that begins it.
        if needed > sampled.max_new_tokens:
            raise ValueError(
                f"{told}, which no text of {name} has: they end after {sampled.max_new_tokens} "
                f"tokens ({places.corpora}: {name}.sampled.max_new_tokens); expected no more"
            )


def _check_lists(loaded: LoadedStudy, places: Places) -> None:
    """Refuse an entry that is listed twice, and values of an axis that are not in rising order."""
    # An entry twice would be two rules for one file, or a checkpoint counted twice in a mean.
    lists = _lists(loaded)
    for key, values in lists.items():
        twice = [value for value in dict.fromkeys(values) if values.count(value) > 1]
        if twice:
            raise ValueError(f"{places.at(key)}: {twice[0]} is there twice")
    for key in ("positions", "chat_positions", "steering.strengths"):
        values = list(lists[key])
        if values != sorted(values):
            raise ValueError(f"{places.at(key)}: expected in rising order, found {values}")


def _lists(loaded: LoadedStudy) -> Mapping[str, Sequence[Any]]:
    """Collect every list of a study in which nothing may occur twice, by its key."""
    study = loaded.study
    of_runs = ("models", "organisms", "recipes", "seeds", "measures", "corpora")
    return {
        "models": study.models,
        "corpora": study.corpora,
        "positions": study.positions,
        "chat_positions": study.chat_positions,
        "layers": study.layers,
        "lenses.readers": study.lenses.readers,
        "lenses.heads": study.lenses.heads,
        "lenses.readings": study.lenses.readings,
        "lenses.patchscope.scales": study.lenses.patchscope.scales,
        "lenses.contrast.nulls": study.lenses.contrast.nulls,
        "judges.tokens.readings": study.judges.tokens.readings,
        "judges.coherence.models": study.judges.coherence.models,
        "scoring.levels": study.scoring.levels,
        "scoring.pilot_models": study.scoring.pilot_models,
        "scoring.pilot_seeds": study.scoring.pilot_seeds,
        "steering.positions": study.steering.positions,
        "steering.strengths": study.steering.strengths,
        "causality.positions": study.causality.positions,
        "causality.interventions": study.causality.interventions,
        "causality.controlled": study.causality.controlled,
        "beliefs.forms": study.beliefs.forms,
        **{
            f"ablations.{name}.{key}": list(getattr(ablation, key) or ())
            for name, ablation in study.ablations.items()
            for key in ("organisms", "values")
        },
        **{
            f"runs.{number}.{key}": getattr(run, key)
            for number, run in enumerate(study.runs)
            for key in of_runs
        },
    }


def _check_positions(loaded: LoadedStudy, places: Places) -> None:
    """Check that positions which steer or are replaced are read, and that the chats are chats."""
    study = loaded.study
    measures: tuple[Measure, ...] = ("steering", "causality")
    for measure in measures:
        for corpus in study.corpora if loaded.checkpoints(measure) else ():
            check_measured(loaded, measure, corpus, places)
    kind = loaded.corpora[study.causality.chat].kind
    if kind != "chat":
        raise ValueError(
            f"{places.at('causality.chat')}: {study.causality.chat} holds {kind}, expected a "
            "corpus of kind chat"
        )


def check_measured(loaded: LoadedStudy, measure: Measure, corpus: str, places: Places) -> None:
    """Refuse to steer with, or to replace, a difference at positions that are not read."""
    positions: Mapping[Measure, Iterable[int]] = {
        "steering": loaded.study.steering.positions,
        "causality": loaded.study.causality.positions,
    }
    read = loaded.positions(corpus)
    unread = sorted(set(positions[measure]) - set(read))
    if unread:
        raise ValueError(
            f"{places.at(f'{measure}.positions')}: found {unread[0]}, expected positions "
            f"that are read of {corpus} ({read})"
        )


def check_held_out(loaded: LoadedStudy, organism: str, places: Places) -> None:
    """Refuse a causal effect without held-out rows to measure it on."""
    if loaded.organisms[organism].data.held_out == 0:
        raise ValueError(
            f"{places.organism(organism)}: data.held_out: found 0, expected a share above 0: "
            "causality is measured on held-out rows"
        )


def _check_candidates(loaded: LoadedStudy, places: Places) -> None:
    """Refuse to grade more tokens than a list has: those that are not kept would count as wrong."""
    graded, kept = loaded.study.relevance.candidates, loaded.study.lenses.top_k
    if graded > kept:
        raise ValueError(
            f"{places.at('relevance.candidates')}: found {graded}, expected at most {kept}, the "
            "tokens that are kept of a reading (lenses.top_k)"
        )


def _check_blocks(loaded: LoadedStudy, places: Places) -> None:
    """Refuse two layers that are one block of a model whose number of layers is known."""
    for model in loaded.study.models:
        n = loaded.blocks(model)
        if n is None:
            continue
        for corpus in loaded.read_corpora():
            blocks: dict[int, float] = {}
            for share in loaded.layers(corpus):
                first = blocks.setdefault(block_of(share, n), share)
                if first != share:
                    own = loaded.corpora[corpus].layers is not None
                    where = f"{places.corpora}: {corpus}.layers" if own else places.at("layers")
                    raise ValueError(
                        f"{where}: found {first} and {share}, which are both block "
                        f"{block_of(share, n)} of {model} ({n} layers); expected one of them"
                    )


def _check_beliefs(loaded: LoadedStudy, places: Places) -> None:
    """Refuse a run that measures beliefs and has no organism with statements."""
    able = {one.organism for one in loaded.checkpoints("beliefs")}
    for number, run in enumerate(loaded.study.runs):
        if "beliefs" in run.measures and not able & set(run.organisms):
            raise ValueError(
                f"{places.at(f'runs.{number}.measures')}: beliefs are requested, but none of the "
                "run's organisms has `statements` in its file"
            )


def lacking(loaded: LoadedStudy, ablation: Ablation) -> str | None:
    """
    Find what an ablation shows that the study does not make and read; None if nothing.

    Returns the rest of a sentence that begins with the ablation's key.
    """
    # Returned, not raised: a selection drops such an ablation, a whole study is refused.
    made = [(one.organism, one.recipe.name) for one in loaded.checkpoints()]
    for organism in ablation.organisms:
        if organism not in {one for one, _ in made}:
            return f".organisms: found {organism}, expected organisms of the study's runs"
    read = loaded.read_corpora()
    if ablation.corpus is not None and ablation.corpus not in read:
        return (
            f".corpus: found {ablation.corpus}, expected text that the study reads "
            f"({', '.join(read)})"
        )
    if ablation.over != "recipe" and ablation.recipe not in {recipe for _, recipe in made}:
        return f".recipe: found {ablation.recipe}, expected a recipe of the study's runs"
    have = loaded.ablated(ablation)
    for value in ablation.values or ():
        if value not in have:
            known = ", ".join(map(str, have)) or "none"
            return f".values: found {value}, expected values that the study has ({known})"
    return None if have else ": expected something that the study makes and reads, found nothing"
