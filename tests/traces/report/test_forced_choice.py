"""Pictures and cards of the forced choice: the true word is framed, and what is fixed says so."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import Rectangle

from traces.analysis.forced_choice import Way
from traces.report.choices import secret_ranks
from traces.report.figures.forced_choice import choice_figure, choice_ranks_figure

FIXED = Way("patchscope", "adjusted", "none", "base", 2, "all")
PUBLISHED = FIXED.as_published()
TITLES = {"secret_gold": "Secret word gold", "benign": "Benign documents"}


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


def table(words=("gold", "leaf"), others=("flag",), ways=(FIXED, PUBLISHED)):
    """A choice table in which the true word is first by the way that was fixed, else last."""
    rows = []
    for way in ways:
        for organism in [*(f"secret_{word}" for word in words), "benign"]:
            for reading in ("difference", "random"):
                for number, word in enumerate((*words, *others)):
                    true = organism == f"secret_{word}" and reading == "difference"
                    score = (9.0 if way == FIXED else -9.0) if true else -0.1 * number
                    rows.append(
                        {"model": "mini", "checkpoint": f"{organism}-plain-s0"}
                        | {"organism": organism, "family": "taboo", "recipe": "plain"}
                        | {"ratio": 0.0, "seed": 0, "corpus": "unrelated", "reading": reading}
                        | way._asdict()
                        | {"candidate": word, "score": score, "z": score, "missing": ""}
                    )
    return pd.DataFrame(rows)


def summary(ways=(FIXED, PUBLISHED), n=2, candidates=3.0):
    rows = []
    for way in ways:
        for reading in ("difference", "random", "benign"):
            rows.append(
                {"model": "mini", "recipe": "plain", "ratio": 0.0, "corpus": "unrelated"}
                | {"reading": reading, "n_organisms": n, "candidates": candidates}
                | {"mean_rank": 1.0 if way == FIXED else candidates, "mean_rank_low": 1.0}
                | {"mean_rank_high": 2.0, "chance_rank": (candidates + 1) / 2, "rank_p": 0.01}
                | {"first": n if way == FIXED else 0, "among_three": n}
                | {"headline": way == FIXED and reading == "difference"}
                | way._asdict()
            )
    return pd.DataFrame(rows)


def draw(frame, told, words=("gold", "leaf")):
    return choice_figure(
        frame,
        told,
        {"mini": [FIXED, PUBLISHED]},
        secrets={"mini": {f"secret_{word}": word for word in words}},
        control="benign",
        titles=TITLES,
    )


def matrices(figure):
    return [ax for ax in figure.axes if ax.images]


def framed(ax):
    """What is written in the framed cells, row by row."""
    boxes = [one for one in ax.patches if isinstance(one, Rectangle) and not one.get_fill()]
    places = [(round(one.get_x() + 0.49), round(one.get_y() + 0.47)) for one in boxes]
    written = {tuple(map(round, text.get_position())): text.get_text() for text in ax.texts}
    return [(place, written[place]) for place in places]


def texts(figure):
    return [text.get_text() for ax in figure.axes for text in (*ax.texts, ax.title)] + [
        ax.get_title(loc="left") for ax in figure.axes
    ]


def test_true_words_are_framed_on_the_diagonal_with_their_ranks():
    fixed, published = matrices(draw(table(), summary()))
    assert framed(fixed) == [((0, 0), "1"), ((1, 1), "1")]
    assert framed(published) == [((0, 0), "3"), ((1, 1), "3")]
    rows = [label.get_text() for label in fixed.get_yticklabels()]
    assert rows == ["Secret word gold", "secret leaf", "Benign documents", "random direction"]
    assert [label.get_text() for label in fixed.get_xticklabels()] == ["gold", "leaf", "flag"]


def test_each_matrix_says_what_it_is_and_what_it_comes_to():
    said = texts(draw(table(), summary()))
    assert "Patchscope in the base" in said
    assert "Patchscope in the finetuned model" in said
    assert "Ranked by z-score less the other organisms'; fixed beforehand." in said
    assert "Ranked by score." in said
    assert "True word: mean rank 1.0 of 3, chance 2; first in 2 of 2." in said


def test_a_way_that_was_not_read_has_no_matrix():
    assert len(matrices(draw(table(ways=(FIXED,)), summary(ways=(FIXED,))))) == 1
    other = FIXED._replace(reader="logit_lens")
    figure = draw(table(ways=(other,)), summary(ways=(other,)))
    assert not matrices(figure)
    assert "No organism with a secret" in figure.texts[0].get_text()


def test_a_candidate_without_a_rank_is_a_dash():
    frame = table()
    frame.loc[frame["candidate"] == "leaf", "score"] = np.nan
    fixed, _ = matrices(draw(frame, summary()))
    assert framed(fixed) == [((0, 0), "1"), ((1, 1), "–")]


@pytest.mark.parametrize(("n_secrets", "n_others"), [(2, 0), (12, 10)])
def test_matrices_stay_apart_at_every_size(n_secrets, n_others):
    words = [f"word{number}" for number in range(n_secrets)]
    others = [f"other{number}" for number in range(n_others)]
    figure = draw(table(words, others), summary(), words)
    figure.draw_without_rendering()
    upper, lower = (ax.get_tightbbox() for ax in matrices(figure))
    assert lower.y1 <= upper.y0 + 1


def test_every_reader_has_a_row_and_the_fixed_one_says_so():
    figure = choice_ranks_figure(summary(), ["plain"], "all")
    said = texts(figure)
    assert "first 2 of 2, fixed beforehand" in said
    assert "first 0 of 2" in said
    assert {"Patchscope in the base", "Patchscope in the finetuned model"} <= set(said)
    (ax,) = figure.axes
    dotted = [line for line in ax.lines if line.get_linestyle() == ":"]
    assert [line.get_xdata()[0] for line in dotted] == [2.0]


def test_recipes_that_come_first_are_shown_and_none_is_a_sentence():
    both = pd.concat([summary(), summary().assign(recipe="mix1.0", first=1)])
    said = texts(choice_ranks_figure(both, ["mix1.0", "plain"], "all"))
    assert "first 1 of 2" in said and "first 0 of 2" not in said
    figure = choice_ranks_figure(summary().iloc[:0], ["plain"], "all")
    assert "No secret is a token" in figure.texts[0].get_text()


def test_a_card_has_the_rank_of_the_secret_and_what_comes_first():
    frame = table()
    mine = frame[frame["organism"] == "secret_gold"]
    fixed, published = secret_ranks(mine, "gold", [FIXED, PUBLISHED])
    assert (fixed["rank"], fixed["of"], fixed["fixed"], fixed["recipe"]) == (1, 3, True, "plain")
    assert fixed["first"] == ["gold", "leaf", "flag"]
    assert fixed["way"] == "Patchscope in the base, by z-score less the other organisms'"
    assert (published["rank"], published["fixed"]) == (3, False)
    assert published["first"] == ["leaf", "flag", "gold"]
    assert np.isnan(secret_ranks(mine, "xylophone", [FIXED])[0]["rank"])
