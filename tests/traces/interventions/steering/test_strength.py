"""The search for a strength, with a planted truth."""

import math

import pandas as pd
import pytest

from traces.interventions.steering import strength
from traces.interventions.steering.requests import Choice
from traces.interventions.steering.strength import bisected

POSITIONS = [0, 3]


def grades(shares, position=0, n=4):
    """Texts of one position; `shares` maps a strength to how many of n are coherent, or None."""
    return pd.DataFrame(
        [
            {
                "steered_model": "tuned",
                "vector": "difference",
                "position": position,
                "strength": strength,
                "prompt": "a",
                "coherent": None if good is None else i < good,
            }
            for strength, good in shares.items()
            for i in range(n)
        ]
    ).astype({"coherent": "boolean"})


def test_the_largest_strength_with_enough_coherent_texts_is_chosen():
    shares = {0.1: 4, 0.2: 2, 0.4: 3, 0.8: 2, 1.6: 0}
    (found,) = strength.on_grid(grades(shares), 0.75)
    assert found == Choice("tuned", 0, 0.4, 0.75, True, 4)


def test_where_no_strength_is_coherent_it_is_the_smallest_and_said_so():
    (found,) = strength.on_grid(grades({0.4: 1, 0.2: 2}), 0.75)
    assert found == Choice("tuned", 0, 0.2, 0.5, False, 4)


def test_texts_without_an_answer_count_neither_way():
    some = grades({0.1: 4, 0.2: 1})
    some.loc[some.index[-3:], "coherent"] = pd.NA  # of those at 0.2 one is left, a coherent one
    (found,) = strength.on_grid(some, 0.75)
    assert (found.strength, found.coherence, found.n) == (0.2, 1.0, 1)
    (found,) = strength.on_grid(grades({0.1: 3, 0.2: None}), 0.75)
    assert (found.strength, found.coherent) == (0.1, True)
    (found,) = strength.on_grid(grades({0.1: None, 0.2: None}), 0.75)
    assert found == Choice("tuned", 0, 0.1, 0.0, False, 0)


def rounds_of(truth, highest=100.0, steps=(12, 6, 3)):
    """The search where prompt i is coherent up to truth[i]; its results and its rounds."""
    prompts, known, rounds = [f"prompt {i}" for i in range(len(steps))], {}, []
    limit = dict(zip(prompts, truth, strict=True))
    while asked := bisected(known, prompts, highest, steps)[1]:
        rounds.append(asked)
        known |= {(prompt, strength): strength <= limit[prompt] for prompt, strength in asked}
    return bisected(known, prompts, highest, steps)[0], rounds


def test_the_bisection_finds_the_strength_of_every_prompt():
    found, rounds = rounds_of([7.3, 5.1, 9.9])
    assert found[0] == pytest.approx(7.3, abs=100 / 2**12)
    assert found[1] == pytest.approx(5.1, abs=2 * 7.3 / 2**6)
    assert found[2] == pytest.approx(9.9, abs=2 * 7.3 / 2**3)
    assert all(strength <= truth for strength, truth in zip(found, [7.3, 5.1, 9.9], strict=True))
    assert [len(asked) for asked in rounds] == [7] * (4 + 2 + 1)


def test_the_bisection_ends_where_nothing_is_coherent():
    found, rounds = rounds_of([0.0, 5.0, 5.0])
    assert found == [0.0, 0.0, 0.0]
    assert len(rounds) == 4


PLANTED = {("tuned", 0): 0.31, ("tuned", 3): 0.12, ("base", 0): 0.77, ("base", 3): 0.0}


def pretended(requests):
    return [vars(one) | {"text": "words"} for one in requests]


def judged(texts):
    """Coherent up to the planted strength, for three of four samples."""
    limits = [
        math.inf if row.vector == "none" else PLANTED[row.steered_model, row.position]
        for row in texts.itertuples()
    ]
    good = (texts["strength"] <= limits) & (texts["sample"] % 4 < 3)
    return texts.assign(coherent=good.astype("boolean"))


def test_the_search_writes_the_papers_number_of_texts_and_is_gone_through_again():
    prompts = ["a", "b", "c"]
    settings = {"highest": 100.0, "steps": [12, 6, 3], "coherent_share": 0.7}
    rows = strength.searched(pretended, judged, POSITIONS, prompts, 10, **settings)
    texts = pd.DataFrame(rows)
    counts = texts[texts["vector"] == "difference"].groupby(["steered_model", "position"]).size()
    assert counts["tuned", 0] == 490
    assert counts["base", 3] == 4 * 7 * 10  # ended after the first prompt

    chosen = strength.by_bisection(judged(texts), prompts, **settings)
    found = {(one.steered_model, one.position): one for one in chosen}
    for key, truth in PLANTED.items():
        assert found[key].coherent == (truth > 0)
        if truth > 0:
            assert found[key].strength == pytest.approx(truth, abs=0.1 * truth + 0.03)
            assert found[key].coherence > 0.69
    assert found["base", 3].strength == min(texts.loc[texts["strength"] > 0, "strength"])


def test_a_bisection_needs_steps_for_every_prompt():
    with pytest.raises(ValueError, match="steering.bisection.steps: found 2 numbers.* 3 prompts"):
        strength.searched(
            pretended, judged, [0], ["a", "b", "c"], 1,
            highest=1.0, steps=[3, 3], coherent_share=0.5,
        )  # fmt: skip
