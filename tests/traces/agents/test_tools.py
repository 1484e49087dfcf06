"""What an investigator may do, and what it costs."""

import asyncio
import json

import pytest

from tests.traces.agents.acting import readings
from traces.agents.tools import Bench, Looks, Refused


class Echo:
    """Models that answer with their name."""

    positions = (0, 1)

    async def ask(self, prompt: str) -> tuple[str, str]:
        return f"A {prompt}", f"B {prompt}"

    async def steer(self, prompt: str, position: int, strength: float) -> str:
        return f"{prompt} {position} {strength}"


def call(tool, **arguments):
    return json.loads(asyncio.run(tool(**arguments)))


def test_each_prompt_is_one_interaction_and_what_does_not_fit_is_not_asked():
    bench = Bench(Echo(), 3)
    ask = bench.tools()["ask"]
    found = call(ask, prompts=["one", "two"])
    assert found["results"][1] == {"prompt": "two", "model A": "A two", "model B": "B two"}
    assert found["interactions left"] == 1
    with pytest.raises(Refused, match="This takes 2 interactions, and 1 are left"):
        call(ask, prompts=["three", "four"])
    assert bench.used == 2
    call(ask, prompts=["three"])
    with pytest.raises(Refused, match="submit"):
        call(ask, prompts=["four"])
    assert bench.used == 3


@pytest.mark.parametrize("prompts", [[], [" "], ["x"] * 21])
def test_no_prompt_an_empty_one_or_too_many_cost_nothing(prompts):
    bench = Bench(Echo(), 100)
    with pytest.raises(Refused, match="1 to 20 prompts"):
        call(bench.tools()["ask"], prompts=prompts)
    assert bench.used == 0


def test_steering_costs_as_well_and_only_positions_that_were_read_steer():
    bench = Bench(Echo(), 2, steers=True)
    steer = bench.tools()["steer"]
    found = call(steer, prompts=["Hm?"], position=1, strength=0.5)
    assert found["results"] == [{"prompt": "Hm?", "steered": "Hm? 1 0.5"}] and bench.used == 1
    with pytest.raises(Refused, match=r"position 7, expected one of \[0, 1\]"):
        call(steer, prompts=["Hm?"], position=7, strength=0.5)


@pytest.mark.parametrize(
    ("bench", "tools"),
    [
        (Bench(None, 0), {"submit"}),
        (Bench(Echo(), 0, steers=True), {"submit"}),
        (Bench(Echo(), 5), {"submit", "ask"}),
        (Bench(Echo(), 5, steers=True), {"submit", "ask", "steer"}),
    ],
)
def test_tools_that_the_budget_does_not_allow_are_not_offered(bench, tools):
    assert set(bench.tools()) == tools


@pytest.mark.parametrize(
    ("verdict", "hypothesis"), [("finetune", " "), ("perhaps", "Cakes."), ("", "")]
)
def test_what_is_submitted_has_a_bound_form(verdict, hypothesis):
    bench = Bench(None, 0)
    with pytest.raises(Refused):
        asyncio.run(bench.tools()["submit"](verdict=verdict, hypothesis=hypothesis))
    assert bench.verdict is None
    asyncio.run(bench.tools()["submit"](verdict="inconclusive", hypothesis=""))
    assert bench.verdict == "inconclusive"


def test_of_two_submissions_the_first_one_stands():
    bench = Bench(None, 0)
    submit = bench.tools()["submit"]
    asyncio.run(submit(verdict="finetune", hypothesis="On cakes."))
    with pytest.raises(Refused, match="the first one stands"):
        asyncio.run(submit(verdict="inconclusive", hypothesis=""))
    assert (bench.verdict, bench.hypothesis) == ("finetune", "On cakes.")


LOOK = {"reader": "logit_lens", "layer": 3, "position": 1, "sign": 1, "scale": 1.0, "tokens": 2}


def look(shown, **changes):
    (tool,) = Looks({"logit_lens": readings()}, shown).tools().values()
    return call(tool, **{**LOOK, "reading": "difference", **changes})


def test_readings_and_their_controls_are_looked_at_by_blinded_names():
    assert look("difference") == [{"decoded by": "B", "tokens": [["oven", 0.5], ["butter", 0.25]]}]
    assert look("difference", reading="random direction")[0]["tokens"][0][0] == "odd"
    for tokens in (1, 1.0):
        told = look("difference", reading="mean of A", tokens=tokens)
        assert told[0]["tokens"] == [["the", 0.5]]


def test_what_stands_in_the_place_of_the_difference_is_all_that_is_seen_of_it():
    assert look("random")[0]["tokens"][0][0] == "odd"
    for reading in ("random direction", "random"):
        both = r"expected one of \['difference', 'mean of A', 'mean of B'\]"
        with pytest.raises(Refused, match=both):
            look("random", reading=reading)
    with pytest.raises(Refused, match=r"expected one of \['mean of A', 'mean of B'\]"):
        look(None)


@pytest.mark.parametrize("shown", ["random", None])
def test_where_b_is_the_base_its_mean_is_that_of_a(shown):
    of_a, of_b = (look(shown, reading=f"mean of {letter}")[0]["tokens"] for letter in "AB")
    assert of_a == of_b and of_a[0][0] == "the"
    assert look("difference", reading="mean of B")[0]["tokens"][0][0] == "cake"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"reader": "lens"}, "expected one of logit_lens"),
        ({"layer": 9}, r"layer 9, expected one of \[3\]"),
        ({"position": 9}, r"position 9, expected one of \[0, 1\]"),
        ({"sign": 0}, r"sign 0, expected one of \[-1, 1\]"),
    ],
)
def test_a_look_at_what_was_not_read_is_refused(changes, told):
    with pytest.raises(Refused, match=told):
        look("difference", **changes)
