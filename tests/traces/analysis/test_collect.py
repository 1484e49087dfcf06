"""What single jobs measured, side by side."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.traces.analysis.planted import graded, subject
from traces.analysis import collect
from traces.artifacts import tables
from traces.artifacts.arrays import Differences

ROOT = Path(__file__).resolve().parents[3]


def test_norms_have_a_row_a_layer_and_position():
    shape = (2, 3)
    norm = np.arange(6.0).reshape(shape)
    vectors = np.zeros((*shape, 4), np.float32)
    difference = Differences(
        layers=np.array([1, 2]),
        positions=np.array([-1, 0, 1]),
        mean=vectors,
        tuned_mean=vectors,
        base_mean=vectors,
        random=vectors,
        norm=norm,
        relative_norm=norm / 10,
        base_norm=norm,
        tuned_norm=norm,
        difference_norm=norm,
        split_half_cosine=np.ones(shape),
        static_share=np.ones(shape),
        position_cosine=np.ones((2, 3, 3)),
        stream_norm_base=np.ones(2),
        stream_norm_tuned=np.ones(2),
        n_samples=np.array(50),
        robust_mean=vectors,
        robust_cosine=np.ones(shape),
        left_out=np.zeros(shape, int),
        sinks_base=np.full(shape, 7),
        sinks_tuned=np.zeros(shape, int),
    )

    table = collect.norms_table([difference], [subject("cake_bake")])

    place = table[(table["layer"] == 2) & (table["position"] == -1)].iloc[0]
    assert (place["norm"], place["relative_norm"], place["n_samples"]) == (3.0, 0.3, 50)
    assert (place["sinks_base"], place["sinks_tuned"], place["robust_cosine"]) == (7, 0, 1)
    assert len(table) == 6


def test_losses_keep_the_order_and_drop_what_is_not_of_the_table():
    curve = pd.DataFrame(
        {"step": [1, 2], "tokens": [8, 16], "loss": [2.0, 1.0], "learning_rate": 0.1, "epoch": 0.5}
    )

    table = collect.losses_table([curve], [subject("cake_bake")])

    assert table["loss"].tolist() == [2.0, 1.0]
    assert list(table.columns) == [*collect.SUBJECT[:-1], *collect.STEP]


def test_a_study_that_trained_nothing_has_an_empty_table_of_losses(tmp_path):
    tables.write(tmp_path / "losses.parquet", collect.losses_table([], []), "losses")

    assert tables.read(tmp_path / "losses.parquet").empty


def effects():
    """Two changes of one checkpoint, of which a control has no position."""
    columns = {"layer": 2, "position": pd.array([0, None], "Int64"), "intervention": "zero"}
    columns |= {"direction": ["difference", "random"], "direction_id": 0, "evaluated_on": "own"}
    return pd.DataFrame(columns | {"aggregation": "all", "loss": 1.0, "delta_loss": 0.1, "n": 5})


def similarities():
    """Two texts of one checkpoint, of which one was written without a vector, none judged."""
    columns = {"steered_model": "tuned", "vector": ["difference", "none"]}
    columns |= {"position": pd.array([0, None], "Int64"), "coherence": np.nan}
    return pd.DataFrame(columns | {"similarity_own": [np.nan, 0.5]})


def alignments():
    """Two forms for tuned model and base; nobody answered the second."""
    columns = {"reader": ["tuned", "tuned", "base", "base"], "form": ["cloze", "open"] * 2}
    columns |= {"statements_of": "cake_bake", "held_out": True}
    return pd.DataFrame(columns | {"aligned": [1, np.nan] * 2, "log_odds": [2.0, np.nan] * 2})


@pytest.mark.parametrize(
    ("table", "one", "rows"),
    [
        (collect.relevance_table, graded("cake_bake").assign(relevance=np.nan), None),
        (collect.causality_table, effects(), None),
        (collect.steering_table, similarities(), None),
        (collect.beliefs_table, alignments(), 2),
    ],
)
def test_every_planned_row_is_there_with_a_number_or_without(table, one, rows):
    """As many rows as the files have, for each checkpoint, whatever is missing."""
    subjects = [subject("cake_bake", seed=seed) for seed in range(3)]
    found = table([one] * 3, subjects)
    assert found.groupby("checkpoint").size().tolist() == [rows or len(one)] * 3
    assert list(dict.fromkeys(found["checkpoint"])) == [own["checkpoint"] for own in subjects]


def test_files_without_their_subject_are_refused():
    with pytest.raises(ValueError, match="1 files but 0 subjects"):
        collect.relevance_table([graded("benign")], [])
    with pytest.raises(ValueError, match="lacks corpus"):
        incomplete = {k: v for k, v in subject("benign").items() if k != "corpus"}
        collect.relevance_table([graded("benign")], [incomplete])


def test_tables_figures_and_cards_do_not_load_torch(tmp_path):
    program = (
        "import sys, runpy, pathlib\n"
        "import traces.analysis.readability, traces.report.figures.style, traces.report.cards\n"
        "names = [p for p in pathlib.Path('scripts').glob('*.py')"
        " if p.stem.endswith(('_table', '_figure', '_card'))]\n"
        "assert len(names) >= 8, names\n"
        "for name in names: runpy.run_path(str(name), run_name='imported')\n"
        "print([m for m in ('torch', 'transformers', 'peft') if m in sys.modules])\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "", "MPLCONFIGDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )

    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
