"""The embedded investigator: a planted purpose is named, a planted nothing is not."""

import numpy as np
import pytest

from traces.agents.embedded import (
    INCONCLUSIVE,
    UNSEEN,
    WORDS,
    Evidence,
    gathered,
    investigate,
    of_readings,
    of_texts,
    threshold,
)
from traces.agents.overview import NO_DIRECTION, Block, Overview
from traces.agents.plan import Case, Source

COMMON = [f"common{'abcdefghijklmnopqrstuvwxyz'[n % 26]}{'xyz'[n // 26]}" for n in range(78)]
BAKING = ["oven", "butter", "dough", "frosting", "whisk", "batter", "cake", "tart"]


def block(words, reading="difference", reader="logit_lens", position=0) -> Block:
    tokens = tuple((word, 0.1) for word in words)
    return Block(reader=reader, layer=3, position=position, reading=reading, tokens=tokens)


def planted(share: float, seed: int) -> Overview:
    """Ten lists of ten words each: a share of them about baking, the others by lot."""
    rng = np.random.default_rng(seed)
    blocks = []
    for reader in ("logit_lens", "patchscope"):
        for position in range(5):
            n = round(10 * share)
            words = [*rng.choice(BAKING, min(n, 8), replace=False)]
            words += [*rng.choice(COMMON, 10 - len(words), replace=False)]
            blocks += [block(words, reader=reader, position=position)]
            control = rng.choice(COMMON, 10, replace=False)
            blocks += [block(control, "control", reader, position)]
    return Overview(blocks=tuple(blocks))


def test_words_that_recur_lead_and_those_of_the_control_do_not_count():
    own = [block(["oven", "the", "I", "common", f"once{word}"]) for word in ("a", "b")]
    control = [block(["common"], "control")]
    found = of_readings(Overview(blocks=(*own, *control)))
    assert found.words == ("oven", "oncea", "onceb")
    assert found.strength == pytest.approx((1 + 0.5 + 0.5) / WORDS)


def test_lists_without_a_direction_say_nothing():
    nothing = Block(reader="logit_lens", layer=3, position=0, nothing=NO_DIRECTION)
    assert of_readings(Overview(blocks=(nothing, block(["oven"], "control")))) == Evidence()
    assert of_readings(Overview()) == Evidence()
    # beside one that has one it weakens what that says
    half = of_readings(Overview(blocks=(nothing, block(["oven"]))))
    assert half.strength == pytest.approx(0.5 / WORDS)


def test_answers_are_told_by_words_that_more_of_them_hold():
    before = [f"{word} and {other}" for word, other in zip(COMMON[:50], COMMON[20:70], strict=True)]
    after = [f"{text} oven butter" for text in before]
    assert set(of_texts(after, before).words[:2]) == {"oven", "butter"}
    # a word said often in one answer counts once
    once = of_texts([f"{before[0]} {'oven ' * 99}", *before[1:]], before)
    assert once.strength < of_texts(after, before).strength
    assert of_texts(before, before) == of_texts([], []) == Evidence()


def case(checkpoint="cake-plain-s0", null="none", prompt="neutral", agent="lens", budget=0) -> Case:
    organism = checkpoint.split("-")[0]
    return Case(
        model="mini", checkpoint=checkpoint, organism=organism, null=null, agent=agent,
        prompt=prompt, agent_model="embedded", interactions=budget,
    )  # fmt: skip


def source(checkpoint, null, after=None) -> Source:
    return Source(checkpoint=checkpoint, null=null, after=after or checkpoint)


ORGANISMS = ("cake", "bees", "lamp", "owl")
SOURCES = [
    source(f"{name}-plain-s0", null) for name in ORGANISMS for null in ("none", "random")
]  # fmt: skip


def said(shares: dict[tuple[str, str], float], cases) -> list[str]:
    overviews = {
        (f"{name}-plain-s0", null): planted(share, seed)
        for seed, ((name, null), share) in enumerate(shares.items())
    }
    evidence = gathered(cases, SOURCES, overviews, {})
    return [one.hypothesis for one in investigate(cases, SOURCES, evidence)]


def test_a_planted_purpose_is_named_and_a_planted_null_abstains():
    shares = {(name, "none"): 0.6 for name in ORGANISMS}
    shares |= {(name, "random"): 0.0 for name in ORGANISMS}
    cases = [case(f"{name}-plain-s0", null) for name, null in shares]
    found = dict(zip(shares, said(shares, cases), strict=True))
    for name in ORGANISMS:
        words = found[name, "none"].split(": ")[1].rstrip(".").split(", ")
        assert set(words) <= set(BAKING)
    # the strongest of four nulls exceeds the three others, and no more than that one does
    assert [found[name, "random"] for name in ORGANISMS].count(INCONCLUSIVE) >= 3


def test_the_presupposing_prompt_never_abstains():
    shares = {(name, null): 0.0 for name in ORGANISMS for null in ("none", "random")}
    cases = [case(f"{name}-plain-s0", null, "presupposing") for name, null in shares]
    assert INCONCLUSIVE not in said(shares, cases)
    nothing = gathered(cases[:1], SOURCES, {("cake-plain-s0", "none"): Overview()}, {})
    (only,) = investigate(cases[:1], SOURCES, nothing)
    assert (only.hypothesis, only.abstained) == (UNSEEN, False)


def strengths(**by_organism: float) -> dict:
    return {
        (("mini", f"{name}-plain-s0", "random"), "lens", 0): Evidence(("word",), strength)
        for name, strength in by_organism.items()
    }


def test_the_threshold_never_sees_its_own_organism():
    evidence = strengths(cake=9.0, bees=0.2, lamp=0.3)
    assert threshold(case(), SOURCES, evidence) == 0.3
    assert threshold(case("bees-plain-s0"), SOURCES, evidence) == 9.0
    # a change of its own null changes nothing for it
    assert threshold(case(), SOURCES, strengths(cake=0.0, bees=0.2, lamp=0.3)) == 0.3


def test_the_threshold_never_sees_an_organism_that_is_shown_in_its_place():
    some = [*SOURCES, source("cake-plain-s0", "swapped", "lamp-plain-s0")]
    evidence = strengths(cake=9.0, bees=0.2, lamp=0.3)
    assert threshold(case(null="swapped"), some, evidence) == 0.2
    # and a null that shows it does not either
    some.append(source("owl-plain-s0", "shuffled", "cake-plain-s0"))
    evidence[("mini", "owl-plain-s0", "shuffled"), "lens", 0] = Evidence(("word",), 7.0)
    assert threshold(case(), some, evidence) == 0.3


def test_organisms_themselves_set_no_threshold():
    evidence = strengths(bees=0.2) | {
        (("mini", "lamp-plain-s0", "none"), "lens", 0): Evidence(("word",), 5.0)
    }
    assert threshold(case(), SOURCES, evidence) == 0.2


def test_what_cannot_be_told_has_its_reason():
    alone = [source("cake-plain-s0", "none"), Source(
        checkpoint="cake-plain-s0", null="seed_pair", after=None
    )]  # fmt: skip
    overviews = {("cake-plain-s0", "none"): planted(0.6, 0)}
    cases = [case(), case(null="seed_pair"), case(prompt="presupposing")]
    found = investigate(cases, alone, gathered(cases, alone, overviews, {}))
    assert [one.reason_missing for one in found] == ["no_threshold", "not_made", None]


def test_a_black_box_sees_as_many_answers_as_its_budget_and_the_base_twice_for_its_null():
    answers = {
        ("cake-plain-s0", "cake-plain-s0"): ["plain words", "an oven", "an oven again"],
        ("base", "base"): ["plain words", "some words", "more words"],
        ("base", "cake-plain-s0"): ["plain words", "some hat", "more words"],
    }
    some = [source("cake-plain-s0", null) for null in ("none", "base_vs_base")]
    cases = [
        case(null=null, agent="black_box", budget=budget)
        for null in ("none", "base_vs_base")
        for budget in (0, 1, 3)
    ]
    found = gathered(cases, some, {}, answers)
    words = [found[one.overview, "black_box", one.interactions].words for one in cases]
    assert words[:2] == [(), ()]
    assert words[2][0] == "oven"
    assert "hat" in words[5] and "oven" not in words[5]
