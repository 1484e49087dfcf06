"""A tournament between scales: the best list wins whatever the order, and what it is worth."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from tests.chat_server import failed, said
from tests.traces.judges.test_rubrics import TEXTS
from traces.judges.asked_scales import (
    PLACE,
    asked_scales,
    beside_scale_one,
    candidates,
    groups,
    matches,
)

WORDS = {
    0.25: [" the", " of", "."],
    0.5: [" oven", " the", " of"],
    0.75: [" oven", " flour", " cake"],
    1.0: [" oven", " flour", " the"],
    2.0: [" oven", " flour", " cake"],  # the same as at 0.75, which is nearer to 1
}
BAKING = {"oven", "flour", "cake"}


def lists_at(position, words):
    rows = [
        ("difference", 3, position, 1, "tuned", scale, rank, token)
        for scale, tokens in words.items()
        for rank, token in enumerate(tokens)
    ]
    return pd.DataFrame(rows, columns=[*PLACE, "scale", "rank", "token"])


LISTS = pd.concat(
    [
        lists_at(0, WORDS),
        lists_at(1, {0.5: ["river", "hill"], 1.0: ["river", "lake"], 2.0: ["hill", "tower"]}),
        lists_at(2, {0.5: [".", "->"], 1.0: ["!"]}),
    ],
    ignore_index=True,
)


def lists(body):
    """The lists of a request."""
    parts = body["messages"][1]["content"].split("# List ")[1:]
    return [re.findall(r"^- (.*)$", part, re.MULTILINE) for part in parts]


def prefers_baking(_number, body):
    shared = [sum(token.strip(" ▁␣") in BAKING for token in one) for one in lists(body)]
    return said(json.dumps({"best": 1 + int(np.argmax(shared))}))


@pytest.fixture
def choose(asking, graders):
    def choose(frame=LISTS, places=None, **options):
        options = {"group": 2, "entries": 20, "orders": 3, "agreement": "all", **options}
        judges = SimpleNamespace(graders=graders[:1], repeats=1, scales=SimpleNamespace(**options))
        places = frame[PLACE].drop_duplicates() if places is None else places
        return asked_scales(places, frame, TEXTS["choose_scale"], judges, asking(), seed=0)

    return choose


def test_the_best_list_wins_in_every_order(choose, server):
    server.script = prefers_baking
    found = choose(lists_at(0, WORDS))
    assert found[["chosen_scale", "votes"]].to_numpy().tolist() == [[0.75, 1.0]]
    # Four lists, as two of five are alike: two matches and a final, in each of three orders.
    # What two orders ask alike is asked once.
    assert matches(4, 2) == 3 and 3 < len(server.bodies) <= 3 * 3
    assert len({tuple(map(tuple, lists(body))) for body in server.bodies}) > 3


@pytest.mark.parametrize("agreement", ["all", "majority"])
def test_a_grader_that_likes_the_first_list_does_not_choose(choose, server, agreement):
    server.script = lambda *_: said(json.dumps({"best": 1}))
    words = {scale: [f"word{scale}"] for scale in np.arange(0.5, 3, 0.1).round(1)}
    found = choose(lists_at(0, words), agreement=agreement, group=30)
    assert found["reason_missing"].tolist() == ["disagreement"] and found["votes"].eq(0).all()


def test_a_match_without_an_answer_ends_its_order_alone(choose, server):
    server.script = lambda number, body: failed(400) if number == 0 else prefers_baking(0, body)
    more = {float(scale): [f" word{scale}"] for scale in range(3, 9)}
    most = choose(lists_at(0, WORDS | more), agreement="majority", group=20)
    assert most["chosen_scale"].tolist() == [0.75] and most["votes"].tolist() == [2 / 3]
    server.script = lambda *_: failed(400)
    found = choose(lists_at(0, {0.5: ["a"], 1.0: ["b"]}))
    assert found["reason_missing"].tolist() == ["error"]


@pytest.mark.parametrize("best", [3, True, "1", 1.0])
def test_what_is_no_number_of_a_list_is_malformed(choose, server, best):
    server.script = lambda *_: said(json.dumps({"best": best}))
    assert set(choose(lists_at(0, WORDS))["reason_missing"]) == {"malformed"}


def test_a_place_at_which_nothing_was_read_has_its_row(choose, server):
    server.script = prefers_baking
    places = LISTS[PLACE].drop_duplicates()
    found = choose(LISTS[LISTS["position"] != 1], places)
    assert found["position"].tolist() == [0, 1, 2]
    assert found["reason_missing"].fillna("").tolist() == ["", "empty", "empty"]


def test_lists_to_choose_from_hold_words_and_differ():
    offered = candidates(WORDS | {5.0: ["->", "..."], 10.0: ["man -> man", "two"]}, 3)
    assert list(offered) == [0.25, 0.5, 0.75, 1.0, 10.0]
    assert offered[10.0] == ["two"] and offered[0.25] == [" the", " of"]
    assert candidates(WORDS, 1) == {0.25: [" the"], 1.0: [" oven"]}


@pytest.mark.parametrize(
    ("n", "size", "expected"),
    [(30, 10, 4), (30, 30, 1), (8, 10, 1), (3, 2, 2), (11, 10, 3), (1, 2, 0)],
)
def test_matches_of_a_tournament(n, size, expected):
    assert matches(n, size) == expected
    assert [one for part in groups(range(n), size) for one in part] == list(range(n))
    assert all(len(part) <= size for part in groups(range(n), size))


def test_a_chosen_scale_stands_beside_scale_one():
    chosen = pd.DataFrame(
        {
            **dict(zip(PLACE, [["difference"] * 2, 3, [0, 1], 1, "tuned"], strict=True)),
            "chosen_scale": [2.0, np.nan],
            "reason_missing": [None, "disagreement"],
        }
    )
    rows = [
        (position, scale, organism, relevance)
        for position in (0, 1)
        for scale, relevance in ((1.0, 0.1), (2.0, 0.4))
        for organism in ("cake", "bees")
    ]
    graded = pd.DataFrame(rows, columns=["position", "scale", "graded_on", "relevance"])
    graded = graded.assign(reading="difference", layer=3, sign=1, head="tuned")
    found = beside_scale_one(chosen, graded, ["cake"])
    assert found["graded_on"].tolist() == ["cake"] * 2
    np.testing.assert_array_equal(found["relevance"], [0.4, np.nan])
    assert found["relevance_at_one"].tolist() == [0.1, 0.1]
