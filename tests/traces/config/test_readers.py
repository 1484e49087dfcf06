"""Every reader's entry is true of its function, and stands in the documents."""

import re
from importlib import import_module
from typing import get_args

import pytest

from tests.conftest import ROOT
from traces.config import readers, schema
from traces.config.readers import READERS
from traces.judges.relevance import LIST_KEYS


@pytest.mark.parametrize("name", READERS)
def test_an_entry_names_a_function_and_settings_that_are_there(name):
    entry = READERS[name]
    module, function = entry.read.split(":")
    assert callable(getattr(import_module(module), function))
    assert set(entry.settings) <= set(schema.Lenses.model_fields)
    assert set(entry.headline) <= set(entry.axes) <= set(get_args(readers.Axis)) <= set(LIST_KEYS)


def test_every_reader_has_its_row_in_the_documents():
    text = (ROOT / "docs" / "adding.md").read_text(encoding="utf-8").split("## A reader")[1]
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (\w+) \| (.*?) \| (.*?) \|$", text, re.MULTILINE)
    assert rows == [
        (name, one.title, one.needs, ", ".join(one.axes), one.cost) for name, one in READERS.items()
    ]


def test_settings_are_keys_of_the_lenses_and_a_sections_own_keys():
    lenses = {"heads": ["base"], "top_k": 20, "patchscope": {"prompts": "a.txt", "batch": 4}}
    assert readers.settings_of("logit_lens", lenses) == {"heads": ["base"]}
    expected = {"heads": ["base"], "prompts": "a.txt", "batch": 4}
    assert readers.settings_of("patchscope", lenses) == expected


def test_a_reader_may_have_some_of_the_readings_only():
    asked = ["random", "robust", "difference"]
    assert readers.reader("logit_lens").readings_of(asked) == asked
    assert readers.reader("black_box").readings_of(asked) == ["random", "difference"]


def test_a_name_without_an_entry_is_refused():
    with pytest.raises(ValueError, match="found the reader ouija, expected one of logit_lens, pat"):
        readers.reader("ouija")


def test_relevance_is_a_measure_of_each_reader():
    found = readers.each_reader(["norm", readers.RELEVANCE, "loss"])
    assert found[:3] == ["norm", "relevance_logit_lens", "relevance_patchscope"]
    assert found[-1] == "loss" and len(found) == len(READERS) + 2
