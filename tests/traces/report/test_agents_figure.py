"""The picture of investigators: bars are assertions, marks are successes."""

import pandas as pd
import pytest

from traces.analysis.investigators import summary
from traces.report.figures.agents import agents_figure
from traces.report.findings import investigated


def table(asserted: int, of_null: int, n: int = 10, **other) -> pd.DataFrame:
    """`n` organisms, of which some are named, and as many random directions."""
    rows = []
    for null, number in (("none", asserted), ("random", of_null)):
        for seed in range(n):
            said = seed < number
            rows.append(
                {
                    "model": "mini", "checkpoint": f"cake-plain-s{seed}", "organism": "cake",
                    "null": null, "agent": "lens", "prompt": "neutral", "agent_model": "embedded",
                    "interactions": 0, "run": 0, "hypothesis": "Cakes.", "abstained": not said,
                    "used": 0, "grader_model": "lexical", "repeat": 0,
                    "grade": (4 if null == "none" else 1) if said else None,
                    "reason_missing": None, **other,
                }
            )  # fmt: skip
    kinds = {"abstained": "boolean", "grade": "Int64", "reason_missing": "string"}
    return pd.DataFrame(rows).astype(kinds)


def with_a_black_box(budget: int = 50) -> pd.DataFrame:
    black_box = table(5, 0, agent="black_box", interactions=budget)
    return pd.concat([table(8, 2), black_box], ignore_index=True)


def test_bars_are_assertions_of_the_organism_and_of_its_nulls():
    figure = agents_figure(summary(with_a_black_box()))
    left, right = figure.axes
    assert [bar.get_width() for bar in left.patches] == [0.8, 0.2]
    assert [bar.get_width() for bar in right.patches] == [0.5, 0.0]
    assert left.patches[0].get_facecolor() != left.patches[1].get_facecolor()
    assert right.get_title(loc="left") == "black box,\n50 prompts"
    # the marks of the organism's row are at what was graded so
    marks = [line.get_xdata()[0] for line in left.lines if line.get_marker() in ("o", "D")]
    assert marks == [0.8, 0.8, 0.0, 0.0]


def test_what_is_not_planned_says_so():
    both = with_a_black_box()
    both = both[(both["agent"] == "lens") | (both["null"] == "none")]
    right = agents_figure(summary(both)).axes[1]
    assert "not planned" in [text.get_text() for text in right.texts]


def test_nothing_to_draw_is_refused():
    with pytest.raises(ValueError, match="agents_summary"):
        agents_figure(summary(table(1, 1)).head(0))


def test_the_finding_is_shown_where_the_worst_null_is_told_apart():
    found = investigated(summary(table(10, 0)))
    assert found.clear
    assert "names the finetune (grade 2 or more) of 10 of 10 checkpoints" in found.sentence
    assert "in 0 of 10 of the worst null, random direction" in found.sentence
    assert not investigated(summary(table(6, 4))).clear


def test_the_finding_says_what_a_black_box_found():
    found = investigated(summary(with_a_black_box()))
    assert "the black box with 50 prompts that of 5 of 10" in found.sentence
