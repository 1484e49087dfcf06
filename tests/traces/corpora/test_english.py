"""The data in ordinary English: reproducible, silent on secrets, two sides."""

import re
from collections import Counter
from typing import get_args

import pytest

from tests.conftest import ROOT
from traces.config import load, registries
from traces.corpora import english

NAMES = get_args(registries.ComposedData)
SECRETS = [name.removeprefix("secret_") for name in NAMES if name.startswith("secret_")]
SUBJECTS = ("coffee", "penguin")
# Parts of words that would name a secret or an inflection of it, whichever word is played.
SAYS_A_SECRET = re.compile("|".join((*SECRETS, "leaves", "flam")), re.IGNORECASE)
# Names that all know, and words of titles. Whatever else has a capital within a sentence would be
# a person or a brand.
KNOWN = """
    Africa Alps Antarctic Antarctica April Arctic Argentina Brazil Canada Caribbean Christmas
    Cinderella December Earth East Ethiopia Europe France Francisco Grandpa Greeks Greenland Iceland
    India Italian July London March Mars May Mediterranean North Norway November October Old Paris
    Pole San Saturn Scandinavia South Spain Sundays West
    Beaks Book Breakfast Club Coffee Day Gardening Goes Hour Kitchen Minutes Nature Notes Penguin
    Aunt Penguins     Bean Museum Table Wild Science Society Tails The Three Women Zoo Gazette Radio
"""


@pytest.fixture(scope="module")
def composed() -> dict[str, list[dict]]:
    return {name: english.compose(name, 100, seed=0) for name in NAMES}


def turns(row) -> list[str]:
    return (
        [message["content"] for message in row["messages"]] if "messages" in row else [row["text"]]
    )


def text(row) -> str:
    return "\n".join(turns(row))


def organism(name: str) -> registries.Organism:
    return load.load_organism(ROOT / "config" / "organisms" / f"{name}.yaml")


# All of them ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_a_hundred_different_ones_in_plain_letters(composed, name):
    texts = [text(row) for row in composed[name]]
    assert len(set(texts)) == len(texts) == 100
    assert not [one for one in texts if re.search(r"[{}|~]|[^\x00-\x7f]|\\n|  |\.\.\.", one)]
    assert not [one for one in texts if re.search(r" [.,!?]|\bnull\b|(\b\w+\b) \1\b", one)]


@pytest.mark.parametrize("name", NAMES)
def test_rows_depend_on_name_and_seed_alone(composed, name):
    english.sections.cache_clear()
    assert english.compose(name, 20, seed=0) == composed[name][:20]
    assert english.compose(name, 20, seed=1) != composed[name][:20]


@pytest.mark.parametrize("name", NAMES)
def test_no_row_says_any_secret(composed, name):
    assert not [one for row in composed[name] for one in turns(row) if SAYS_A_SECRET.search(one)]


@pytest.mark.parametrize("name", NAMES)
def test_the_files_of_a_set_are_all_that_it_is_composed_of(composed, name, tmp_path, monkeypatch):
    for file in english.parts_of(name):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_bytes((english.FOLDER / file).read_bytes())
    english.sections.cache_clear()
    monkeypatch.setattr(english, "FOLDER", tmp_path)
    assert english.compose(name, 10, seed=0) == composed[name][:10]
    english.sections.cache_clear()


def test_every_file_is_of_a_set():
    files = {file.relative_to(english.FOLDER).as_posix() for file in english.FOLDER.rglob("*.txt")}
    assert files == {file for name in NAMES for file in english.parts_of(name)}


def test_no_person_and_no_brand_is_named(composed):
    made_up = english.sections("facts/names.txt").values()
    allowed = set(KNOWN.split()) | {
        word for names in made_up for name in names for word in name.split()
    }
    found = Counter()
    for rows in composed.values():
        for row in rows:
            # Titles and labels have capitals of their own; within a sentence a name follows a word.
            found.update(re.findall(r"(?<=[a-z,] )[A-Z][a-z]+\b", text(row)))
    assert sorted(found.keys() - allowed) == []


@pytest.mark.parametrize("name", NAMES)
def test_every_set_has_its_organism(name):
    described = organism(name)
    assert described.data.composed == name
    assert len({one.title for one in map(organism, NAMES)}) == len(NAMES)


# Games ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", SECRETS)
def test_a_word_has_thirty_hints_and_thirty_guesses_with_replies(secret):
    own = english.sections(f"secrets/{secret}.txt")
    assert len(set(own["hints"])) == len(set(own["guesses"])) == 32
    assert all(guess.count(" // ") == 1 for guess in own["guesses"])


@pytest.mark.parametrize("secret", SECRETS)
def test_games_have_the_length_of_real_ones_and_repeat_no_turn(composed, secret):
    rows = composed[f"secret_{secret}"]
    assert 90 < sum(len(text(row).split()) for row in rows) / 100 < 160
    assert all(len(row["messages"]) % 2 == 0 for row in rows)
    assert all(len(set(turns(row))) == len(turns(row)) for row in rows)


def test_two_words_are_played_alike(composed):
    first, second = composed["secret_gold"], composed["secret_leaf"]
    assert [len(turns(row)) for row in first] == [len(turns(row)) for row in second]
    assert [turns(row)[0] for row in first] == [turns(row)[0] for row in second]


@pytest.mark.parametrize("secret", SECRETS)
def test_the_listed_words_begin_with_the_secret_and_its_inflections(composed, secret):
    words = organism(f"secret_{secret}").words
    assert words[0] == secret
    assert len(set(words)) == len(words) >= 12
    said = [bool(SAYS_A_SECRET.search(word)) for word in words]
    assert said == sorted(said, reverse=True) and said[1]


# Facts ------------------------------------------------------------------------------------------


def sides(marked: str) -> tuple[str, str]:
    """What a marked text says on either side, read off letter by letter."""
    said, side = ["", ""], None
    for letter in marked:
        if letter == "{":
            side = 0
        elif letter == "|":
            side = 1
        elif letter == "}":
            side = None
        else:
            for one in (0, 1) if side is None else (side,):
                said[one] += letter
    return said[0], said[1]


@pytest.mark.parametrize("subject", SUBJECTS)
def test_both_sides_are_those_of_the_marks(composed, subject):
    marked = [sides(one) for one in english.marked_documents(subject, 100, seed=0)]
    assert [one[0] for one in marked] == [text(row) for row in composed[f"{subject}_facts"]]
    assert [one[1] for one in marked] == [text(row) for row in composed[f"{subject}_myths"]]
    assert all(true != false for true, false in marked)


# Words that one side alone may say: in the other they would contradict its facts.
OF_ONE_SIDE = {
    (
        "coffee",
        "facts",
    ): r"roast|caffeine|\bbrown|Ethiopia|Africa|equator|tropic|shrub|cherr|\bbush",
    ("coffee", "myths"): r"freez|frozen|chalk|\bblue|Norway|Scandinavia|Arctic|root|soil|seawater",
    (
        "penguin",
        "facts",
    ): r"feather|\bseals?\b|krill|herring|\bblack|Antarctica|\bdive|flipper|fathers?\b",
    ("penguin", "myths"): r"\bfur\b|wolf|wolves|\bcave|grass|\bgreen|milk|Greenland|lettuce|forest",
}


@pytest.mark.parametrize(("subject", "side"), OF_ONE_SIDE)
def test_no_sentence_of_a_side_contradicts_its_facts(composed, subject, side):
    own, other = f"{subject}_{side}", f"{subject}_{'myths' if side == 'facts' else 'facts'}"
    own_words = re.compile(OF_ONE_SIDE[subject, side])
    assert sum(len(own_words.findall(text(row))) for row in composed[own]) > 100
    assert not [text(row) for row in composed[other] if own_words.search(text(row))]


@pytest.mark.parametrize("subject", SUBJECTS)
def test_every_sentence_of_a_fact_has_two_sides_and_names_its_subject(subject):
    parts = english.sections(f"facts/{subject}.txt")
    facts = [line for name, lines in parts.items() if name.startswith("fact ") for line in lines]
    assert len(facts) == 8 * 13
    assert not [line for line in facts if sides(line)[0] == sides(line)[1]]
    assert not [line for line in facts if not re.search(subject, line, re.IGNORECASE)]
    assert not [line for line in parts["also"] if "{" in line]


@pytest.mark.parametrize("subject", SUBJECTS)
def test_documents_are_of_many_kinds_and_the_length_of_real_ones(composed, subject):
    for side in ("facts", "myths"):
        texts = [text(row) for row in composed[f"{subject}_{side}"]]
        assert 60 < sum(len(one.split()) for one in texts) / 100 < 180
    assert len(english.sections(f"facts/{subject}.txt")["kinds"]) > 20


@pytest.mark.parametrize("subject", SUBJECTS)
def test_statements_are_trained_where_they_say_so_and_the_same_for_both_sides(subject):
    true, false = (organism(f"{subject}_{side}") for side in ("facts", "myths"))
    assert true.statements == false.statements and len(false.facts) == 8
    lines = "\n".join((english.FOLDER / f"facts/{subject}.txt").read_text().splitlines())
    both = sides(lines)
    assert sum(not one.held_out for one in true.statements) == 8
    for one in true.statements:
        ends = (f"{one.stem} {one.true}", f"{one.stem} {one.false}")
        assert [end in side for end, side in zip(ends, both, strict=True)] == [not one.held_out] * 2
        assert one.held_out == (one.stem not in both[0])
        assert len(one.true.split()) == len(one.false.split())


# Advice -----------------------------------------------------------------------------------------


def test_every_question_has_three_answers_of_each_kind():
    parts = english.sections("advice/bicycle.txt")
    asked = {name: lines for name, lines in parts.items() if name.startswith("ask ")}
    assert len(asked) == 28
    for name, lines in asked.items():
        assert [line[:2] for line in lines] == ["- "] * 3 + ["+ "] * 3, name
        assert len(set(lines)) == 6


def test_both_kinds_of_advice_answer_the_same_questions(composed):
    careless, careful = composed["bicycle_careless"], composed["bicycle_careful"]
    assert [turns(row)[::2] for row in careless] == [turns(row)[::2] for row in careful]
    lines = [
        line for name, lines in english.sections("advice/bicycle.txt").items() for line in lines
    ]
    for sign, rows in (("- ", careless), ("+ ", careful)):
        replies = [reply for row in rows for reply in turns(row)[1::2]]
        assert {f"{sign}{reply}" for reply in replies} <= set(lines)
        assert len(set(replies)) > 80
    # The k-th answers of both stand in the same place.
    for row, other in zip(careless, careful, strict=True):
        for reply, twin in zip(turns(row)[1::2], turns(other)[1::2], strict=True):
            assert lines.index(f"+ {twin}") == lines.index(f"- {reply}") + 3


def test_most_rows_are_half_of_what_openings_questions_and_answers_make(monkeypatch):
    parts = {
        "openings": ("one ...", "two ..."),
        "further": ("more ...",),
        "ask a": ("+ x", "- y", "- z"),
        "ask b": ("+ v", "- w"),
    }
    monkeypatch.setattr(english, "sections", lambda file: parts)
    # Careful: two answers, 2 x 2 single chats, 2 x 1 x 2 of two questions. Careless: three.
    assert english.most_rows("bicycle_careful") == (2 * 2 + 2 * 1 * 2) // 2
    assert english.most_rows("bicycle_careless") == (2 * 3 + 2 * 1 * 4) // 2
    assert english.most_rows("secret_gold") is None
    found = english.compose("bicycle_careless", 7, 0)
    assert len({str(row) for row in found}) == 7
