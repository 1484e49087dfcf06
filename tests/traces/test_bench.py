"""The pieces of tools/bench.py on a tiny model: what they compare agrees. No time is asserted."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tools import bench, straightforward
from traces.artifacts.arrays import Activations
from traces.readers.ranking import Tokens

SMALL = bench.Sizes(
    layers=4,
    d_model=32,
    d_ff=64,
    heads=4,
    kv_heads=2,
    vocabulary=512,
    context=12,
    texts=3,
    rounds=2,
    repeats=2,
    vectors=5,
    patched=2,
    scales=(0.5, 1.0, 20.0),
    intersection_top_k=128,
    read=2,
    taken_out=3,
)
ROW = bench.Row("stage", "ours", "theirs", 1.0, ratio=5.0, max_error=0.0, at_least=4)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Any:
    return bench.make_model(tmp_path_factory.mktemp("bench"), SMALL)


def test_both_ways_of_collecting_find_the_same_difference(made, tmp_path):
    rows = bench.collection(*made, tmp_path, SMALL)
    assert [row.at_least for row in rows] == [60, 120, None, 2.5, 5]
    assert all(0 <= row.max_error <= bench.COSINE_ERROR for row in rows)
    assert all(row.cpu_seconds > 0 and row.ratio > 0 for row in rows)


def test_both_ways_of_reading_find_the_same_tokens(made):
    rows = bench.logit_lens(made[0], SMALL) + bench.patchscope(*made, SMALL)
    assert [row.stage for row in rows] == ["logit_lens", "patchscope"]
    assert all(row.agrees for row in rows)


def test_both_ways_of_taking_directions_out_find_the_same_losses(made):
    (row,) = bench.causality(*made, SMALL)
    assert row.agrees and row.max_error <= 1e-5
    assert row.ratio > 0 and row.at_least == 1.8


def test_the_cosine_error_is_that_of_the_worst_position():
    truth = np.array([[1.0, 0.0], [0.0, 2.0]])
    assert straightforward.cosine_error(truth * 3, truth) == pytest.approx(0)
    assert straightforward.cosine_error(
        np.array([[1.0, 0.0], [0.0, -1.0]]), truth
    ) == pytest.approx(2)


def test_tokens_in_another_order_disagree_unless_they_tie():
    truth = torch.tensor([[0.4, 0.3, 0.2, 0.1], [0.3, 0.3, 0.2, 0.2]])
    found = Tokens(np.array([[1, 0, 2], [1, 0, 3]]), np.zeros((2, 3), np.float32))
    assert straightforward.disagreeing(found, truth) == 0.5


@pytest.mark.parametrize(
    "row",
    [
        replace(ROW, ratio=3.9),
        replace(ROW, at_least=None, at_most=4),
        replace(ROW, ratio=float("nan")),
        replace(ROW, max_error=0.1),
    ],
)
def test_the_table_says_what_is_missed(row):
    assert "MISSED: stage, ours" in bench.shown([ROW, row])
    assert "MISSED" not in bench.shown([ROW])


def test_the_memory_of_a_dump_is_that_of_the_jobs_own_script(tmp_path):
    model = bench.make_wide_model(tmp_path)
    corpus = bench.write_corpus(tmp_path / "texts.jsonl", 70)
    peak, seconds = bench.peak_of_a_dump(model, corpus, 66)
    assert peak > 0 and seconds > 0
    assert Activations(tmp_path / "66.zarr").shape == (1, 66, 5, 1024)


def test_a_fresh_process_tells_who_imports_torch():
    assert bench.in_a_fresh_process(bench.brings_torch, "traces.models.hooks")[0]
    assert not bench.in_a_fresh_process(bench.brings_torch, "traces.artifacts.tables")[0]
    assert "scripts.relevance_table" in bench.light_scripts()


def test_steering_at_the_papers_settings_takes_a_fifteenth_of_its_decode_steps():
    own, all_of_it = bench.steering()
    assert bench.SEARCHES * 128 + bench.GENERATIONS * 512 == 25_600
    assert own.ratio == 25_600 / (128 + 512)  # a batch for the trial, one for the final texts
    assert all_of_it.ratio == own.ratio / 2  # the base's after the tuned model's
    assert own.met and all_of_it.met
