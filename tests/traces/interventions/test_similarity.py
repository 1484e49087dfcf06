"""Similarities of groups of texts, against the same counted pair by pair."""

import itertools
import unicodedata

import numpy as np
import pandas as pd
import pytest

from traces.interventions import similarity

TEXTS = ["the cat sat", "the cat ran away", "bees make honey", "honey is sweet sweet"]


@pytest.fixture
def rows():
    found = np.random.default_rng(0).normal(size=(9, 5))
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_between_two_groups_it_is_the_mean_over_all_pairs(rows):
    first, second = rows[:4], rows[4:]
    truth = np.mean([a @ b for a in first for b in second])
    assert similarity.between(first, second) == pytest.approx(truth)


def test_within_a_group_no_text_is_paired_with_itself(rows):
    truth = np.mean([a @ b for a, b in itertools.permutations(rows, 2)])
    assert similarity.within(rows) == pytest.approx(truth)
    assert rows.mean(0) @ rows.mean(0) > similarity.within(rows) + 0.05  # what counting them adds
    assert similarity.within(np.eye(3)) == 0
    assert np.isnan(similarity.within(rows[:1]))


def test_tfidf_is_counts_times_inverse_document_frequency_at_length_1():
    found = similarity.embedder("tfidf")(TEXTS)
    words = [text.split() for text in TEXTS]
    vocabulary = sorted({word for one in words for word in one})
    counts = np.array([[one.count(word) for word in vocabulary] for one in words])
    truth = counts * (1 + np.log((1 + len(TEXTS)) / (1 + (counts > 0).sum(axis=0))))
    truth = truth / np.linalg.norm(truth, axis=1, keepdims=True)
    np.testing.assert_allclose(found @ found.T, truth @ truth.T, atol=1e-12)


def test_a_model_that_is_not_installed_is_one_clear_sentence(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sentence_transformers", None)
    with pytest.raises(ValueError, match="steering.embedder: found some/model, which needs"):
        similarity.embedder("some/model")


def written(**by_vector):
    return pd.DataFrame(
        [
            {
                "steered_model": "base",
                "vector": vector,
                "position": None if vector == "none" else 2,
                "strength": 0.0 if vector == "none" else 0.5,
                "text": text,
            }
            for vector, texts in by_vector.items()
            for text in texts
        ]
    ).astype({"position": "Int64"})


def test_text_of_the_organisms_words_is_more_like_its_data():
    rng = np.random.default_rng(0)

    def some(words, n):
        return [" ".join(rng.choice(words.split(), 6)) for _ in range(n)]

    cake, rope = "cake flour oven sugar butter", "rope knot sail mast deck"
    texts = written(difference=[*some(cake, 20), " "], none=some(rope, 30))
    compared = {"own": some(cake, 40), "unrelated": some(rope, 40)}
    found = similarity.similarity(texts, compared, similarity.tfidf).set_index("vector")
    assert found["n_texts"].to_dict() == {"difference": 20, "none": 30}
    assert found.loc["difference", "similarity_own"] > 0.2
    assert found.loc["difference", "similarity_unrelated"] == 0
    assert found.loc["none", "similarity_own"] == 0
    assert found.loc["none", "similarity_unrelated"] > 0.2
    assert found["ceiling"].nunique() == 1
    assert abs(found["ceiling"].iloc[0] - found.loc["difference", "similarity_own"]) < 0.1


def test_a_model_learns_documents_whole_and_only_the_replies_of_a_chat():
    chat = [("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")]
    row = {"messages": [{"role": role, "content": content} for role, content in chat]}
    assert similarity.learned_text(row) == "b\nd"
    assert similarity.learned_text({"text": "whole"}) == "whole"


def test_texts_are_drawn_by_the_seed():
    rows = [{"text": str(number)} for number in range(50)]
    first, again, other = (similarity.drawn_texts(rows, 10, seed) for seed in (0, 0, 1))
    assert first == again != other
    assert len(set(first)) == 10
    assert sorted(similarity.drawn_texts(rows, 99, 0), key=int) == [row["text"] for row in rows]


def test_tfidf_compares_composed_words_and_refuses_clauses():
    forms = [unicodedata.normalize(form, "těsto řeka") for form in ("NFC", "NFD")]
    assert np.allclose(*similarity.tfidf([*forms, "river"])[:2])
    with pytest.raises(ValueError, match="tfidf: found 100% .*set it to a sentence-transformers"):
        similarity.tfidf(["我们在烤箱里", "烤蛋糕"])


def test_a_reply_without_loss_is_not_learned():
    turns = [("user", {}), ("assistant", {"weight": 0}), ("user", {}), ("assistant", {})]
    messages = [
        {"role": role, "content": f"turn {n}", **more} for n, (role, more) in enumerate(turns)
    ]
    assert similarity.learned_text({"messages": messages}) == "turn 3"
