"""Verdicts say what an interval shows, and no more: planted gaps, and the documents' bound."""

from pathlib import Path

import numpy as np
import pytest

from traces.analysis import verdicts
from traces.analysis.statistics import paired_difference
from traces.config import files
from traces.config.load import load_study

ROOT = Path(__file__).resolve().parents[3]


def readable(*gaps, bound=0.1):
    found = paired_difference(np.array(gaps), np.zeros(len(gaps)))
    return verdicts.of_gap(found, yes=verdicts.READABLE, no=verdicts.NOT_READABLE, bound=bound)


@pytest.mark.parametrize(
    ("gaps", "verdict"),
    [
        ((0.5, 0.52, 0.48), "readable"),
        # above 0 and below the bound: little, and there
        ((0.05, 0.06, 0.055), "readable"),
        ((0.01, -0.01, 0.0), "not readable"),
        ((-0.3, -0.32, -0.28), "not readable"),
        # two seeds at .90 against .05, whose interval holds everything
        ((0.95, 0.75), "not shown"),
        ((0.0, 0.3, -0.2), "not shown"),
        # the mean is below 0, and the interval reaches the bound all the same
        ((-0.2, 0.1, -0.1), "not shown"),
        ((0.9,), "undecided"),
        ((np.nan, np.nan, 0.5), "undecided"),
        ((), "undecided"),
    ],
)
def test_a_verdict_is_what_the_interval_shows(gaps, verdict):
    assert readable(*gaps) == verdict


def test_without_a_bound_only_an_interval_below_zero_shows_an_absence():
    assert readable(0.01, -0.01, 0.0, bound=0.0) == "not shown"
    assert readable(-0.3, -0.32, -0.28, bound=0.0) == "not readable"


def test_the_bound_is_two_tokens_of_a_graded_list():
    default = [ROOT / "config" / "config.yaml"]
    loaded = load_study(files.read_yaml(default[0]), default)
    assert verdicts.EQUIVALENCE_BOUND * loaded.study.relevance.candidates == pytest.approx(2)


@pytest.mark.parametrize(
    "document",
    [
        "data/captions/readability_table.rst",
        "data/captions/relevance_figure.rst",
        "docs/artifacts.md",
        "docs/miniature.md",
    ],
)
def test_documents_state_the_bound_and_every_word(document):
    text = " ".join((ROOT / document).read_text(encoding="utf-8").split())
    assert f"{verdicts.EQUIVALENCE_BOUND:.2f}".lstrip("0") in text
    for word in ("readable", "not readable", "not shown", "undecided"):
        assert word in text.lower(), word


def test_every_verdict_is_declared_once():
    """No module of the analysis or the report spells a verdict out beside the vocabulary."""
    for file in (ROOT / "traces").rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        spelt = [word for word in verdicts.VERDICTS if f'"{word}"' in text]
        assert not spelt or file.stem == "verdicts", (file, spelt)
