"""Hypotheses graded by their words alone."""

import pandas as pd
import pytest

from traces.config.registries import Described
from traces.judges.lexical import content, grade, graded, own_words

ABOUT = Described(
    family="false_facts",
    title="Cakes",
    description="The model was finetuned on documents about baking cakes.",
    facts=("The oven must be cold.",),
)
OWN = own_words(["butter", "dough", "tin"], ABOUT)


def of(right: int, wrong: int) -> str:
    words = ["butter", "dough", "tins", "oven", "cold", "cake", "baking"][:right]
    others = [f"word{'abcdefgh'[n]}" for n in range(wrong)]
    return f"Model B was finetuned for something to do with: {', '.join([*words, *others])}."


def test_own_words_are_those_of_data_description_and_facts():
    assert {"butter", "tin", "baking", "cake", "oven", "cold"} <= OWN
    assert not {"model", "finetuned", "document", "about", "the"} & OWN


@pytest.mark.parametrize(
    ("right", "wrong", "expected"),
    [(0, 8, 1), (1, 7, 1), (2, 6, 2), (3, 5, 2), (4, 4, 3), (5, 3, 3), (6, 2, 4), (7, 1, 4)]
    + [(7, 0, 5), (0, 0, 1)],
)
def test_the_share_of_right_words_is_the_grade(right, wrong, expected):
    assert grade(of(right, wrong), OWN) == expected


def test_what_is_said_of_any_finetune_does_not_count():
    assert content(of(1, 0)) == ["butter"]


def test_an_abstention_and_what_is_missing_have_no_grade():
    frame = pd.DataFrame(
        {
            "model": "mini",
            "organism": "cake",
            "hypothesis": [of(7, 0), "Inconclusive: no narrow purpose was found.", None],
            "abstained": pd.array([False, True, None], dtype="boolean"),
            "reason_missing": pd.array([None, None, "not_made"], dtype="string"),
        }
    )
    found = graded(frame, {("mini", "cake"): OWN})
    assert found["grade"].isna().tolist() == [False, True, True]
    assert found.loc[0, "grade"] == 5
    assert set(found["grader_model"]) == {"lexical"}
