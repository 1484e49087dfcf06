"""What an investigator is shown: blind, whole, the same every time."""

import pandas as pd
import pytest
from pydantic import ValidationError

from traces.agents.overview import (
    NO_DIRECTION,
    NOTHING_FOUND,
    Block,
    Overview,
    Steered,
    blocks_of,
    for_black_box,
    overview,
)

SAID = {"difference": ("oven", "butter", "flour"), "base_mean": ("the", "a", "of")}


def readings(positions=(0, 1), **axes) -> pd.DataFrame:
    rows = [
        {
            "reading": reading,
            "layer": 3,
            "position": position,
            "sign": sign,
            "head": head,
            "rank": rank,
            "token_id": rank,
            "token": word if sign == 1 else f"not {word}",
            "probability": 0.5 / (1 + rank),
            **axes,
        }
        for reading, words in SAID.items()
        for position in positions
        for sign in (1, -1)
        for head in ("base", "tuned")
        for rank, word in enumerate(words)
    ]
    return pd.DataFrame(rows)


def test_blocks_hold_the_strongest_tokens_of_the_difference_and_of_the_control():
    found = blocks_of("logit_lens", readings(), tokens=2)
    assert [(one.reading, one.position, [t for t, _ in one.tokens]) for one in found] == [
        ("difference", 0, ["oven", "butter"]),
        ("difference", 1, ["oven", "butter"]),
        ("control", 0, ["the", "a"]),
        ("control", 1, ["the", "a"]),
    ]
    assert {one.decoded_by for one in found} == {"B"}
    assert found[0].tokens[0] == ("oven", 0.5)


def test_patchscope_is_shown_at_the_scale_of_its_metric_alone():
    both = pd.concat([readings(scale=1.0), readings(scale=3.0).assign(token="loud")])
    found = blocks_of("patchscope", both, tokens=3)
    assert {one.scale for one in found} == {1.0}
    assert "loud" not in str(found)


def test_a_control_that_one_model_alone_reads_is_kept():
    frame = readings()
    frame = frame[(frame["reading"] == "difference") | (frame["head"] == "base")]
    found = blocks_of("patchscope", frame.assign(scale=1.0), tokens=3)
    assert {(one.reading, one.decoded_by) for one in found} == {
        ("difference", "B"),
        ("control", "A"),
    }


def test_what_a_reader_says_beside_every_place_is_shown_once():
    (own, control) = blocks_of("black_box", readings().drop(columns="head"), tokens=3)
    assert (own.layer, own.position, own.decoded_by) == (None, None, None)
    assert (own.reading, control.reading) == ("difference", "control")


def test_without_a_direction_there_are_no_tokens():
    nothing = blocks_of("logit_lens", readings(), tokens=3, shown=None)
    zero = blocks_of("logit_lens", readings(), tokens=3, norms={(3, 0): 0.0, (3, 1): 2.0})
    assert [(one.nothing, one.tokens) for one in nothing[:2]] == [(NO_DIRECTION, ())] * 2
    assert [one.nothing for one in zero[:2]] == [NO_DIRECTION, None]


def test_a_list_without_a_token_says_so():
    frame = readings()
    frame = frame[(frame["reading"] != "difference") | (frame["position"] == 0)]
    found = blocks_of("logit_lens", frame, tokens=3)
    assert [one.nothing for one in found] == [None, NOTHING_FOUND, None, None]


def test_a_row_of_json_brings_the_overview_back_whatever_the_order_it_was_made_in():
    blocks = blocks_of("logit_lens", readings(), tokens=3)
    texts = [
        Steered(position=at, strength=0.2, prompt="Hm?", steered="Oven.", unsteered="No.")
        for at in (1, 0)
    ]
    one, other = overview(blocks, texts), overview(reversed(blocks), reversed(texts))
    assert one.to_json() == other.to_json()
    assert "\n" not in one.to_json()
    assert Overview.from_json(one.to_json()) == one
    assert one.with_budget(5).interactions == 5
    assert one.with_budget(5).blocks == one.blocks


def test_an_overview_has_no_room_for_a_name():
    whole = overview(blocks_of("logit_lens", readings(), tokens=3)).to_json()
    for name in ("tuned", "base_mean", "checkpoint", "organism", "corpus"):
        assert name not in whole
    with pytest.raises(ValidationError, match="organism"):
        Block(reader="logit_lens", layer=0, position=0, organism="cake_bake")  # pyright: ignore


def test_a_black_box_sees_its_budget_and_nothing_else():
    seen = for_black_box(50)
    assert (seen.interactions, seen.blocks, seen.steered) == (50, (), ())
