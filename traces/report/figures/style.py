"""
Define how every figure looks: one palette, one set of fonts, intervals and legends.

Colours are those of Okabe and Ito, which colour-blind readers can tell apart. Where a figure has
more series than colours, markers and dashes tell them apart. Only `save` writes a file.
"""

import functools
import logging
import textwrap
import unicodedata
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
from matplotlib.font_manager import fontManager, get_font
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from traces.printable import one_line

log = logging.getLogger(__name__)

INK, FAINT, RULE = "#222222", "#767676", "#d9d9d9"
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6BB1", "#5A5A5A")
MARKERS = ("o", "s", "^", "D", "v", "h", "<", ">", "p", "d", "P", "X", "*", "H")
DASHES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (6, 3)))
# Fonts of other scripts, by the names that systems give them; the first that is here is taken.
FALLBACKS = (
    *(f"Noto Sans CJK {region}" for region in ("SC", "TC", "JP", "KR")),
    *("Source Han Sans SC", "WenQuanYi Zen Hei", "Droid Sans Fallback"),
    *("PingFang SC", "Hiragino Sans", "Apple SD Gothic Neo", "Microsoft YaHei"),
)
# Characters of a title in a picture, and of a line where a title heads a panel.
LONGEST, LINE = 48, 34


@dataclass(frozen=True)
class Style:
    """Hold how one series is drawn."""

    colour: str
    marker: str
    label: str
    dash: str | tuple = "-"


@contextmanager
def house_style() -> Iterator[None]:
    """Set fonts, spines and sizes of every figure; restore matplotlib's own on leaving."""
    with plt.rc_context(), sns.axes_style("ticks"), sns.plotting_context("paper"):
        plt.rcParams.update(
            {
                "font.family": "sans-serif",
                "font.sans-serif": list(_fonts()),
                # A title may hold dollar signs and backslashes, and no text of ours is mathematics.
                "text.parse_math": False,
                "text.usetex": False,
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
                # TrueType: journals refuse the default Type 3, and editors cannot search it.
                "pdf.fonttype": 42,
                "figure.dpi": 150,
            }
        )
        yield


def save(figure: Figure, png: Path, pdf: Path) -> None:
    """Write a figure as PNG (150 dpi) and PDF."""
    # Without dates and versions, so that the same table gives the same bytes.
    for path, metadata in ((png, {"Software": None}), (pdf, {"CreationDate": None})):
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150, bbox_inches="tight", pad_inches=0.08, metadata=metadata)
    # pyplot keeps every figure until it is closed.
    plt.close(figure)


def series_styles(
    frame: pd.DataFrame, titles: Mapping[str, str] | None = None
) -> dict[tuple, Style]:
    """
    Choose a style for each (organism, recipe).

    Few organisms have a colour each; many have a colour a family and a marker each. Recipes of an
    organism share its colour and differ in dash.
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
    """Name each series where there are few; else organisms by marker and recipes by dash."""
    # Organisms times recipes would fill half a page; organisms plus recipes do not.
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
    """Show shares as percentages, with ticks at round numbers."""
    # matplotlib's own percent formatter rounds to whole numbers: a tick at 2.5 % was called 2 %.
    axis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda share, _: f"{round(100 * share, 6) + 0:g}%"))


def tighten(figure: Figure) -> None:
    """Reduce the space between panels."""
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.set(h_pad=0.03, w_pad=0.05, hspace=0.02)  # type: ignore[call-arg]


def case_label(organism: str, recipe: str, titles: Mapping[str, str]) -> str:
    """Name an organism, with its recipe unless that is `plain`."""
    name = titled(organism, titles)
    return name if recipe == "plain" else f"{name} ({recipe})"


def titled(organism: str, titles: Mapping[str, str]) -> str:
    """Name an organism by its title, or by its identifier where the title cannot be drawn."""
    if organism not in titles:
        return plain(organism)
    title = one_line(titles[organism])
    lacking = undrawable(title)
    if lacking:
        log.warning(
            "%s: its title holds %s, which no font here can draw; pictures show its name",
            organism,
            ", ".join(f"U+{ord(one):04X}" for one in lacking),
        )
        return plain(organism)
    return shortened(title)


def shortened(title: str) -> str:
    """A title that fits a picture: a longer one keeps its beginning and its end."""
    title = one_line(title)
    if len(title) <= LONGEST:
        return title
    return f"{title[: LONGEST - 20].rstrip()}…{title[-19:].lstrip()}"


def heading(name: str) -> str:
    """A name as the heading of a panel, in lines that leave the next panel free."""
    return textwrap.fill(name, LINE)


def undrawable(text: str) -> list[str]:
    """The characters that no font has, and letters of scripts that run from right to left."""
    # matplotlib sets characters from left to right as they come, and joins none.
    leftward = {one for one in text if unicodedata.bidirectional(one) in ("R", "AL")}
    return sorted({one for one in text if ord(one) not in _characters()} | leftward)


@functools.cache
def _fonts() -> tuple[str, ...]:
    """DejaVu, which comes with matplotlib, and what is installed here for what it lacks."""
    # DejaVu comes first, so that figures look the same on every machine where it suffices.
    installed = {font.name for font in fontManager.ttflist}
    return ("DejaVu Sans", *(name for name in FALLBACKS if name in installed))


@functools.cache
def _characters() -> frozenset[int]:
    """The code points that some of the fonts can draw."""
    files = [fontManager.findfont(name) for name in _fonts()]
    return frozenset(code for file in files for code in get_font(file).get_charmap())


def plain(name: str) -> str:
    return name.replace("_", " ")


def ordered(values: pd.Series) -> list[str]:
    """List distinct values in the order of the study, which is that of the tables' rows."""
    return list(dict.fromkeys(values))


def only_words(sentence: str) -> Figure:
    """Draw a sentence where there is nothing else to draw."""
    with house_style():
        figure = plt.figure(figsize=(5, 0.8))
        figure.text(0.5, 0.5, sentence, ha="center", va="center", fontsize=9, color=FAINT)
    return figure


def require_rows(frame: pd.DataFrame, name: str) -> None:
    """Raise ValueError, naming the table, if it has no row."""
    if frame.empty:
        raise ValueError(f"the {name} table is empty; there is nothing to draw")


def thinned(positions: Sequence[int], most: int = 9) -> list[int]:
    """Keep at most `most` positions, equally spaced, as labels of an axis."""
    step = -(-len(positions) // most)
    return list(positions)[::step]
