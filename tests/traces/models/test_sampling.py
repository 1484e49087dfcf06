"""Documents that a model writes: one a number, the same in any batch, cut where the next begins."""

import pytest

from tests.doubles import tiny_model, word_tokenizer
from traces.config.registries import Sampled
from traces.models import sampling

WORDS = ["river", "window", "lemon", "quiet", "paper", "garden"]


@pytest.fixture(scope="module")
def tokenizer():
    return word_tokenizer(WORDS)


@pytest.fixture(scope="module")
def model(tokenizer):
    return tiny_model("llama", vocab=len(tokenizer), layers=2)


def written(model, tokenizer, n=12, seed=0, **settings):
    sampled = Sampled(**{"model": "mini", "max_new_tokens": 20, "batch": 5, **settings})
    return [row["text"] for row in sampling.documents(model, tokenizer, n, sampled, seed)]


def test_a_text_has_a_draw_of_its_own_by_its_number(model, tokenizer):
    found = written(model, tokenizer)
    assert 8 <= len(found) <= 12 and len(set(found)) == len(found)
    assert written(model, tokenizer, batch=12) == found
    assert written(model, tokenizer, n=6) == found[: len(written(model, tokenizer, n=6))]
    assert not set(written(model, tokenizer, seed=1)) & set(found)


def test_a_text_ends_where_the_next_document_begins(model, tokenizer):
    """The mark is drawn as any token is, and nothing behind it is kept."""
    from traces.models.generation import Written

    mark = sampling.first_token(tokenizer, "!")
    river, lemon = tokenizer.convert_tokens_to_ids(["river", "lemon"])
    assert sampling.until(mark, Written([river, mark, lemon], False)).said == [river]
    assert sampling.until(mark, Written([mark, lemon], False)).said == []
    assert sampling.until(mark, Written([river, lemon], False)).said == [river, lemon]


def test_a_text_without_a_letter_is_left_out(model, tokenizer):
    for text in written(model, tokenizer, n=60, max_new_tokens=1):
        assert any(map(str.isalpha, text))
    assert len(written(model, tokenizer, n=60, max_new_tokens=1)) < 60


def test_the_beginning_is_the_token_that_is_named_or_the_tokenizers(tokenizer):
    assert sampling.first_token(tokenizer, None) == tokenizer.bos_token_id
    assert sampling.first_token(tokenizer, "<unk>") == tokenizer.unk_token_id
    with pytest.raises(ValueError, match="sampled.begin: found 'river lemon', which is 2 tokens"):
        sampling.first_token(tokenizer, "river lemon")
