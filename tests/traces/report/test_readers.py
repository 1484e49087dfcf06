"""The page of the benchmark: who is called best, and that it is whole in one file."""

import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from tests.traces.benchmark import planted
from tests.traces.report.test_index import HOSTILE, PNG, Reader
from traces.benchmark import organisms as org
from traces.benchmark.pilot import pilot_rows
from traces.benchmark.scoring import score_readers
from traces.config.vocabularies import NullKind
from traces.report import names, readers, readers_tables
from traces.report.figures import readers as pictures
from traces.report.index import Picture

TEMPLATES = Path(__file__).resolve().parents[3] / "data" / "templates"
SCORING = planted.scoring(resamples=100)


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


def scored(sees, detectors=None, **changes):
    table = planted.organisms(models=("mini", "other"), twins=True)
    mine = planted.organism("mini", "mine-plain-s0", "unknown", strength=0.03)
    table = pd.concat([table, pd.DataFrame([mine])], ignore_index=True)
    said = planted.domain_scores(table, sees)
    found = score_readers(
        table,
        said,
        planted.detector_scores(table, {"kl": 0.0} if detectors is None else detectors),
        planted.token_lists(table, list(sees), own=0.3),
        scoring=SCORING,
        seed=0,
        **changes,
    )
    return found | {"pilot": pilot_rows(table, said, scoring=SCORING, seed=0)}


@pytest.fixture(scope="module")
def found():
    return scored({"logit_lens": 4.0, "patchscope": 0.4})


@pytest.fixture(scope="module")
def equals():
    return scored({"logit_lens": 2.0, "patchscope": 2.0})


def text_of(found) -> str:
    filled = readers.readers_text(
        found, scoring=SCORING, title="x", template=TEMPLATES / "readers.md.j2"
    )
    return filled.split("###")[0]


def by_task(found):
    return {one.task: one for one in readers.leaders(found)}


def page(found, **changes):
    arguments = {
        "scoring": SCORING,
        "title": "A study",
        "pictures": {name: Picture(PNG, f"figures/{name}.png") for name in readers.PICTURES},
        "links": {"readers": "tables/readers.parquet"},
        "provenance": [("Commit", "abc")],
        "template": TEMPLATES / "readers.html.j2",
    }
    return readers.readers_page(found, **arguments | changes)


# In words ---------------------------------------------------------------------------------------


def test_a_reader_that_is_better_than_each_other_is_called_best(found):
    leader = by_task(found)["At naming one of 8 domains"]
    assert (leader.reader, leader.best, leader.rivals) == ("logit lens", True, ())
    row = found["naming"].query("headline and slice == 'all' and reader == 'logit_lens'").iloc[0]
    shown = f"{row['first']:.2f} [{row['first_low']:.2f}, {row['first_high']:.2f}]"
    assert f"At naming one of 8 domains, logit lens is best of 2 (named first {shown})." in (
        text_of(found)
    )


def test_readers_that_are_alike_are_not_ranked(equals):
    leader = by_task(equals)["At naming one of 8 domains"]
    assert not leader.best and len(leader.rivals) == 1
    said = f"At naming one of 8 domains, none is best: {leader.reader} leads 2 "
    assert said in text_of(equals) and f"not told apart from {leader.rivals[0]}." in text_of(equals)


def test_a_reader_at_chance_leads_to_nothing():
    blind = scored({"logit_lens": 0.0, "patchscope": 0.0})
    ahead = 0
    for task, leader in by_task(blind).items():
        value, low = (float(one) for one in re.findall(r"[\d.]+", leader.value)[:2])
        chance = 1 / 8 if "naming" in task else 0.5
        assert not leader.best and leader.above_chance == (low > chance), task
        ahead += value > chance and not leader.above_chance
    assert ahead >= 2
    assert "no reader is shown to be above chance" in text_of(blind)


def test_every_kind_of_null_is_a_task_of_its_own(found):
    tasks = by_task(found)
    for kind in ("general text", "one format", "true facts"):
        assert f"At finding narrow finetunes against {kind}" in tasks
    assert "At telling false facts from their true twins" in tasks


def test_a_number_is_shown_with_its_interval_or_without_one():
    assert readers_tables.with_interval(0.5, 0.25, 1.0) == "0.50 [0.25, 1.00]"
    assert readers_tables.with_interval(0.5, np.nan, np.nan) == "0.50"
    assert readers_tables.with_interval(-0.001, -0.2, np.nan) == "0.00"
    assert readers_tables.with_interval(np.nan, np.nan, np.nan) == "–"


def test_every_kind_of_null_has_a_name():
    kinds = set(NullKind.__args__) - {org.NARROW, org.UNKNOWN}
    assert set(names.NULL_KINDS) == kinds


# The page ---------------------------------------------------------------------------------------


def test_the_page_is_one_file_that_reaches_for_nothing(found):
    text = page(found)
    assert "<script" not in text and "://" not in text and "@import" not in text
    assert {source[:22] for source in Reader(text).all("src")} == {"data:image/png;base64,"}


def test_a_reader_without_eyes_has_names_for_everything(found):
    made = Reader(page(found))
    assert all(attrs.get("alt") for tag, attrs in made.tags if tag == "img")
    assert all(attrs.get("scope") for tag, attrs in made.tags if tag == "th")
    ids = set(made.all("id"))
    assert set(made.all("aria-labelledby")) | set(made.all("aria-describedby")) <= ids
    assert {link[1:] for link in made.all("href") if link[0] == "#"} <= ids


def test_every_text_of_a_user_is_escaped(found):
    text = page(found, title=HOSTILE, provenance=[(HOSTILE, HOSTILE)], links={HOSTILE: HOSTILE})
    assert "<script" not in text and "</script" not in text and "<img src=x" not in text


def test_the_page_says_what_one_table_says(found):
    text = re.sub(r"<[^>]+>", "|", page(found))
    detection = found["detection"].query("headline and slice == 'all' and matched_on == ''")
    for row in detection.to_dict("records"):
        assert readers_tables.with_interval(row["value"], row["low"], row["high"]) in text
    assert "2 bases" in text and "64 narrow organisms" in text
    assert "mini, mine-plain-s0" in text and "it is called narrow at a false-positive rate" in text


def test_a_checkpoint_is_placed_once_by_each_reader_and_kind(found):
    ((name, sentences),) = readers.values(found, SCORING, "x")["placed"]
    assert name == "mini, mine-plain-s0" and len(sentences) == 3 * 3
    raw = found["placed"].query("adjustment == 'raw'")
    ((_, alone),) = readers.values(dict(found) | {"placed": raw}, SCORING, "x")["placed"]
    assert len(alone) == 3 * 3 and alone != sentences


def test_a_study_without_a_pilot_says_so(found):
    assert "There is no pilot here" in page(found)


@pytest.fixture(scope="module")
def tried():
    """The pilot of a base whose every other null is tried, beside all topics."""
    table = planted.organisms(nulls={"general": 20, "one_format": 10})
    table = table.assign(pilot=(table["null"] == "none") | (table["seed"] % 2 == 1))
    said = planted.domain_scores(table, {"logit_lens": 3.0, "patchscope": 3.0}, favourite=9.0)
    return pilot_rows(table, said, scoring=SCORING, seed=0)


def test_the_page_says_what_was_fixed_on_whom_and_what_the_others_come_to(found, tried):
    text = page(dict(found) | {"pilot": tried})
    over_all = tried.query("reader == 'all' and task == 'merit'").set_index("headline")
    values = [over_all.loc[True, "value"], over_all.loc[False, "value"].max()]
    said = text[text.index("The score was fixed on a pilot") :].split("</p>")[0]
    assert "32 narrow organisms and 15 nulls" in said
    assert re.findall(r"(\d\.\d\d) \[", said) == [f"{one:.2f}" for one in values]
    assert "There z less the benign mean has a merit of" in said
    for grid in readers_tables.grids(dict(found) | {"pilot": tried}, SCORING):
        if grid.name == "pilot":
            assert [row[0] for row in grid.rows].count("z less the benign mean (fixed)") == 1
            assert len(grid.rows) == 4 and len(grid.columns) == 5
        if grid.name == "pilot-readers":
            assert [row[0] for row in grid.rows] == ["logit lens", "Patchscope"]


def test_titles_of_a_picture_do_not_touch(found):
    """Long names over narrow panels: each title ends before the next panel begins."""
    names = {"logit_lens": "weight_change_all_tuned", "patchscope": "contrastive_patchscope_base"}
    other = {key: frame.copy() for key, frame in found.items()}
    for frame in other.values():
        if "reader" in frame:
            frame["reader"] = frame["reader"].replace(names)
    shown = ("readers", "detection", "naming", "half_strength")
    figures = [
        pictures.naming_figure(other["confusion"]),
        pictures.strength_figure(*(other[name] for name in shown)),
    ]
    for figure in figures:
        figure.canvas.draw()
        boxes = [
            title.get_window_extent()
            for ax in figure.axes
            for title in ax.get_children()
            if ax.get_visible() and isinstance(title, Text) and title.get_text()
        ]
        assert len(boxes) > 1
        for place, one in enumerate(boxes):
            assert not any(one.overlaps(other) for other in boxes[place + 1 :])


def test_a_table_without_a_row_is_left_out(found):
    empty = dict(found) | {"twins": found["twins"].iloc[:0], "agreement": found["agreement"][:0]}
    shown = {grid.name for grid in readers_tables.grids(empty, SCORING)}
    assert {"auc", "naming", "half"} <= shown and not {"twins", "agreement", "pilot"} & shown


def test_markdown_is_no_markup(found):
    text = readers.readers_text(
        found, scoring=SCORING, title="x", template=TEMPLATES / "readers.md.j2"
    )
    assert "Wilson's" in text and "&#" not in text
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if line.startswith("|---"):
            assert lines[number - 1].count("|") == line.count("|") == lines[number + 1].count("|")


def test_a_clear_reader_errs_less_where_it_says_less(found):
    (grid,) = [one for one in readers_tables.grids(found, SCORING) if one.name == "coverage"]
    (row,) = [one for one in grid.rows if one[0] == "logit lens"]
    wrong = [float(cell.split(" ")[0]) for cell in row[1::2]]
    benign = [float(cell) for cell in row[2::2]]
    assert wrong == sorted(wrong, reverse=True) and benign == sorted(benign, reverse=True)
    rows = found["coverage"].query("reader == 'logit_lens' and null == 'general'")
    assert wrong[0] == pytest.approx(rows.loc[rows["coverage"] == 1, "error"].iloc[0], abs=0.005)


# Pictures ---------------------------------------------------------------------------------------


def lettering(figure):
    return {text.get_text() for ax in figure.axes for text in ax.findobj(plt.Text)}


def test_the_auc_picture_has_a_row_a_reader_and_a_column_a_kind(found):
    figure = pictures.auc_figure(found["detection"], found["naming"])
    words = lettering(figure)
    assert {"logit lens", "Patchscope", "KL of next tokens"} <= words
    assert {
        "general text\n(40 nulls)",
        "one format\n(20 nulls)",
        "own domain\nnamed first",
    } <= words


def test_the_roc_has_a_panel_a_kind_and_a_line_a_reader(found):
    figure = pictures.roc_figure(found["roc"])
    shown = [ax for ax in figure.axes if ax.get_visible()]
    assert [ax.get_title(loc="left") for ax in shown] == [
        f"against {names.NULL_KINDS[kind]}" for kind in ("general", "one_format", "true_facts")
    ]
    assert all(len(ax.lines) == 4 for ax in shown)  # three readers and the diagonal


def test_the_naming_picture_has_a_row_for_each_null(found):
    figure = pictures.naming_figure(found["confusion"])
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels[:8] == [name.replace("_", " ") for name in planted.DOMAINS]
    assert set(labels[8:]) == {"general text", "one format", "true facts"}
    shares = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)


def test_no_matrix_is_drawn_of_nothing(found):
    figure = pictures.naming_figure(found["confusion"].iloc[:0])
    assert figure.texts[0].get_text() == "No reader names domains."


def test_the_strength_picture_marks_where_half_is_reached(found):
    figure = pictures.strength_figure(
        *(found[name] for name in ("readers", "detection", "naming", "half_strength"))
    )
    at = {
        row["value"]
        for row in found["half_strength"].to_dict("records")
        if row["reader"] == "logit_lens" and row["null"] in ("general", "") and row["said"] == "at"
    }
    upright = {
        line.get_xdata()[0] for line in figure.axes[0].lines if len(set(line.get_xdata())) == 1
    }
    assert at and at <= upright


def test_the_cost_picture_has_a_mark_a_reader(found):
    figure = pictures.cost_figure(found["detection"])
    marks = [line for line in figure.axes[0].lines if line.get_marker() not in ("None", "")]
    assert len(marks) == 3
    free = found["detection"].assign(cost_s=np.nan)
    assert pictures.cost_figure(free).texts[0].get_text() == "No reader has a cost."
