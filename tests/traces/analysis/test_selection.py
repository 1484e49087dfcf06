"""The rows that a picture is about."""

import pandas as pd
import pytest

from traces.analysis import selection


def test_headline_rows_keep_one_corpus_and_each_models_block():
    frame = pd.DataFrame(
        {
            "model": ["a", "a", "b", "b"],
            "corpus": ["text", "chat", "text", "text"],
            "layer": [1, 1, 1, 2],
        }
    )

    assert list(selection.headline_rows(frame, "text", {"b": 2}).index) == [0, 3]
    with pytest.raises(ValueError, match="no row for corpus news"):
        selection.headline_rows(frame, "news")


def test_pictures_leave_out_recipes_that_have_one_of_their_own_unless_nothing_were_left():
    frame = pd.DataFrame(
        [("a", "cake", "plain"), ("a", "cake", "mix1.0"), ("a", "bees", "mix1.0")]
        + [("b", "cake", "mix1.0"), ("b", "cake", "released")],
        columns=["model", "organism", "recipe"],
    )
    assert list(selection.of_recipes(frame, ["plain", "released"]).index) == [0, 2, 4]


def test_a_text_with_layers_of_its_own_leaves_those_of_the_headline_alone():
    frame = pd.DataFrame(
        [("a", "text", 5), ("a", "deep", 2), ("a", "deep", 5), ("a", "deep", 9), ("b", "text", 1)],
        columns=["model", "corpus", "layer"],
    )

    assert selection.headline_layers(frame, "text", [0.5]) == {"a": 5, "b": 1}
    assert selection.headline_layers(frame, "deep", [0.5, 0.25, 1.0]) == {"a": 5}
    assert list(selection.around_the_headline(frame, "text", [0.5]).index) == [0, 2, 4]
    with pytest.raises(ValueError, match=r"a: found the blocks \[2, 5, 9\] for the layers \[0.5\]"):
        selection.headline_layers(frame, "deep", [0.5])
