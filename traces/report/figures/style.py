"""
How every picture of the house looks: one palette, one set of fonts, intervals and legends.

Colours are those of Okabe and Ito, which stay apart for colour-blind readers; where a picture needs
more hands than colours, markers and dashes take over. Nothing here writes a file but `save`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

INK, FAINT, RULE = "#222222", "#767676", "#d9d9d9"
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6BB1", "#5A5A5A")
MARKERS = ("o", "s", "^", "D", "v", "h", "<", ">", "p", "d", "P", "X", "*", "H")
DASHES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (6, 3)))


@dataclass(frozen=True)
class Style:
    """How one series is drawn."""

    colour: str
    marker: str
    label: str
    dash: str | tuple = "-"


@contextmanager
def house_style() -> Iterator[None]:
    """Fonts, spines and sizes of every picture; restores matplotlib's own on leaving."""
    with plt.rc_context(), sns.axes_style("ticks"), sns.plotting_context("paper"):
        plt.rcParams.update(
            {
                "font.family": "sans-serif",
                "font.sans-serif": ["DejaVu Sans"],
                "text.color": INK,
                "axes.labelcolor": INK,
                "axes.edgecolor": "#8c8c8c",
                "axes.linewidth": 0.7,
                "axes.titlesize": 9.5,
                "axes.titlelocation": "left",
                "axes.labelsize": 8.5,
                "xtick.color": "#555555",
                "ytick.color": "#555555",
                "xtick.labelsize": 8,
                "ytick.labelsize": 8,
                "legend.fontsize": 8,
                "legend.frameon": False,
                "pdf.fonttype": 42,
                "figure.dpi": 150,
            }
        )
        yield


def save(figure: Figure, png: Path, pdf: Path) -> None:
    """Write a figure as PNG (150 dpi) and PDF, without dates: one table, one pair of files."""
    for path, metadata in ((png, {"Software": None}), (pdf, {"CreationDate": None})):
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150, bbox_inches="tight", pad_inches=0.08, metadata=metadata)
    plt.close(figure)


def series_styles(
    frame: pd.DataFrame, titles: Mapping[str, str] | None = None
) -> dict[tuple, Style]:
    """
    One style an (organism, recipe). Few organisms: a colour each; many: a colour a family and a
    marker each. Recipes of an organism share its colour and differ in dash.
    """
    pairs = frame[["organism", "family", "recipe"]].drop_duplicates()
    recipes, families = ordered(pairs["recipe"]), ordered(pairs["family"])
    organisms = pairs.drop_duplicates("organism")
    looks: dict[str, tuple[str, str]] = {}
    used: Counter[str] = Counter()
    for i, (organism, family) in enumerate(
        zip(organisms["organism"], organisms["family"], strict=True)
    ):
        if len(organisms) <= len(PALETTE):
            looks[organism] = (PALETTE[i], MARKERS[i])
            continue
        colour = PALETTE[families.index(family) % len(PALETTE)]
        looks[organism] = (colour, MARKERS[used[colour] % len(MARKERS)])
        used[colour] += 1
    return {
        (organism, recipe): Style(
            *looks[organism],
            case_label(organism, recipe, titles or {}),
            DASHES[recipes.index(recipe) % len(DASHES)],
        )
        for organism, recipe in zip(pairs["organism"], pairs["recipe"], strict=True)
    }


def series_legend(figure: Figure, styles: Mapping[tuple, Style], titles: Mapping[str, str]) -> None:
    """Each series where there are few; else organisms by colour and marker, recipes by dash."""
    series = list(styles.values())
    if len(series) > len(PALETTE):
        first: dict[str, Style] = {}
        for (organism, _), style in styles.items():
            first.setdefault(organism, style)
        recipes = {recipe: style.dash for (_, recipe), style in styles.items()}
        series = [
            Style(one.colour, one.marker, case_label(organism, "plain", titles))
            for organism, one in first.items()
        ]
        if len(recipes) > 1:
            series += [Style(FAINT, "", recipe, dash) for recipe, dash in recipes.items()]
    handles = [
        Line2D([], [], color=one.colour, ls=one.dash, marker=one.marker, ms=4.5, label=one.label)
        for one in series
    ]
    legend_above(figure, handles, columns=max(2, int(figure.get_figwidth() / 1.55)))


def legend_above(figure: Figure, handles: list, columns: int) -> None:
    figure.legend(
        handles=handles,
        loc="outside upper left",
        ncols=min(columns, len(handles)),
        handlelength=1.8,
        columnspacing=1.4,
        borderaxespad=0.2,
    )


def percent(axis: Axis) -> None:
    """Shares as percentages, each tick written as it is: no 2.5 % that is called 2 %."""
    axis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda share, _: f"{round(100 * share, 6) + 0:g}%"))


def tighten(figure: Figure) -> None:
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.set(h_pad=0.03, w_pad=0.05, hspace=0.02)  # type: ignore[call-arg]


def case_label(organism: str, recipe: str, titles: Mapping[str, str]) -> str:
    name = titles.get(organism, plain(organism))
    return name if recipe == "plain" else f"{name} ({recipe})"


def plain(name: str) -> str:
    return name.replace("_", " ")


def ordered(values: pd.Series) -> list[str]:
    return list(dict.fromkeys(values))


def only_words(sentence: str) -> Figure:
    with house_style():
        figure = plt.figure(figsize=(5, 0.8))
        figure.text(0.5, 0.5, sentence, ha="center", va="center", fontsize=9, color=FAINT)
    return figure


def require_rows(frame: pd.DataFrame, name: str) -> None:
    if frame.empty:
        raise ValueError(f"the {name} table is empty; there is nothing to draw")


def thinned(positions: Sequence[int], most: int = 9) -> list[int]:
    step = -(-len(positions) // most)
    return list(positions)[::step]
