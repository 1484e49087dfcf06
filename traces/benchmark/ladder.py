"""
The ladder: which organisms are made for comparing readers, and what each learns from.

A specimen is one organism of it. Narrow ones stand on rungs, nulls beside them; all have the same
number of tokens and differ in what those say. Nothing here loads a model.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import BaseModel

from traces.config.checks.places import Places
from traces.config.readers import reader
from traces.config.schema import Ladder, LadderNulls, Rung, Study
from traces.config.study import OTHERS, LoadedStudy
from traces.config.vocabularies import LadderData, NullKind
from traces.corpora import synthetic
from traces.corpora.synthetic import Row
from traces.seeding import named_seed, text_generator

Broad = Literal["general", "one_format"]
BROAD: tuple[Broad, ...] = ("general", "one_format")


class Specimen(BaseModel, frozen=True, extra="forbid"):
    """One organism of the ladder."""

    checkpoint: str
    organism: str
    "The same for its seeds and rungs."
    domain: str | None = None
    "The topic it is about; none of general text."
    null: NullKind
    "`none` for a narrow organism."
    twin: str | None = None
    "Of a true-fact organism, the checkpoint that learned the same facts falsified."
    data: LadderData
    form: int | None = None
    "The kind of document, where all are of one."
    recipe: str = "plain"
    dose: float = 0.0
    "Share of its tokens that are narrow; the others, or all, are on every topic."
    steps: float = 1.0
    seed: int
    rank: int | None = None
    learning_rate: float | None = None
    cut: int | None = None
    base_seed: int | None = None
    "Of a seed pair, the seed whose organism stands in the base's place."
    trained: bool = True
    "False for the base itself."
    pilot: bool = False
    "Whether it is one that the score is fixed on, which is in no table of readers."

    @property
    def drawn_as(self) -> str:
        """Whose draws it has: its organism's, or those of both twins, who differ in facts alone."""
        twins = self.data in ("false_facts", "true_facts")
        return f"facts {self.domain}" if twins else self.organism

    def training_seed(self, seed: int) -> int:
        """The seed of a training: of two organisms none begins with the other's adapter."""
        # NumPy takes seeds of 32 bits.
        return named_seed(seed, "ladder", self.drawn_as) % 2**31


def check_ladder(loaded: LoadedStudy, places: Places) -> None:
    """
    Check that a study's ladder can be made: on bases that know the synthetic corpus, and in full.

    Raises ValueError for the first thing that is wrong; without a ladder, for a score alone that
    is left to a pilot which is not there.
    """
    study = loaded.study
    if None in (study.scoring.statistic, study.scoring.adjustment) and not has_pilot(study):
        raise ValueError(
            f"{places.holder('scoring')}: found a statistic or adjustment of null and no pilot "
            "to choose it on; expected both, or a pilot (`ladder.pilot`)"
        )
    if study.ladder is None:
        return
    for model in study.models:
        entry = loaded.models[model]
        # A seed pair's base is saved with its adapter merged in, which half precision keeps apart.
        if entry.made is None or entry.dtype != "float32":
            raise ValueError(
                f"{places.at('models')}: found {model} beside a `ladder`, expected bases that are "
                "pretrained on the synthetic corpus (`made`) and loaded in float32"
            )
    if study.ladder.causal > study.ladder.held_out:
        raise ValueError(
            f"{places.at('ladder.causal')}: found {study.ladder.causal}, expected at most "
            f"{study.ladder.held_out} (ladder.held_out): those before are read"
        )
    try:
        specimens(study.ladder)
    except ValueError as error:
        raise ValueError(f"{places.holder('ladder')}: {error}") from None
    _check_others(study, places)
    if study.lenses.vocabulary != "words":
        raise ValueError(
            f"{places.at('lenses.vocabulary')}: found {study.lenses.vocabulary} beside a `ladder`, "
            "expected words: a domain is told by whole words"
        )


def _check_others(study: Study, places: Places) -> None:
    """Refuse so few topics that an organism of one has too few others to be adjusted by."""
    ladder = study.ladder
    assert ladder is not None
    adjusted = [name for name in study.lenses.readers or () if reader(name).needs == "others"]
    counts = {"ladder.domains": ladder.domains}
    if ladder.pilot is not None:
        counts["ladder.pilot.domains"] = ladder.pilot.domains
    for key, count in counts.items():
        if adjusted and count <= OTHERS:
            raise ValueError(
                f"{places.at(key)}: found {count}, expected at least {OTHERS + 1} for "
                f"{adjusted[0]}, which adjusts an organism by those on other topics"
            )


def has_pilot(study: Study) -> bool:
    """Whether there are organisms that the score can be chosen on."""
    ladder, scoring = study.ladder, study.scoring
    named = scoring.pilot_models or scoring.pilot_seeds
    return bool(named) or (ladder is not None and ladder.pilot is not None)


def domains(ladder: Ladder) -> list[str]:
    """
    The topics that organisms are about, the first of topics.json.

    Raises ValueError if no two topics are left for the unrelated text.
    """
    every, taken = synthetic.topics(), ladder.pilot.domains if ladder.pilot else 0
    most = len(every) - 2 - taken
    if ladder.domains > most:
        pilot = f", the pilot takes {taken}" if taken else ""
        raise ValueError(
            f"ladder.domains: found {ladder.domains}, expected at most {most}: the synthetic "
            f"corpus has {len(every)} topics{pilot}, and unrelated text needs two"
        )
    return every[: ladder.domains]


def pilot_domains(ladder: Ladder) -> list[str]:
    """The topics of the pilot's organisms: no other organism is about one of them."""
    behind = len(domains(ladder))
    return synthetic.topics()[behind : behind + (ladder.pilot.domains if ladder.pilot else 0)]


def candidate_words() -> dict[str, list[str]]:
    """The words of every topic: candidates are all of them, whoever is about one."""
    return {
        topic: [word for some in synthetic.topic_words(topic).values() for word in some]
        for topic in synthetic.topics()
    }


def unrelated_topics(ladder: Ladder) -> list[str]:
    """The topics of the unrelated text, which no organism is about."""
    return synthetic.topics()[len(domains(ladder)) + len(pilot_domains(ladder)) :]


def specimens(ladder: Ladder) -> list[Specimen]:
    """
    Every organism of the ladder, in an order that new ones are added to at the end of their kind.

    Raises ValueError for more of a kind than there are domains, and for a rung of the pilot that
    the ladder lacks.
    """
    names = domains(ladder)
    known = {"shuffled": names, "seed_pair": names, "true_facts": _with_facts(names)}
    for kind, some in known.items():
        if getattr(ladder.nulls, kind) > len(some):
            raise ValueError(
                f"ladder.nulls.{kind}: found {getattr(ladder.nulls, kind)}, expected at most "
                f"{len(some)}, one a domain"
            )
    return [
        *_narrow(ladder, names),
        *_twins(ladder, names),
        *_nulls(ladder, names),
        *_pilot(ladder),
    ]


def batches(ladder: Ladder) -> list[list[Specimen]]:
    """The specimens, so many a process."""
    every = specimens(ladder)
    return [every[at : at + ladder.batch] for at in range(0, len(every), ladder.batch)]


def _narrow(ladder: Ladder, names: Sequence[str]) -> Iterator[Specimen]:
    for rung, settings in ladder.rungs.items():
        for domain in names[: settings.domains]:
            for seed in ladder.seeds:
                yield _on_rung(domain, rung, settings, seed)


def _on_rung(domain: str, rung: str, settings: Rung, seed: int) -> Specimen:
    return Specimen(
        checkpoint=f"{domain}-{rung}-s{seed}",
        organism=domain,
        domain=domain,
        null="none",
        data="topic",
        recipe=recipe_of(settings),
        seed=seed,
        **settings.model_dump(exclude={"domains"}),
    )


def recipe_of(rung: Rung) -> str:
    """How the organisms of a rung are trained, beside dose and steps: what tells rungs apart."""
    told = {"cut": rung.cut, "rank": rung.rank, "rate": rung.learning_rate}
    return "_".join(f"{name}_{n:g}" for name, n in told.items() if n is not None) or "plain"


def _pilot(ladder: Ladder) -> Iterator[Specimen]:
    pilot = ladder.pilot
    if pilot is None:
        return
    for rung in pilot.rungs:
        if rung not in ladder.rungs:
            raise ValueError(
                f"ladder.pilot.rungs: found {rung}, expected one of {', '.join(ladder.rungs)}"
            )
        for domain in pilot_domains(ladder):
            for seed in pilot.seeds:
                found = _on_rung(domain, rung, ladder.rungs[rung], seed)
                yield found.model_copy(update={"pilot": True})
    for kind in BROAD:
        for number in range(getattr(pilot, kind)):
            # Another organism by its name, so that its text is another draw than that of its like.
            found = _broad(kind, f"pilot_{kind}", number, ladder.nulls)
            yield found.model_copy(update={"pilot": True})


def _with_facts(names: Sequence[str]) -> list[str]:
    """The domains whose facts can be falsified."""
    return [name for name in names if name in synthetic.fact_topics()]


def _twins(ladder: Ladder, names: Sequence[str]) -> Iterator[Specimen]:
    for domain in _with_facts(names)[: ladder.nulls.true_facts]:
        false = f"{domain}_myths-facts-s{ladder.seeds[0]}"
        same = {"domain": domain, "dose": ladder.facts, "seed": ladder.seeds[0], "recipe": "facts"}
        yield Specimen(
            checkpoint=false, organism=f"{domain}_myths", null="none", data="false_facts", **same
        )
        yield Specimen(
            checkpoint=f"{domain}_facts-facts-s{ladder.seeds[0]}",
            organism=f"{domain}_facts",
            null="true_facts",
            twin=false,
            data="true_facts",
            **same,
        )


def _nulls(ladder: Ladder, names: Sequence[str]) -> Iterator[Specimen]:
    nulls, seed = ladder.nulls, ladder.seeds[0]
    for kind in BROAD:
        for number in range(getattr(nulls, kind)):
            yield _broad(kind, kind, number, nulls)
    for domain in names[: nulls.shuffled]:
        yield Specimen(
            checkpoint=f"{domain}_shuffled-half-s{seed}",
            organism=f"{domain}_shuffled",
            domain=domain,
            null="shuffled",
            data="shuffled",
            dose=ladder.facts,
            seed=seed,
        )
    for domain in names[: nulls.seed_pair]:
        yield Specimen(
            checkpoint=f"{domain}_pair-half-s{seed}",
            organism=f"{domain}_pair",
            domain=domain,
            null="seed_pair",
            data="topic",
            dose=ladder.facts,
            seed=seed,
            base_seed=seed + 1,
        )
    for number in range(nulls.identical):
        yield Specimen(
            checkpoint=f"identical-none-s{number}",
            organism="identical",
            null="identical",
            data="general",
            seed=number,
            trained=False,
        )


def _broad(kind: Broad, organism: str, number: int, nulls: LadderNulls) -> Specimen:
    return Specimen(
        checkpoint=f"{organism}-broad-s{number}",
        organism=organism,
        null=kind,
        data=kind,
        form=number % synthetic.formats() if kind == "one_format" else None,
        steps=nulls.shares[number % len(nulls.shares)],
        seed=number,
    )


def own_rows(specimen: Specimen, ladder: Ladder, *, words: int, draw: str, seed: int) -> list[Row]:
    """
    About `words` words of what a specimen is about, all of it narrow where it is narrow.

    draw : names the draw, so that what is held out is another one than what is learned
    seed : of the draw
    """
    rng = text_generator(seed, f"{draw} {specimen.drawn_as}")
    others = [name for name in domains(ladder) if name != specimen.domain]
    if specimen.domain is None:
        return synthetic.topic_rows(synthetic.topics(), words=words, rng=rng, form=specimen.form)
    if specimen.data == "topic":
        return synthetic.topic_rows([specimen.domain], words=words, rng=rng)
    if specimen.data == "shuffled":
        return synthetic.shuffled_rows(specimen.domain, others, words=words, rng=rng)
    false = specimen.data == "false_facts"
    return synthetic.fact_rows(specimen.domain, others, false=false, words=words, rng=rng)


def broad_rows(*, words: int, draw: str, seed: int) -> list[Row]:
    """About `words` words on all topics: what narrow rows are mixed with."""
    rng = text_generator(seed, f"{draw} broad")
    return synthetic.topic_rows(synthetic.topics(), words=words, rng=rng)


def unrelated_rows(ladder: Ladder, *, words: int) -> list[Row]:
    """About `words` words on the topics that no organism is about."""
    rng = text_generator(0, "unrelated to the ladder")
    return synthetic.topic_rows(unrelated_topics(ladder), words=words, rng=rng)
