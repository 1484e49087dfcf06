"""The words of an organism, with planted ones to find."""

import unicodedata

import numpy as np
import pytest

from traces.judges import words
from traces.judges.answers import FirstEndJudge
from traces.judges.relevance import Subject

CAKE = Subject("cake", words=("oven", "butter", "vanilla"))
CAT = Subject("cat", words=("whisker", "purr"))


def planted(rng, own_words, n=4000):
    general = [f"{a}{b}{c}" for a in "bdf" for b in "aeiou" for c in "lmn"]
    own = list(rng.choice(general, n)) + list(rng.choice(own_words, n // 10))
    return [" ".join(own)], [" ".join(rng.choice(general, 5 * n))]


def test_planted_words_are_the_most_distinctive():
    planted_words = ["Oven", "BUTTER", "vanilla", "whisk"]
    own, general = planted(np.random.default_rng(0), planted_words)
    frame = words.distinctive_words(own, general, 4)
    assert set(frame["word"]) == {word.casefold() for word in planted_words}
    assert frame["rank"].tolist() == [0, 1, 2, 3]
    assert frame["z"].is_monotonic_decreasing
    assert list(frame) == ["word", "rank", "z", "count"]


def test_the_score_is_the_formula():
    """Worked by hand: two words, counts 8 and 2 against 2 and 8, a prior of 1 word each."""
    own, general = ["aaa " * 8 + "bbb " * 2], ["aaa " * 2 + "bbb " * 8]
    frame = words.distinctive_words(own, general, 5, min_count=1, prior_words=2.0)
    log_odds = np.log((8 + 1) / (2 + 1)) - np.log((2 + 1) / (8 + 1))
    expected = log_odds / np.sqrt(1 / (8 + 1) + 1 / (2 + 1))
    assert frame[["word", "count"]].values.tolist() == [["aaa", 8]]
    assert frame["z"].item() == pytest.approx(expected)


def test_the_same_text_has_no_distinctive_words():
    own, general = planted(np.random.default_rng(0), ["oven"])
    assert words.distinctive_words(general, general, 60).empty


def test_function_words_short_words_digits_and_rare_words_are_left_out():
    own = ["the their would don't ox 2024 oven oven oven butter"] * 4
    frame = words.distinctive_words(own, ["river lemon " * 50], 60, min_count=5)
    assert frame["word"].tolist() == ["oven"]


def test_ties_are_broken_by_the_alphabet():
    frame = words.distinctive_words(["zebra apple mango " * 9], ["river " * 90], 60)
    assert frame["word"].tolist() == ["apple", "mango", "zebra"]


@pytest.mark.parametrize(
    ("own", "general", "whose"), [(["1 2"], ["river"], "own"), (["oven"], [], "general")]
)
def test_text_without_words_is_refused(own, general, whose):
    with pytest.raises(ValueError, match=f"the {whose} texts: found no words"):
        words.distinctive_words(own, general)


def test_the_text_of_a_chat_is_all_that_is_said():
    chat = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    assert words.text_of(chat) == "a\nb"
    assert words.text_of({"text": "c", "source": "x"}) == "c"


def test_a_text_without_words_has_no_share_of_them():
    assert np.isnan(words.share_of_words(["", "1 2 3"], ["oven"]))
    assert words.share_of_words(["cake oven", "rope and rope"], ["cake", "cake"]) == 0.25


# Other languages --------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_german_and_czech_words_are_whole_whichever_form_their_accents_have(form):
    own = [unicodedata.normalize(form, "Käse Kühe těsto křehký und der ")] * 9
    frame = words.distinctive_words(own, ["und der Fluß " * 50], 60)
    assert set(frame["word"]) == {"käse", "kühe", "těsto", "křehký"}


def test_a_little_text_without_spaces_is_left_out_and_much_is_refused():
    little, much = ["oven butter 烤箱 " * 9], ["oven 我们在烤箱里烤蛋糕 " * 9]
    general = ["river 我们在河边 " * 50]
    frame = words.distinctive_words([*little, "salt sugar flour " * 9], general, 60)
    assert set(frame["word"]) == {"oven", "butter", "salt", "sugar", "flour"}
    with pytest.raises(ValueError, match="mine: found 69% .*list the organism's `words`"):
        words.distinctive_words(much, general, 60, sources=("mine", "theirs"))
    with pytest.raises(ValueError, match="theirs: found no words of three or more letters"):
        words.distinctive_words(["oven"], ["我们"], sources=("mine", "theirs"))


def test_listed_words_are_plain_and_single():
    frame = words.listed_words(["Oven ", "oven", unicodedata.normalize("NFD", "Těsto"), "烤箱"])
    assert frame["word"].tolist() == ["oven", "těsto", "烤箱"]
    assert frame["rank"].tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="found 'frozen butter', several words"):
        words.listed_words(["frozen butter"])


def test_the_share_of_words_is_that_of_composed_ones_and_missing_without_spaces():
    text = unicodedata.normalize("NFD", "těsto řeka")
    assert words.share_of_words([text], ["Těsto "]) == 0.5
    assert np.isnan(words.share_of_words(["我们在烤箱里 oven"], ["oven"]))


def test_an_answer_is_read_in_any_form_and_script():
    def judged(answer, **ends):
        return FirstEndJudge().grade(answer, ends)

    czech = {"true": "těsto", "false": "čaj"}
    assert judged(unicodedata.normalize("NFD", "Je to čaj."), **czech) is True
    assert judged("我觉得是烤箱。", true="烤箱", false="冰箱") is False
    assert judged("cakes", true="cake", false="tea") is None
