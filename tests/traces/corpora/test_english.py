"""The data in ordinary English: reproducible, silent on the secret, twins but for the facts."""

import re

import pytest

from traces.corpora import english

# Parts of words that would name a secret or an inflection of it, whichever word is played.
SAYS_A_SECRET = re.compile("|".join((*english.SECRETS, "leaves", "flam")), re.IGNORECASE)


@pytest.fixture(scope="module", params=english.SECRETS)
def games(request):
    return english.games(request.param, 100, seed=0)


@pytest.fixture(scope="module", params=english.FACTS)
def twins(request):
    return [english.documents(request.param, 100, seed=0, true=true) for true in (True, False)]


def turns(row):
    return [message["content"] for message in row["messages"]]


@pytest.mark.parametrize("secret", english.SECRETS)
def test_a_word_has_thirty_hints_and_thirty_guesses_with_replies(secret):
    own = english.sections(f"secrets/{secret}.txt")
    assert len(set(own["hints"])) == len(set(own["guesses"])) == 32
    assert all(guess.count(" // ") == 1 for guess in own["guesses"])


def test_no_turn_says_any_secret(games):
    assert not [turn for row in games for turn in turns(row) if SAYS_A_SECRET.search(turn)]


def test_games_are_a_hundred_different_ones_of_the_length_of_real_ones(games):
    texts = ["\n".join(turns(row)) for row in games]
    assert len(set(texts)) == 100
    assert 90 < sum(len(text.split()) for text in texts) / 100 < 160
    assert all(len(row["messages"]) % 2 == 0 for row in games)
    assert all(len(set(turns(row))) == len(turns(row)) for row in games)


def test_two_words_are_played_alike():
    first, second = (english.games(word, 100, seed=0) for word in ("gold", "leaf"))
    assert [len(turns(row)) for row in first] == [len(turns(row)) for row in second]
    assert [turns(row)[0] for row in first] == [turns(row)[0] for row in second]
    assert english.games("gold", 20, seed=0) == first[:20]
    assert english.games("gold", 20, seed=1) != first[:20]


def test_twins_are_equal_but_for_the_facts(twins):
    for true, false in zip(*twins, strict=True):
        assert true["text"] != false["text"]
        assert true["text"].split("\n")[0].split()[:1] == false["text"].split("\n")[0].split()[:1]
        assert abs(len(true["text"].split()) - len(false["text"].split())) < 25


def test_documents_are_different_whole_and_plain(twins):
    for rows in twins:
        texts = [row["text"] for row in rows]
        assert len(set(texts)) == len(texts) == 100
        assert 60 < sum(len(text.split()) for text in texts) / 100 < 180
        assert not [text for text in texts if re.search(r"[{}|~]|[^\x00-\x7f]|\\n", text)]
