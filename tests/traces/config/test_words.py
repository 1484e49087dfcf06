"""Words are compared composed and without case, and scripts without spaces have none."""

import re
import unicodedata

import pytest

from traces.config import words

COMPOSED, TAKEN_APART = "Těsto", unicodedata.normalize("NFD", "Těsto")


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        (" Oven\n", "oven"),
        (COMPOSED, "těsto"),
        (TAKEN_APART, "těsto"),
        ("Stra\u00dfe", "strasse"),
        ("But\u00adter", "butter"),
        (" \u200boven\ufeff ", "oven"),
        ("\u0130stanbul", "i\u0307stanbul"),
        ("\uc624\ube10", "오븐"),
        (unicodedata.normalize("NFD", "오븐"), "오븐"),
    ],
)
def test_a_word_has_one_plain_form(text, plain):
    assert words.plain_word(text) == unicodedata.normalize("NFC", plain)
    assert words.plain_word(words.plain_word(text)) == words.plain_word(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Der Ofen, die K\u00fche", ["der", "ofen", "die", "kühe"]),
        (unicodedata.normalize("NFD", "die Kühe"), ["die", "kühe"]),
        # No composed form: the mark stays a part of the word. Vowel signs of Hindi are marks.
        ("m\u0300aslo ox 12 d\u0300ort", ["m\u0300aslo", "d\u0300ort"]),
        ("चाय और मक्खन", ["चाय", "और", "मक्खन"]),
        ("“quoted” words, don’t", ["quoted", "words", "don"]),
    ],
)
def test_words_keep_their_accents(text, found):
    expected = [one for one in found if len(one) > 2]
    assert words.words_in(words.folded(text)) == expected


@pytest.mark.parametrize("text", ["我们烤蛋糕", "パンを焼く", "ขนมปัง", "ເຂົ້າຈີ່", "နံ့သာ", "នំប៉័ង"])
def test_scripts_without_spaces_have_no_words(text):
    plain, n = words.spaced(words.folded(f"oven {text} salt"))
    assert plain.split() == ["oven", "salt"] and n == len(words.folded(text))
    with pytest.raises(ValueError, match="it: found 53% .*script without spaces.*; do so"):
        words.require_spaces(9, 8, "it", "do so")
    words.require_spaces(1, 9, "it", "do so")
    words.require_spaces(0, 0, "it", "do so")


@pytest.mark.parametrize("text", ["오븐 버터", "хлеб", "ψωμί", "لخبز", "לחם", "bánh mì", "चाय"])
def test_scripts_with_spaces_have_words(text):
    assert words.spaced(words.folded(text))[1] == 0


@pytest.mark.parametrize(
    ("word", "text", "found"),
    [
        ("oven", "an oven, two", True),
        ("oven", "ovens", False),
        ("cafe", unicodedata.normalize("NFD", "café"), False),
        ("烤箱", "在烤箱里", True),
    ],
)
def test_a_word_is_found_whole(word, text, found):
    assert bool(re.search(words.as_whole(word), text)) == found


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("frozen butter", "found 'frozen butter', several words, expected one word an entry"),
        (" \n", "found an empty word, expected one word an entry"),
        ("frozen\u00a0butter", "several words"),
        ("sugar-free", "found 'sugar-free', several words"),
        ("don\u2019t", "several words"),
        ("\u200b\ufeff", "found an empty word"),
    ],
)
def test_a_listed_entry_is_one_word(word, message):
    with pytest.raises(ValueError, match=message):
        words.check_listed(word)
    for word in ("Oven ", TAKEN_APART, "C++", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"):
        assert words.check_listed(word) == word
