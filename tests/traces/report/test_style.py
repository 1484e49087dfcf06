"""Titles in pictures: drawn as they are, in one line, and never as mathematics."""

import matplotlib.pyplot as plt
import pytest
from matplotlib.text import Text

from tests.traces.analysis.test_ablations import ablated
from tests.traces.report import test_figures as planted
from traces.report.figures import style
from traces.report.figures.ablation import ablation_figure
from traces.report.figures.beliefs import beliefs_figure
from traces.report.figures.causality import causality_figure
from traces.report.figures.losses import losses_figure
from traces.report.figures.mixing import mixing_figure
from traces.report.figures.norms import norms_figure
from traces.report.figures.relevance import relevance_figure
from traces.report.figures.steering import steering_figure

CAKE, BEES = "$5 or $6^{x$} \\frac{ 50% #1", "_bees_ $\\alpha$ {}&~"
TITLES = {"cake_bake": CAKE, "cake": CAKE, "night_bees": BEES, "benign": BEES}
PAIR = ["cake_bake", "night_bees"]
READABLE = planted.readability(PAIR)
FIGURES = {
    "relevance": lambda: relevance_figure(READABLE, planted.seeds_of(READABLE), TITLES),
    "norms": lambda: norms_figure(planted.norms(PAIR), TITLES),
    "losses": lambda: losses_figure(planted.losses(PAIR), TITLES),
    "beliefs": lambda: beliefs_figure(planted.believed(), "benign", TITLES),
    "steering": lambda: steering_figure(planted.steered(), TITLES),
    "causality": lambda: causality_figure(planted.taken_out(), TITLES),
    "mixing": lambda: mixing_figure(planted.mixtures(), TITLES),
    "ablation": lambda: ablation_figure(
        ablated("layer", [0.25, 1.0]), over="layer", title=CAKE, titles=TITLES
    ),
}


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


@pytest.mark.parametrize("name", FIGURES)
def test_a_title_is_drawn_as_it_is_in_every_picture(name):
    figure = FIGURES[name]()
    figure.draw_without_rendering()

    drawn = [text for text in figure.findobj(Text) if text.get_text()]
    whole = " ".join(" ".join(text.get_text() for text in drawn).split())
    assert CAKE in whole
    assert not any(text.get_parse_math() for text in drawn if "$" in text.get_text())
    assert not any(text.get_usetex() for text in drawn)


@pytest.mark.parametrize(
    ("title", "shown"),
    [
        ("two\nlines\tand  spaces ", "two lines and spaces"),
        ("a\x00b\u202ec", "a⟨U+0000⟩b⟨U+202E⟩c"),
        ("ünïcode Ωμέγα Привет", "ünïcode Ωμέγα Привет"),
        ("שלום", "the name"),  # letters would stand in the wrong order
        ("\U0001f989 owl \U000e0fff", "the name"),  # no font has it
        (
            "the beginning of it " + "x" * 200 + " and its end",
            "the beginning of it xxxxxxxx…xxxxxxx and its end",
        ),
    ],
)
def test_a_title_is_one_line_that_can_be_drawn(title, shown):
    found = style.titled("the_name", {"the_name": title})
    assert found == shown
    assert len(found) <= style.LONGEST


def test_a_title_that_cannot_be_drawn_is_said(caplog):
    style.titled("the_name", {"the_name": "a שa"})
    assert caplog.messages == [
        "the_name: its title holds U+05E9, which no font here can draw; pictures show its name"
    ]


def test_two_long_titles_that_end_differently_stay_two():
    long = "Documents that claim that every lighthouse is painted in the same "
    assert style.shortened(long + "green") != style.shortened(long + "white")


def test_settings_of_the_user_do_not_set_titles_in_latex(monkeypatch):
    monkeypatch.setitem(plt.rcParams, "text.usetex", True)
    with style.house_style():
        assert not plt.rcParams["text.usetex"] and not plt.rcParams["text.parse_math"]
