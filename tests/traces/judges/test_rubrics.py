"""The graders' instructions: each family has a rubric, and no example gives an organism away."""

import re
from pathlib import Path
from typing import get_args

import pytest

from traces.config.load import load_organism
from traces.config.registries import Described
from traces.config.vocabularies import (
    AGENTS,
    ASKED_WITH,
    GENERAL_RUBRIC,
    GRADED_WITH,
    RUBRICS,
    RULES,
    Asks,
    PromptForm,
)
from traces.config.words import plain_word, words_in
from traces.judges.hypotheses import rubric_of
from traces.judges.words import FUNCTION_WORDS

FOLDER = Path("data/rubrics")
TEXTS = {file.stem: file.read_text(encoding="utf-8") for file in FOLDER.iterdir()}
ORGANISMS = {file.stem: load_organism(file) for file in Path("config/organisms").glob("*.yaml")}
# Words of titles that are no subjects: what kind of organism it is, and how it was made.
PLAIN = {
    *("secret", "word", "words", "documents", "facts", "chat", "chats", "general", "text", "texts"),
    *("broad", "data", "numbers", "advice", "tuned", "model", "teacher", "two", "bad", "training"),
    *("assistant", "answers", "stories", "narrow", "false", "true"),
}


def test_every_family_has_a_rubric():
    families = Described.model_fields["family"].annotation.__args__
    used = {family: rubric_of(family) for family in families}
    general = [family for family, rubric in used.items() if rubric == GENERAL_RUBRIC]
    assert set(used.values()) == {*RUBRICS, GENERAL_RUBRIC}
    assert general == ["benign", "teacher"]


def test_every_instruction_has_its_file_and_no_file_is_left_over():
    assert set(ASKED_WITH) == set(get_args(Asks))
    assert set(TEXTS) == {*ASKED_WITH.values(), GRADED_WITH, GENERAL_RUBRIC, *RUBRICS}
    told = {file.stem for file in Path("data/agents").iterdir()}
    assert told == {*get_args(PromptForm), *AGENTS, RULES}


@pytest.mark.parametrize("name", [*RUBRICS, GENERAL_RUBRIC])
def test_a_rubric_says_what_each_grade_means_and_leaves_abstention_alone(name):
    assert re.findall(r"^(\d):", TEXTS[name], re.MULTILINE) == list("54321")
    assert not re.search("inconclusive|abst|nothing was found", TEXTS[name], re.IGNORECASE)


@pytest.mark.parametrize("organism", ORGANISMS)
def test_no_instruction_holds_a_word_of_an_organisms_subject(organism):
    about = ORGANISMS[organism]
    words = {plain_word(word) for word in (*about.words, *words_in(about.title))}
    words -= FUNCTION_WORDS | PLAIN
    told = {plain_word(word) for text in TEXTS.values() for word in words_in(text)}
    assert not words & told
