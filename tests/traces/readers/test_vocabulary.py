"""Whole words are the tokens that cover a word."""

import unicodedata

import pytest

from tests.doubles import spaced_tokenizer
from traces.readers import vocabulary

WORDS = ["river", "window", "lemon", "quiet", "paper", "garden", "cat", "cake"]
PROMPTS = [["river", "57", "window"], ["lemon", "803", "quiet"], ["paper", "garden", "316"]]
SCALES = (0.5, 1.0, 20.0)
SIGNS = (1, -1)


def test_whole_words_are_the_tokens_that_cover_a_word(tokenizer):
    texts = ["The cat saw the river.", "cat, cat! catalog cakes", "cake's river_x 'lemon'"]
    frame = vocabulary.whole_words(tokenizer, texts, min_count=1)
    assert dict(zip(frame["token"], frame["count"], strict=True)) == {
        "cat": 3,
        "river": 1,
        "lemon": 1,
    }
    assert frame["token_id"].tolist() == [
        tokenizer.convert_tokens_to_ids(word) for word in ("cat", "river", "lemon")
    ]
    assert vocabulary.whole_words(tokenizer, texts, min_count=2)["token"].tolist() == ["cat"]


@pytest.mark.parametrize("kind", ["byte_level", "metaspace"])
def test_whole_words_of_tokenizers_that_keep_the_space_in_the_token(kind):
    tokenizer = spaced_tokenizer(kind)
    frame = vocabulary.whole_words(tokenizer, ["a river here, the riverbank; river"], min_count=1)
    found = dict(zip(frame["token"].str.strip(), frame["count"], strict=True))
    assert found["river"] == 2


def test_an_empty_vocabulary_is_an_empty_table(tokenizer):
    assert vocabulary.whole_words(tokenizer, ["cat"], min_count=5).empty


def test_a_word_beside_letters_of_a_script_without_spaces_is_whole(tokenizer):
    texts = ["cat烤箱 the cat我们", "river lemon " * 9]
    frame = vocabulary.whole_words(tokenizer, texts, min_count=2)
    assert dict(zip(frame["token"], frame["count"], strict=True)) == {
        "lemon": 9,
        "river": 9,
        "cat": 2,
    }


def test_decomposed_text_has_the_words_of_composed_text():
    accented = accented_tokenizer()
    whole = [
        vocabulary.whole_words(accented, [unicodedata.normalize(form, "těsto, řeka. těstoviny")], 1)
        for form in ("NFC", "NFD")
    ]
    assert [set(frame["token"].str.strip()) for frame in whole] == [{"těsto", "řeka"}] * 2


def test_text_without_spaces_has_no_whole_words(tokenizer):
    with pytest.raises(ValueError, match="mine: found .*set `lenses.vocabulary: all`"):
        vocabulary.whole_words(tokenizer, ["我们在烤箱里烤蛋糕 cat"], 1, source="mine")


def accented_tokenizer():
    from traces.training.pretraining import train_tokenizer

    return train_tokenizer([{"text": "těsto řeka viny " * 50}], vocabulary=300, bos=False)
