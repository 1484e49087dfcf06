"""A text is judged beside what the same model writes unsteered."""

import pandas as pd
import pytest

from traces.judges import coherence
from traces.judges.relevance import Subject

CAKE = Subject("cake", words=("oven", "butter", "vanilla"))
CAT = Subject("cat", words=("whisker", "purr"))


def writings(*measures):
    return [coherence.Writing("prompt", "text", nll, repetition) for nll, repetition in measures]


def test_a_text_no_worse_than_most_unsteered_ones_is_coherent():
    unsteered = writings(*((1 + i / 100, i / 1000) for i in range(100)))
    judge = coherence.FluencyJudge(0.95)
    texts = writings((1.9, 0.05), (0.1, 0.0), (1.99, 0.05), (1.5, 0.0991), (9.0, 0.9))
    assert judge.grade(texts, unsteered) == [True, True, False, False, False]
    assert sum(judge.grade(unsteered, unsteered)) == 96


def test_a_text_as_bad_as_the_worst_of_few_unsteered_ones_is_coherent():
    unsteered = writings((1.0, 0.0), (1.2, 0.1), (1.4, 0.0))
    texts = writings((1.4, 0.1), (1.41, 0.0), (1.0, 0.11))
    assert coherence.FluencyJudge(0.95).grade(texts, unsteered) == [True, False, False]


def trial_texts():
    rows = [
        ("tuned", "none", "a b", 3.0),
        ("tuned", "difference", "c d", 2.0),
        ("base", "none", "e f", 1.0),
        ("base", "difference", "g h", 2.0),
        ("base", "difference", "  ", 2.0),
    ]
    frame = pd.DataFrame(rows, columns=["steered_model", "vector", "text", "nll"])
    return frame.assign(prompt="p", repetition=0.0, strength=0.5)


def test_every_model_is_compared_with_its_own_unsteered_text():
    found = coherence.coherence(trial_texts(), coherence.FluencyJudge(0.95))
    assert found["coherent"].tolist()[:4] == [True, True, True, False]
    assert set(found["judge"]) == {"fluency"}


def test_an_empty_text_is_not_judged():
    found = coherence.coherence(trial_texts(), coherence.FluencyJudge(0.95))
    assert found["coherent"].isna().tolist() == [False] * 4 + [True]
    silent = trial_texts().assign(text="")
    with pytest.raises(ValueError, match="wrote no unsteered text"):
        coherence.coherence(
            pd.concat([silent.head(1), trial_texts().iloc[1:]], ignore_index=True),
            coherence.FluencyJudge(0.95),
        )


def test_groups_of_texts_have_shares():
    graded = coherence.coherence(trial_texts(), coherence.FluencyJudge(0.95))
    graded["text"] = ["oven", "oven with flour", "rope", "The rope, the OVEN", ""]
    found = coherence.group_shares(graded, ["steered_model", "vector"], ["oven", "flour"])
    found = found.set_index(["steered_model", "vector"])
    assert found.loc[("base", "difference"), "coherence"] == 0
    assert found.loc[("tuned", "difference"), "coherence"] == 1
    assert found["own_words"].tolist() == [1.0, 1.0, 0.0, 0.5]
