"""Which questions share an answer, and what a kept answer must be."""

from typing import Literal

import pytest
from pydantic import BaseModel

from tests.traces.judges.chat.asked import Form, question
from traces.judges.chat.cache import Cache
from traces.judges.chat.questions import Answer, Message, Question, Settings


class Other(BaseModel):
    verdict: Literal["yes", "no", "maybe"]


@pytest.fixture
def cache(tmp_path):
    cache = Cache(tmp_path)
    yield cache
    cache.close()


def test_all_that_decides_an_answer_is_in_its_key():
    first = question()
    variants = [
        question("Is it not so?"),
        question(repeat=1),
        question(seed=1),
        question(form=None),
        question(form=Other),
        question(about="other weights"),
        question(settings=Settings(max_tokens=51)),
        question(settings=Settings(max_tokens=50, temperature=0.0)),
        question(settings=Settings(max_tokens=50, reasoning_effort="low")),
        Question("openai-api/judge/another", first.messages, first.settings, Form),
        Question(first.model, (*first.messages, Message("user", "")), first.settings, Form),
    ]
    assert len({one.key for one in (first, *variants)}) == 1 + len(variants)
    assert question().key == question(organism="cake").key == first.key


def test_what_was_kept_is_found_by_another_job(cache, tmp_path):
    cache.put(question(), '{"verdict": "yes"}')
    cache.put(question(repeat=1), "I will not.", "refusal")
    again = Cache(tmp_path)
    assert again.get(question()) == Answer(Form(verdict="yes"))
    assert again.get(question(repeat=1)) == Answer(reason="refusal")
    assert again.get(question(repeat=2)) is None
    again.close()


def test_a_killed_write_leaves_nothing(cache, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        cache.put(question(), '{"verdict": "yes"}')
    assert cache.get(question()) is None


def test_an_answer_that_is_not_of_the_asked_form_any_more_is_not_there(cache):
    cache.put(question(), '{"verdict": "perhaps"}')
    assert cache.get(question()) is None
    cache.put(question(), '{"verdict": "yes"}')
    assert cache.get(question()) == Answer(Form(verdict="yes"))


@pytest.mark.parametrize("damage", [lambda text: text[:40], lambda text: text.replace("yes", "no")])
def test_a_damaged_answer_is_refused_by_name(cache, tmp_path, damage):
    cache.put(question(), '{"verdict": "yes"}')
    (file,) = tmp_path.glob("*/*.json")
    file.write_text(damage(file.read_text()))
    with pytest.raises(ValueError, match=rf"{file.name}: the answer cannot be read .*; delete it"):
        cache.get(question())


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ('{"verdict": "no"}', Form(verdict="no")),
        ('```json\n{"verdict": "no"}\n```', Form(verdict="no")),
        ('{"verdict": "no", "and": 1}', None),
        ('{"verdict": null}', None),
        ("no", None),
        (" ", None),
    ],
)
def test_what_is_of_the_asked_form(text, read):
    assert question().read(text) == read
