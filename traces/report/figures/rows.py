"""
Draw figures with a row an organism: a bar for its difference, seeds on it, controls below.

Models are blocks of rows, one below the other; a figure chooses its columns.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from traces.analysis.verdicts import NOT_SHOWN, UNDECIDED
from traces.report.figures.style import FAINT, INK, RULE, Style, tighten

DIFFERENCE, SEED = "#0072B2", "#00324f"
# Opacity of a bar, by its verdict: colour alone would be lost in print.
CLEAR, UNCLEAR = 0.55, 0.25


def blocks(
    rows: Mapping[Any, Sequence[Any]],
    columns: int,
    *,
    margins: tuple[float, float],
    column_width: float,
    row_height: float = 0.5,
    sharex: bool | Literal["col"] = True,
) -> tuple[Figure, Any]:
    """
    Make a figure and its axes, [block, column], every block as high as its number of rows.

    rows    : the rows of every block, which is a model mostly
    margins : inches left of the columns for names, and above the rows for title and legend
    """
    # A row is equally high in every block, so that a model with one organism has no giant bar.
    heights = [row_height * len(of_model) for of_model in rows.values()]
    left, top = margins
    figure, axes = plt.subplots(
        len(rows),
        columns,
        figsize=(left + column_width * columns, top + sum(heights) + 0.45 * len(rows)),
        height_ratios=heights,
        sharex=sharex,
        squeeze=False,
        layout="constrained",
    )
    tighten(figure)
    return figure, axes


def frame(ax: Axes, rows: int) -> None:
    """Draw rules between rows and a line at zero; put the first row on top."""
    for y in range(1, rows):
        ax.axhline(y - 0.5, color=RULE, linewidth=0.6, zorder=0)
    ax.axvline(0, color="#8c8c8c", linewidth=0.7, zorder=1)
    ax.set_ylim(rows - 0.5, -0.5)
    ax.set_yticks([])
    sns.despine(ax=ax, left=True)


def name_rows(ax: Axes, names: Sequence[str], below: Sequence[str] = ()) -> None:
    """Write each row's name left of it, and a second, fainter line below."""
    # Annotations, not tick labels: ticks allow one size and colour for both lines.
    for y, name in enumerate(names):
        _beside(ax, y, name, "bottom" if below else "center", 1 if below else 0)
        if below:
            _beside(ax, y, below[y], "baseline", -9, fontsize=7, color=FAINT)


def name_model(ax: Axes, model: str) -> None:
    """Write a block's model above its rows' names."""
    _beside(ax, 1, model, "bottom", 4, coordinates="axes fraction", fontsize=9.5, weight="bold")


def _beside(
    ax: Axes, y: float, text: str, va: str, up: float, coordinates: str = "data", **looks: Any
) -> None:
    ax.annotate(
        text,
        (0, y),
        xycoords=("axes fraction", coordinates),
        xytext=(-6, up),
        textcoords="offset points",
        ha="right",
        va=va,
        **{"fontsize": 8.5, **looks},
    )


# What stands in a row ---------------------------------------------------------------------------


def bar(ax: Axes, y: float, value: float, clear: bool = True) -> None:
    """Draw the difference's mean as a bar, full where its verdict is clear."""
    ax.barh(y, value, 0.3, color=DIFFERENCE, alpha=CLEAR if clear else UNCLEAR)


def dots(
    ax: Axes,
    y: float,
    values: Any,
    *,
    half: float = 0.07,
    colour: str = SEED,
    size: float = 10,
    alpha: float = 1.0,
) -> None:
    """Draw single values, spread over a lane from `y - half` to `y + half`."""
    # Spread evenly, not at random: the same table draws the same figure.
    spread = np.linspace(-half, half, len(values)) if len(values) > 1 else np.zeros(len(values))
    ax.scatter(
        np.asarray(values),
        y + spread,
        s=size,
        color=colour,
        alpha=alpha,
        edgecolor="white" if alpha == 1 else "none",
        linewidth=0.5,
        zorder=4,
        clip_on=False,
    )


def interval(
    ax: Axes,
    y: float,
    low: float,
    high: float,
    colour: str = INK,
    within: tuple[float, float] = (-np.inf, np.inf),
) -> None:
    """Draw an interval, none where it is NaN, cut to the range of its values."""
    # A t interval of a share may reach below 0 or above 1, where no value can be.
    if not np.isnan(low):
        ends = [max(low, within[0]), min(high, within[1])]
        ax.plot(ends, [y, y], color=colour, linewidth=1.2 if colour == INK else 0.9, zorder=3)


def mark(ax: Axes, y: float, value: float, style: Style, hollow: bool = False) -> None:
    """Mark a control's mean in its lane."""
    ax.plot(value, y, ls="", clip_on=False, zorder=5, **_marker(style, hollow))


def verdict(ax: Axes, y: float, said: str, clear: bool, more: str = "") -> None:
    """What a table says of a row, at its right; bold where clear, slanted where it says nothing."""
    ax.annotate(
        f"{said}{more if clear else ''}",
        (1.0, y),
        xycoords=("axes fraction", "data"),
        xytext=(-1, 0),
        textcoords="offset points",
        ha="right",
        va="center",
        fontsize=7.5,
        color=DIFFERENCE if clear else FAINT,
        fontweight="bold" if clear else "normal",
        style="italic" if said in (NOT_SHOWN, UNDECIDED) else "normal",
    )


def _marker(style: Style, hollow: bool) -> dict[str, Any]:
    return {
        "marker": style.marker,
        "markersize": 4.4,
        "color": style.colour,
        "markerfacecolor": "white" if hollow else style.colour,
        "markeredgecolor": style.colour if hollow else "white",
        "markeredgewidth": 1.0 if hollow else 0.4,
    }


# Legend entries ---------------------------------------------------------------------------------


def bar_handle(label: str) -> Patch:
    return Patch(color=DIFFERENCE, alpha=CLEAR, label=label)


def dot_handle(label: str, colour: str = SEED) -> Line2D:
    return Line2D([], [], ls="", marker="o", ms=3.5, color=colour, label=label)


def interval_handle() -> Line2D:
    return Line2D([], [], color=INK, lw=1.2, label="95 % interval over seeds")


def mark_handle(style: Style, hollow: bool = False) -> Line2D:
    return Line2D([], [], ls="", label=style.label, **_marker(style, hollow))


def words_handle(words: str) -> Patch:
    return Patch(color="none", label=words)


def counted(values: Any) -> str:
    """Format one number, or the range from the fewest to the most."""
    few, many = min(values), max(values)
    return f"{many:,}" if few == many else f"{few:,} to {many:,}"
