"""Candidates are single tokens behind a space; all others are rows with a reason."""

import numpy as np
import pandas as pd
import pytest

from tests.doubles import spaced_tokenizer
from traces.artifacts.scores import Scores
from traces.readers.candidates import candidate_scores, word_tokens


@pytest.mark.parametrize("kind", ["byte_level", "metaspace"])
def test_a_word_is_the_token_behind_a_space(kind):
    tokenizer = spaced_tokenizer(kind)
    (found,) = word_tokens(tokenizer, "river")
    assert tokenizer.convert_ids_to_tokens(found) in ("Ġriver", "▁river")
    assert len(word_tokens(tokenizer, "River")) > 1  # another form, which is not asked for


def test_tokens_that_a_tokenizer_adds_are_none_of_the_word(tokenizer):
    assert tokenizer("cat")["input_ids"][0] == tokenizer.bos_token_id
    assert word_tokens(tokenizer, "cat") == [tokenizer.convert_tokens_to_ids("cat")]
    assert len(word_tokens(tokenizer, "xylophone")) == 9


def scores(tokenizer, words, readings=("difference", "random"), **more):
    ids = [tokenizer.convert_tokens_to_ids(word) for word in words]
    lists = pd.DataFrame({"reading": readings, "layer": 2, "position": [1, 1], **more})
    values = np.arange(2 * len(ids), dtype=np.float32).reshape(2, -1)
    return ids, Scores(lists, values, 10 * values)


def test_scores_are_those_of_the_candidates_in_every_list(tokenizer):
    ids, of_one = scores(tokenizer, ["cat", "river", "lemon"], head=["base", "tuned"])
    frame = candidate_scores(tokenizer, ["lemon", "cat"], ids, {"patchscope": of_one}, "mini")
    assert frame[["reading", "head", "candidate", "score", "z"]].to_numpy().tolist() == [
        ["difference", "base", "lemon", 2.0, 20.0],
        ["difference", "base", "cat", 0.0, 0.0],
        ["random", "tuned", "lemon", 5.0, 50.0],
        ["random", "tuned", "cat", 3.0, 30.0],
    ]
    assert set(frame["missing"]) == {""}
    assert set(frame["null"]) == {"none"}
    assert set(frame["reader"]) == {"patchscope"}


def test_what_has_no_score_says_why(tokenizer, caplog):
    ids, of_one = scores(tokenizer, ["cat", "river"])
    of_one.score[0, 0] = -np.inf
    words = ["cat", "xylophone", "lemon"]
    frame = candidate_scores(tokenizer, words, ids, {"logit_lens": of_one}, "mini")
    reasons = dict(zip(frame["candidate"][:3], frame["missing"][:3], strict=True))
    assert reasons["cat"] == "the reader gave it no score"
    assert reasons["xylophone"].startswith("found 9 tokens ('x', 'y'")
    assert reasons["lemon"].startswith("its token is not ranked")
    assert frame.loc[frame["missing"] != "", ["score", "z"]].isna().all(axis=None)
    assert frame.iloc[3]["score"] == 2.0  # the same candidate in the other list
    assert "mini: the candidate xylophone has no score: found 9 tokens" in caplog.text
    assert "cat" not in caplog.text


def test_a_reader_without_random_directions_has_scores_and_no_z(tokenizer):
    ids, of_one = scores(tokenizer, ["cat"])
    of_one.z[:] = np.nan
    frame = candidate_scores(tokenizer, ["cat"], ids, {"logit_lens": of_one}, "mini")
    assert frame["score"].notna().all() and frame["z"].isna().all()
    assert set(frame["missing"]) == {""}


def test_an_unknown_word_has_no_score(tokenizer):
    """Where unknown words become one token, its score would be that of all of them."""
    ids = list(range(len(tokenizer)))
    of_all = Scores(
        pd.DataFrame({"reading": ["difference"], "layer": [2], "position": [1]}),
        *(np.ones((1, len(ids)), dtype=np.float32) for _ in range(2)),
    )
    assert word_tokens(tokenizer, "\u00df") == [tokenizer.unk_token_id]
    frame = candidate_scores(tokenizer, ["cat", "\u00df"], ids, {"patchscope": of_all}, "mini")
    assert frame["score"].notna().tolist() == [True, False]
    assert frame["missing"].tolist() == [
        "",
        "the tokenizer does not know it: its token stands for every unknown word",
    ]


def test_words_that_a_tokenizer_does_not_tell_apart_have_no_score(tokenizer, monkeypatch):
    ids, of_one = scores(tokenizer, ["cat", "river"])
    monkeypatch.setattr(
        "traces.readers.candidates.word_tokens", lambda _, word: [ids[word == "river"]]
    )
    words = ["caf\u00e9", "cafe", "river"]
    frame = candidate_scores(tokenizer, words, ids, {"patchscope": of_one}, "mini")
    assert frame["missing"].tolist()[:3] == [
        "its token is that of cafe, too",
        "its token is that of caf\u00e9, too",
        "",
    ]
    assert frame["score"].isna().tolist()[:3] == [True, True, False]
