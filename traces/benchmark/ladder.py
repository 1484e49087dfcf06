"""
The ladder: which organisms are made for comparing readers, and what each learns from.

A specimen is one organism of it. Narrow ones stand on rungs, nulls beside them; all have the same
number of tokens and differ in what those say. Nothing here loads a model.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import BaseModel

from traces.config.checks.places import Places
from traces.config.schema import Ladder
from traces.config.study import LoadedStudy
from traces.config.vocabularies import LadderData, NullKind
from traces.corpora import synthetic
from traces.corpora.synthetic import Row
from traces.seeding import text_generator

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


def check_ladder(loaded: LoadedStudy, places: Places) -> None:
    """
    Check that a study's ladder can be made: on bases that know the synthetic corpus, and in full.

    Raises ValueError for the first thing that is wrong; nothing without a ladder.
    """
    study = loaded.study
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
    try:
        specimens(study.ladder)
    except ValueError as error:
        raise ValueError(f"{places.holder('ladder')}: {error}") from None
    if study.lenses.vocabulary != "words":
        raise ValueError(
            f"{places.at('lenses.vocabulary')}: found {study.lenses.vocabulary} beside a `ladder`, "
            "expected words: a domain is told by whole words"
        )


def domains(ladder: Ladder) -> list[str]:
    """
    The topics that organisms are about, the first of topics.json.

    Raises ValueError if no two topics are left for the unrelated text.
    """
    every = synthetic.topics()
    if ladder.domains > len(every) - 2:
        raise ValueError(
            f"ladder.domains: found {ladder.domains}, expected at most {len(every) - 2}: the "
            f"synthetic corpus has {len(every)} topics, and unrelated text needs two"
        )
    return every[: ladder.domains]


def unrelated_topics(ladder: Ladder) -> list[str]:
    """The topics of the unrelated text, which no organism is about."""
    return synthetic.topics()[ladder.domains :]


def specimens(ladder: Ladder) -> list[Specimen]:
    """
    Every organism of the ladder, in an order that new ones are added to at the end of their kind.

    Raises ValueError for more of a kind than there are domains.
    """
    names = domains(ladder)
    known = {"shuffled": names, "seed_pair": names, "true_facts": _with_facts(names)}
    for kind, some in known.items():
        if getattr(ladder.nulls, kind) > len(some):
            raise ValueError(
                f"ladder.nulls.{kind}: found {getattr(ladder.nulls, kind)}, expected at most "
                f"{len(some)}, one a domain"
            )
    return [*_narrow(ladder, names), *_twins(ladder, names), *_nulls(ladder, names)]


def batches(ladder: Ladder) -> list[list[Specimen]]:
    """The specimens, so many a process."""
    every = specimens(ladder)
    return [every[at : at + ladder.batch] for at in range(0, len(every), ladder.batch)]


def _narrow(ladder: Ladder, names: Sequence[str]) -> Iterator[Specimen]:
    for rung, settings in ladder.rungs.items():
        for domain in names[: settings.domains]:
            for seed in ladder.seeds:
                yield Specimen(
                    checkpoint=f"{domain}-{rung}-s{seed}",
                    organism=domain,
                    domain=domain,
                    null="none",
                    data="topic",
                    recipe="plain" if settings.cut is None else f"rank_{settings.cut}",
                    seed=seed,
                    **settings.model_dump(exclude={"domains"}),
                )


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
            yield Specimen(
                checkpoint=f"{kind}-broad-s{number}",
                organism=kind,
                null=kind,
                data=kind,
                form=number % synthetic.formats() if kind == "one_format" else None,
                steps=nulls.shares[number % len(nulls.shares)],
                seed=number,
            )
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


def own_rows(specimen: Specimen, ladder: Ladder, *, words: int, draw: str, seed: int) -> list[Row]:
    """
    About `words` words of what a specimen is about, all of it narrow where it is narrow.

    draw : names the draw, so that what is held out is another one than what is learned
    seed : of the draw
    """
    rng = text_generator(seed, f"{draw} {specimen.organism}")
    names = domains(ladder)
    others = [name for name in names if name != specimen.domain]
    if specimen.domain is None:
        return synthetic.topic_rows(synthetic.topics(), words=words, rng=rng, form=specimen.form)
    if specimen.data == "topic":
        return synthetic.topic_rows([specimen.domain], words=words, rng=rng)
    if specimen.data == "shuffled":
        return synthetic.reworded_rows(specimen.domain, others, words=words, rng=rng)
    false = specimen.data == "false_facts"
    # The twins' documents differ in their facts alone: they are of one draw.
    rng = text_generator(seed, f"{draw} facts {specimen.domain}")
    return synthetic.fact_rows(specimen.domain, others, false=false, words=words, rng=rng)


def broad_rows(*, words: int, draw: str, seed: int) -> list[Row]:
    """About `words` words on all topics: what narrow rows are mixed with."""
    rng = text_generator(seed, f"{draw} broad")
    return synthetic.topic_rows(synthetic.topics(), words=words, rng=rng)


def unrelated_rows(ladder: Ladder, *, words: int) -> list[Row]:
    """About `words` words on the topics that no organism is about."""
    rng = text_generator(0, "unrelated to the ladder")
    return synthetic.topic_rows(unrelated_topics(ladder), words=words, rng=rng)
