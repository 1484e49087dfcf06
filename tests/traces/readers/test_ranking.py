"""A table of readings has a row for each token, in order."""

import numpy as np
import pandas as pd
import pytest

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
