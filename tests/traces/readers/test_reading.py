"""The contract of readers: any axes, columns as the entry says, and nothing else to edit."""

import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from tests.doubles import tiny_model
from tests.traces.readers.conftest import WORDS
from traces.config.readers import READERS, Reader
from traces.corpora.rows import read_identity_prompts
from traces.judges.relevance import DistinctiveWordsJudge, Subject, token_relevance
from traces.models.weights import Pair, readout_of
from traces.readers.candidates import NOTHING, candidate_scores
from traces.readers.reading import Loaded, Probe, planned_lists, read_with
from traces.readers.texts import Text

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
    found = read_identity_prompts(tmp_path / "prompts.txt")
    assert found == [["river", "57"], ["caf\u00e9", "quiet"]]


@pytest.mark.parametrize("line", ["What is a river?", "river, , 57", "river,"])
def test_a_line_that_is_no_list_of_words_is_no_identity_prompt(tmp_path, line):
    (tmp_path / "prompts.txt").write_text(f"river, 57\n{line}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"prompts.txt: found the line .*, expected two words or"):
        read_identity_prompts(tmp_path / "prompts.txt")


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


# A checkpoint that equals its base ----------------------------------------------------------------

RUN = [name for name, one in READERS.items() if one.needs != "others"]
CONTROLS = ["base_mean", "tuned_mean"]


def equal_texts(n=16):
    """Texts of two models with the same weights: both find each of them as likely."""
    rng = np.random.default_rng(0)
    return [
        Text(writer, series, kind, n, None, " ".join(rng.choice(WORDS, 4)), [1], weight)
        for writer, series in (("tuned", 0), ("base", 0), ("base", 1))
        for kind in ("document", "reply")
        for weight in [dict.fromkeys(("tuned", "base"), float(rng.normal())) for _ in range(n)]
    ]


@pytest.fixture(scope="module")
def identical(tokenizer, windows, tmp_path_factory):
    """What every reader finds of a checkpoint with the weights of its base, and its settings."""
    prompts = tmp_path_factory.mktemp("prompts") / "prompts.txt"
    prompts.write_text("river, window\nlemon, quiet\n", encoding="utf-8")
    model, rng = tiny_model("llama"), np.random.default_rng(0)
    told = rng.normal(size=(2, 3, 32)).astype(np.float32)
    nothing = np.zeros_like(told)
    found = SimpleNamespace(layers=np.array([1, 4]), positions=np.array([0, 1, 2]))
    found.mean = found.random = nothing
    found.tuned_mean = found.base_mean = told
    found.mostly_sinks, found.stream_norm_tuned = np.zeros((2, 3), dtype=bool), np.array([3.0, 5.0])
    nulls = {"random": rng.normal(size=(2, 8, 32)).astype(np.float32)}
    ids = tokenizer.convert_tokens_to_ids(WORDS)
    probe = Probe(found, ["difference", *CONTROLS, "random"], 5, ids, nulls)
    loaded = Loaded(
        *(tokenizer, lambda head: readout_of(model), Pair(model, model)),
        texts=lambda most, longest: windows,
        samples=equal_texts,
        asked=RUN,
    )
    heads = {"heads": ["tuned", "base"]}
    logits = {"texts": 7, "positions": None, "floor": 0.0, "mined_positions": 3, "mined_top": 5}
    patch = {"prompts": prompts, "scales": (1.0, 2.0), "intersection_top_k": 90, "batch": 64}
    contrast = {"nulls": ["random"], "directions": 8, "floor": 0.0} | heads
    settings = {
        "logit_lens": heads,
        "patchscope": patch | heads,
        "contrastive_logit_lens": contrast,
        "contrastive_patchscope": contrast,
        "black_box": {},
        "perplexity_differencing": {"top_share": 0.25},
        "logit_difference": logits,
        "logit_mining": logits,
        "weight_change": {"rank": 1} | heads,
        "weight_change_all": {"rank": 1} | heads,
    }
    read = {}
    for name in RUN:
        entry = READERS[name]
        given = replace(loaded, source=read.get(entry.of))
        read[name] = read_with(entry, given, probe, settings[name])
    return probe, settings, read


@pytest.mark.parametrize("name", [one for one in RUN if one != "black_box"])
def test_of_equal_weights_every_reader_has_an_empty_list(name, identical):
    """The texts of the two alone differ, as they are drawn apart: what a black box sees."""
    probe, settings, read = identical
    found, planned = (
        read[name],
        planned_lists(name, probe.differences, probe.readings, settings[name]),
    )
    assert "difference" in set(planned["reading"]), "which the tables of relevance grade as 0"
    assert "difference" not in set(found.tokens["reading"])
    if name != "perplexity_differencing":  # of equal models it has no gap in the base's texts, too
        own = READERS[name].readings_of(CONTROLS)
        assert set(own) <= set(found.tokens["reading"]), "its controls have tokens as ever"
    scores = found.scores.score[found.scores.lists["reading"] == "difference"]
    assert len(scores) and (np.isnan(scores) | (scores == 0)).all()


def test_of_equal_weights_no_candidate_leads(identical, tokenizer):
    probe, _, read = identical
    scores = {name: one.scores for name, one in read.items() if name != "black_box"}
    table = candidate_scores(tokenizer, ["cat", "cake"], probe.vocabulary, scores, "tiny")
    rows = table[table["reading"] == "difference"]
    assert set(rows["reader"]) == set(scores)
    without = rows[rows["score"].isna()]
    assert (
        set(without["missing"]) == {NOTHING} and (rows.dropna(subset="score")["score"] == 0).all()
    )
    assert {"logit_lens", "patchscope", "contrastive_patchscope"} <= set(without["reader"])


def test_what_is_no_number_is_refused_all_the_same(identical, tokenizer):
    probe, settings, _ = identical
    broken = SimpleNamespace(**vars(probe.differences))
    broken.mean = np.full_like(broken.mean, np.nan)
    pair = Pair(tiny_model("llama"), tiny_model("llama"))
    loaded = Loaded(tokenizer, lambda head: None, pair)
    with pytest.raises(ValueError, match="not finite"):
        read_with(
            *(READERS["patchscope"], loaded),
            *(replace(probe, differences=broken), settings["patchscope"]),
        )


def test_of_equal_weights_relevance_is_a_share_of_0(identical):
    probe, settings, read = identical
    planned = {
        name: planned_lists(name, probe.differences, probe.readings, settings[name])
        for name in read
    }
    lenses = {name: one.tokens for name, one in read.items()}
    table = token_relevance(lenses, planned, [Subject("all", WORDS)], DistinctiveWordsJudge())
    rows = table[(table["reading"] == "difference") & (table["lens"] != "black_box")]
    assert set(rows["lens"]) == set(read) - {"black_box"}
    assert (rows["relevance"] == 0).all() and (rows["n"] == 0).all()
    assert (table.loc[table["reading"] == "base_mean", "relevance"] > 0).any()
