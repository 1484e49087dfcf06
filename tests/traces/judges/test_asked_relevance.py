"""Relevance as a model sees it, over HTTP: orders, agreement, and answers that are missing."""

import json
import re

import pytest

from tests.chat_server import failed, said
from tests.traces.judges.test_relevance import graded as relevance_of
from tests.traces.judges.test_relevance import lens
from tests.traces.judges.test_rubrics import TEXTS
from traces.judges.asked_relevance import AskedTokenJudge, _agreed
from traces.judges.relevance import Subject

CAKE = Subject("cake", words=("oven",), description="Documents on how to bake.")
TOKENS = [" oven", "river", "butter", "the"]


def listed(body) -> list[str]:
    """The tokens of a request, in its order."""
    return re.findall(r"^\d+\. (.*)$", body["messages"][1]["content"], re.MULTILINE)


def says(relevant):
    """A reply that calls each listed token relevant as `relevant` (place, token) says."""

    def script(_number, body):
        tokens = listed(body)
        answers = [
            {"number": place + 1, "relevant": bool(relevant(place, token))}
            for place, token in enumerate(tokens)
        ]
        return said(json.dumps({"answers": answers}))

    return script


@pytest.fixture
def judge(asking, graders):
    """A judge that asks the server."""

    def judge(**options):
        options = {"orders": 3, "agreement": "all", "seed": 0, **options}
        return AskedTokenJudge(asking(), graders[0], TEXTS["judge_tokens"], **options)

    return judge


def test_answers_come_back_to_their_tokens_whatever_the_order(judge, server):
    server.script = says(lambda _place, token: token.strip() in ("oven", "butter"))
    assert judge().grade(TOKENS, CAKE) == [True, False, True, False]
    orders = {tuple(listed(body)) for body in server.bodies}
    assert len(orders) == 3 and {frozenset(one) for one in orders} == {frozenset(TOKENS)}
    user = server.bodies[0]["messages"][1]["content"]
    assert CAKE.description in user and "oven" in user and "# cake" not in user


def test_a_judge_that_likes_the_first_entry_finds_nothing(judge, server):
    server.script = says(lambda place, _token: place == 0)
    assert judge().grade(TOKENS, CAKE) == [False] * 4
    first = {listed(one)[0] for one in server.bodies}
    assert len(first) > 1


def test_orders_are_those_of_the_seed(judge, server):
    server.script = says(lambda *_: True)
    one, other = judge(), judge(seed=1)
    keys = [
        [question.key for question in made.questions(TOKENS, CAKE)] for made in (one, one, other)
    ]
    assert keys[0] == keys[1] and not set(keys[0]) & set(keys[2])


def test_a_short_list_is_asked_for_in_no_order_twice(judge, server):
    server.script = says(lambda *_: True)
    for tokens, orders in ((TOKENS[:2], 2), (TOKENS[:1], 1), (TOKENS[:3], 3)):
        asked = {one.key for one in judge().questions(tokens, CAKE)}
        assert len(asked) == len(judge().questions(tokens, CAKE)) == orders


def test_a_list_with_an_order_without_an_answer_is_missing(judge, server):
    relevant = says(lambda _place, token: token == "butter")
    server.script = lambda number, body: failed(400) if number == 1 else relevant(number, body)
    made = judge()
    # Only what no order calls relevant would be known: a share of it would be too small.
    assert made.grade(TOKENS, CAKE) == [None] * 4
    assert made.reasons == {(tuple(TOKENS), "cake"): "error"}


@pytest.mark.parametrize(
    "answers",
    [
        [{"number": 1, "relevant": True}],
        [{"number": n, "relevant": True} for n in (1, 2, 4, 3)],
        [{"number": n, "relevant": True} for n in (1, 2, 3, 4, 5)],
        [{"number": n, "relevant": "perhaps"} for n in (1, 2, 3, 4)],
        [{"number": n, "relevant": 1} for n in (1, 2, 3, 4)],
    ],
    ids=["too few", "out of order", "too many", "another word", "a number"],
)
def test_an_answer_that_skips_a_token_is_malformed(judge, server, answers):
    server.script = lambda *_: said(json.dumps({"answers": answers}))
    made = judge()
    assert made.grade(TOKENS, CAKE) == [None] * 4
    assert set(made.reasons.values()) == {"malformed"} and len(server.bodies) == 6


@pytest.mark.parametrize(
    ("votes", "every", "most"),
    [
        ([True, True, True], True, True),
        ([True, True, False], False, True),
        ([True, False, False], False, False),
        ([True, True, None], None, True),
        ([True, None, None], None, None),
        ([False, None, None], None, None),
        ([False, False, None], None, False),
        ([None, None, None], None, None),
        ([True, False], False, False),
    ],
)
def test_what_agreement_makes_of_votes(votes, every, most):
    assert (_agreed(votes, "all"), _agreed(votes, "majority")) == (every, most)


def test_it_stands_behind_the_protocol_of_token_judges(judge, server):
    server.script = says(lambda _place, token: token == "butter")
    tables = {
        "logit_lens": lens(
            [TOKENS, ["river", "the", "a", "moon"]], sign=[1, -1], head=["tuned"] * 2
        )
    }
    found = relevance_of(tables, [CAKE], judge(), candidates=4, at_once=4)
    assert found.set_index("sign")["relevance"].to_dict() == {1: 0.25, -1: 0.0}
    assert set(found["judge"]) == {"one"} and len(server.bodies) == 6
