"""A table of readings has a row for each token, in order."""

import numpy as np
import pandas as pd
import pytest

from traces.artifacts.scores import Scores
from traces.readers import ranking

WORDS = ["river", "window", "lemon", "quiet", "paper", "garden", "cat", "cake"]
PROMPTS = [["river", "57", "window"], ["lemon", "803", "quiet"], ["paper", "garden", "316"]]
SCALES = (0.5, 1.0, 20.0)
SIGNS = (1, -1)


def test_the_table_has_a_row_for_each_token_in_order(tokenizer):
    ids = np.arange(2 * 2 * 3).reshape(2, 2, 3) + 10
    probabilities = np.full(ids.shape, 0.5, np.float32)
    probabilities[1, 1, 1:] = 0
    rows = pd.DataFrame({"reading": ["difference", "random"], "layer": [4, 4]})
    frame = ranking.table(ranking.Tokens(ids, probabilities), tokenizer, rows, sign=SIGNS)
    assert list(frame) == ["reading", "layer", "sign", "rank", "token_id", "token", "probability"]
    assert len(frame) == 12 - 2
    last = frame[(frame["reading"] == "random") & (frame["sign"] == -1)]
    assert last[["layer", "rank", "token_id"]].values.tolist() == [[4, 0, 19]]
    assert last["token"].tolist() == [tokenizer.decode([19])]


def test_a_reading_whose_probabilities_are_no_numbers_is_named_and_not_left_out(tokenizer):
    ids = np.arange(2 * 2 * 3).reshape(2, 2, 3)
    probabilities = np.full(ids.shape, 0.5, np.float32)
    probabilities[1, 0] = np.nan
    rows = pd.DataFrame({"reading": ["difference", "random"], "layer": [4, 4]})
    with pytest.raises(ValueError, match="reading random, layer 4: found tokens whose probability"):
        ranking.table(ranking.Tokens(ids, probabilities), tokenizer, rows, sign=SIGNS)


def test_probabilities_are_those_of_the_plain_readers_list():
    lists = pd.DataFrame({"reading": "difference", "layer": 4, "position": [0, 1, 2]})
    score = np.random.default_rng(0).normal(size=(3, 7)).astype(np.float32)
    both = lists.merge(pd.DataFrame({"null": ["random", "activations"]}), how="cross")
    found = ranking.probabilities(both, Scores(lists, score, score))
    np.testing.assert_allclose(found, np.exp(np.repeat(score, 2, axis=0)), rtol=1e-6)


@pytest.mark.parametrize("ids", [None, np.arange(40) * 3 + 1])
def test_the_named_tokens_are_those_of_a_full_sort_in_the_order_of_ids_among_equals(tokenizer, ids):
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 6, size=(5, 40)).astype(np.float32)
    chances = rng.random((5, 40)).astype(np.float32)
    # A list of ties, one without a score, and one of few probable tokens.
    scores[3], scores[4], chances[0, 4:] = 2.5, np.nan, 0
    rows = pd.DataFrame({"reading": list("abcde")})
    found = ranking.named(rows, scores, chances, tokenizer, ids, top_k=9, floor=0.4)
    known = np.arange(40) if ids is None else ids
    for reading, own, chance in zip("abc", scores, chances, strict=False):
        best = sorted((t for t in range(40) if chance[t] >= 0.4), key=lambda t: (-own[t], t))[:9]
        mine = found[found["reading"] == reading]
        assert mine["token_id"].tolist() == known[best].tolist()
        assert mine["rank"].tolist() == list(range(len(best)))
        np.testing.assert_array_equal(mine["score"], own[best])
        np.testing.assert_array_equal(mine["probability"], chance[best])
    assert set(found["reading"]) <= {"a", "b", "c"}
