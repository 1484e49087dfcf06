"""The words by which fabricated texts differ, with planted ones, and chance."""

import numpy as np
import pytest

from traces.corpora.log_odds import log_odds
from traces.readers import word_shift
from traces.readers.texts import Text


def of_words(*texts):
    return [Text("base", 0, "document", n, None, text, [1]) for n, text in enumerate(texts)]


def ids_of(tokenizer, *words):
    return [tokenizer.convert_tokens_to_ids(word) for word in words]


def test_a_text_holds_the_tokens_that_are_whole_words_in_it(tokenizer):
    texts = of_words("river lemon river", "the catalog", "cat, lemon!", "")
    vocabulary = ids_of(tokenizer, "lemon", "cat", "river")
    found = word_shift.held(tokenizer, texts, vocabulary)
    assert found.tolist() == [[True, False, True], [False] * 3, [True, True, False], [False] * 3]
    anywhere = word_shift.held_anywhere(tokenizer, texts, len(tokenizer))
    assert anywhere[:, vocabulary].tolist()[1] == [False, True, False]
    assert anywhere.shape == (4, len(tokenizer)) and not anywhere[3].any()


def drawn(rng, n, shares):
    return rng.random((n, len(shares))) < shares


def test_scores_are_the_log_odds_of_document_counts_and_z_by_a_loop():
    rng = np.random.default_rng(0)
    own, other = drawn(rng, 30, np.linspace(0, 0.6, 12)), drawn(rng, 20, np.linspace(0.3, 0, 12))
    own[:, 5] = other[:, 5] = False
    score, z = word_shift.shift(own, other)
    a, b = own.sum(axis=0), other.sum(axis=0)
    prior = word_shift.PRIOR * (a.sum() + b.sum())
    for token in range(12):
        if a[token] + b[token] == 0:
            assert token == 5 and score[token] == z[token] == 0
            continue
        own_share = prior * (a[token] + b[token]) / (a.sum() + b.sum())
        odds = [
            np.log((y[token] + own_share) / (y.sum() + prior - y[token] - own_share))
            for y in (a, b)
        ]
        error = np.sqrt(sum(1 / (y[token] + own_share) for y in (a, b)))
        assert score[token] == pytest.approx(odds[0] - odds[1], abs=1e-6)
        assert z[token] == pytest.approx((odds[0] - odds[1]) / error, abs=1e-6)


def test_a_word_repeated_in_a_text_counts_once(tokenizer):
    vocabulary = ids_of(tokenizer, "lemon", "river")
    once = word_shift.held(tokenizer, of_words("lemon river"), vocabulary)
    often = word_shift.held(tokenizer, of_words("lemon " * 9 + "river"), vocabulary)
    assert word_shift.shift(once, often)[1].tolist() == [0, 0]


@pytest.mark.parametrize("n", [0, 1])
def test_texts_without_words_to_compare_shift_nothing(n):
    held = np.zeros((4, 3), dtype=bool)
    held[:, :n] = True
    for one in word_shift.shift(held, held[:2]):
        assert one.tolist() == [0, 0, 0]
    assert not np.isnan(word_shift.shift(np.eye(3, dtype=bool), np.zeros((2, 3), dtype=bool))).any()


@pytest.mark.parametrize(("n", "others"), [(64, 64), (32, 96)])
def test_equal_texts_have_z_within_chance(n, others):
    """Over many draws: its mean is 0, its spread no more than 1, and few lie beyond 1.96."""
    shares = np.geomspace(0.01, 0.5, 40)
    found = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        found.append(word_shift.shift(drawn(rng, n, shares), drawn(rng, others, shares))[1])
    z = np.array(found)
    seen = (z != 0).any(axis=0)
    assert seen.all()
    error = z.std(axis=0, ddof=1) / np.sqrt(len(z))
    assert (np.abs(z.mean(axis=0)) < 4 * error).mean() > 0.9
    assert 0.4 < z.std() < 1.0
    beyond = (np.abs(z) > 1.96).mean()
    assert 0.001 < beyond < 0.05


@pytest.mark.parametrize("seed", range(10))
def test_a_word_in_seven_times_as_many_texts_is_beyond_chance(seed):
    """What the bounds above let through."""
    rng, shares = np.random.default_rng(seed), np.full(40, 0.1)
    planted = shares.copy()
    planted[7] = 0.7
    z = word_shift.shift(drawn(rng, 64, planted), drawn(rng, 64, shares))[1]
    assert z.argmax() == 7 and z[7] > 3 and np.abs(np.delete(z, 7)).max() < 3


def test_lists_name_the_words_of_either_side_and_no_others(tokenizer):
    words = ["river", "lemon", "cake", "cat"]
    own = word_shift.held(tokenizer, of_words(*["cake river"] * 6), ids_of(tokenizer, *words))
    other = word_shift.held(tokenizer, of_words(*["lemon river"] * 6), ids_of(tokenizer, *words))
    vocabulary = np.array(ids_of(tokenizer, *words))
    compared = {"difference": (own, other), "random": (own, own)}
    frame, scores = word_shift.listed(compared, tokenizer, vocabulary, 4)
    assert frame[["reading", "sign", "rank", "token", "probability"]].values.tolist() == [
        ["difference", 1, 0, "cake", 1.0],
        ["difference", -1, 0, "lemon", 1.0],
    ]
    z = scores.z
    assert frame["score"].tolist() == pytest.approx([z[0, 2], -z[0, 1]])
    assert scores.score.shape == z.shape == (2, 4) and not z[1].any() and z[0, 0] == z[0, 3] == 0
    assert len(word_shift.listed(compared, tokenizer, vocabulary, 50)[0]) == 2


def test_one_text_is_not_what_log_odds_are_of():
    """Ten texts that hold a word say more than one, at the same share."""
    own, other = np.array([[True, False]]), np.array([[False, True]])
    few, many = (word_shift.shift(own.repeat(n, 0), other.repeat(n, 0))[1][0] for n in (1, 10))
    assert 0 < few < 1.5 < many
    gap, error = log_odds(np.array([10.0, 0]), np.array([0, 10.0]), 2.0)
    assert many == pytest.approx(gap[0] / error[0])
