"""The contract of readers: any axes, columns as the entry says, and nothing else to edit."""

import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from traces.config.readers import READERS, Reader
from traces.readers import patchscope
from traces.readers.reading import Loaded, Probe, planned_lists, read_with

LOADED = Loaded(tokenizer=None, readout=lambda head: None)
READ = {"reading": ["random", "random"], "rank": [0, 1], "token_id": [7, 3]}
READ |= {"token": ["cake", "oven"], "probability": [0.5, 0.25]}


def probe(layers=(1, 4), positions=(0, 1, 2)):
    found = SimpleNamespace(layers=list(layers), positions=list(positions))
    return Probe(found, readings=["random"], top_k=2)


@pytest.fixture
def entry(monkeypatch):
    """An entry of a reader that reads the same everywhere, with the axes it is given."""

    def made(axes=(), **columns):
        def read(loaded, probe, settings):
            return pd.DataFrame(READ | columns)

        monkeypatch.setitem(sys.modules, "a_reader", SimpleNamespace(read=read))
        return Reader("a reader", "a_reader:read", needs="readout", cost="none", axes=axes)

    return made


def test_a_reader_without_a_place_stands_beside_every_place_that_is_read(entry):
    found = read_with(entry(), LOADED, probe(), {}).tokens
    assert len(found) == 2 * 2 * 3
    for _, tokens in found.groupby(["layer", "position"]):
        assert tokens[list(READ)].to_dict("list") == READ


def test_a_reader_without_positions_keeps_its_layers(entry):
    found = read_with(entry(("layer",), layer=[1, 4]), LOADED, probe(), {}).tokens
    assert found.groupby("token")["layer"].unique().map(list).to_dict() == {
        "cake": [1],
        "oven": [4],
    }
    assert set(found["position"]) == {0, 1, 2}


@pytest.mark.parametrize("axes", [("scale",), ("layer", "sign")])
def test_columns_that_the_entry_does_not_promise_are_refused(entry, axes):
    with pytest.raises(ValueError, match="a_reader:read: found the columns .*layer.*, expected"):
        read_with(entry(axes, layer=[1, 1], sign=[1, 1], head=["tuned"] * 2), LOADED, probe(), {})


def test_prompts_are_words_between_commas_one_prompt_a_line(tmp_path):
    (tmp_path / "prompts.txt").write_text("river, 57\n\n caf\u00e9,quiet \n", encoding="utf-8")
    found = patchscope.identity_words(tmp_path / "prompts.txt")
    assert found == [["river", "57"], ["caf\u00e9", "quiet"]]


PLANNED = SimpleNamespace(layers=np.array([1, 4]), positions=np.array([0, 1, 2]))
PLANNED.mostly_sinks = np.zeros((2, 3), dtype=bool)
PLANNED.mean = PLANNED.random = np.ones((2, 3, 8), np.float32)


def test_every_list_that_a_reader_is_asked_for_is_planned():
    own = {"heads": ["tuned", "base"]}
    found = planned_lists("logit_lens", PLANNED, ["difference", "random"], own)
    assert list(found) == ["reading", "layer", "position", "sign", "head"]
    assert len(found) == len(found.drop_duplicates()) == 2 * 2 * 3 * 2 * 2
    own = {"scales": [0.5, 1.0, 2.0], "heads": ["tuned"]}
    found = planned_lists("patchscope", PLANNED, ["random"], own)
    assert len(found) == 2 * 3 * 2 * 3
    assert set(found["sign"]) == {1, -1} and set(found["scale"]) == {0.5, 1.0, 2.0}


@pytest.mark.parametrize("heads", [["tuned"], ["base"], ["tuned", "base"]])
def test_patchscope_is_asked_for_the_bases_mean_in_the_base_alone(heads):
    PLANNED.base_mean = PLANNED.mean
    own = {"scales": [1.0], "heads": heads}
    found = planned_lists("patchscope", PLANNED, ["difference", "base_mean"], own)
    by_reading = {name: sorted(set(rows["head"])) for name, rows in found.groupby("reading")}
    assert by_reading == {"difference": sorted(heads), "base_mean": ["base"]}
    assert not found.duplicated().any() and len(found) == 2 * 3 * 2 * (len(heads) + 1)


@pytest.mark.parametrize("scored", [False, True])
def test_a_reader_with_a_score_of_its_own_may_say_it(entry, scored):
    columns = {"score": [3.0, 1.0]} if scored else {}
    found = read_with(entry((), **columns), LOADED, probe(), {})
    assert ("score" in found.tokens) == scored and found.scores is None and found.moments is None


def test_a_part_that_is_nothing_is_not_planned_but_for_a_reader_without_places(monkeypatch):
    names = ["difference", "position_specific"]
    assert len(planned_lists("logit_lens", PLANNED, names, {"heads": ["tuned"]})) == 2 * 3 * 2
    entry = Reader("a reader", "a_reader:read", needs="readout", cost="none", axes=())
    monkeypatch.setitem(READERS, "a_reader", entry)
    assert len(planned_lists("a_reader", PLANNED, names, {})) == 2 * 2 * 3
