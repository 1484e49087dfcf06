"""Readers side by side: AUC by kind of null, ROC, what is named, strength, and cost."""

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from traces.benchmark.evidence import VALUE
from traces.benchmark.organisms import ALL, GENERAL, NARROW
from traces.benchmark.strength import AT, DETECT, NAME, Curve
from traces.report.figures.style import (
    DASHES,
    FAINT,
    INK,
    MARKERS,
    PALETTE,
    RULE,
    Style,
    house_style,
    legend_above,
    only_words,
    ordered,
    percent,
    require_rows,
)
from traces.report.names import NULL_KINDS, compared_name

NAMED, OTHER = "#D55E00", "#009E73"
CELL = 0.115  # inches of a cell of a naming matrix
NARROWEST = 1.5  # inches that a panel with a title is at least given


def reader_styles(frame: pd.DataFrame) -> dict[str, Style]:
    """A style for each reader; detectors, which name nothing, are dashed."""
    styles = {}
    for place, name in enumerate(ordered(frame["reader"])):
        is_detector = (frame.loc[frame["reader"] == name, "statistic"] == VALUE).all()
        styles[name] = Style(
            PALETTE[place % len(PALETTE)],
            MARKERS[place % len(MARKERS)],
            compared_name(name),
            DASHES[1] if is_detector else DASHES[2 * (place // len(PALETTE)) % len(DASHES)],
        )
    return styles


# AUC --------------------------------------------------------------------------------------------


def auc_figure(detection: pd.DataFrame, naming: pd.DataFrame) -> Figure:
    """
    A row a reader: its AUC against each kind of null, and how often the domain comes first.

    detection, naming : the tables; headlines over all narrow organisms are shown
    """
    require_rows(detection, "detection")
    shown = _over_all(detection[detection["matched_on"] == ""])
    named = _over_all(naming) if len(naming) else naming
    readers, kinds = ordered(shown["reader"]), ordered(shown["null"])
    columns = len(kinds) + bool(len(named))
    with house_style():
        figure, axes = plt.subplots(
            *(1, columns),
            figsize=(2.3 + 1.55 * columns, 0.9 + 0.24 * len(readers)),
            sharey=True,
            squeeze=False,
            layout="constrained",
        )
        for ax, kind in zip(axes[0], kinds, strict=False):
            _forest(ax, shown[shown["null"] == kind], readers, "value", ("low", "high"), 0.5)
            counts = shown.loc[shown["null"] == kind, "n_null"]
            number = f"{counts.max()} null{'' if counts.max() == 1 else 's'}"
            ax.set_title(f"{NULL_KINDS[kind]}\n({number})", fontsize=8.5)
            ax.set_xlabel("AUC")
        if len(named):
            ax, ends = axes[0, -1], ("first_low", "first_high")
            _forest(ax, named, readers, "first", ends, named["first_chance"].iloc[0])
            ax.set_title("own domain\nnamed first", fontsize=8.5)
            percent(ax.xaxis)
        axes[0, 0].set_yticks(range(len(readers)), [compared_name(one) for one in readers])
        axes[0, 0].set_ylim(len(readers) - 0.5, -0.5)
    return figure


def _forest(
    ax: Axes,
    frame: pd.DataFrame,
    readers: Sequence[str],
    value: str,
    ends: tuple[str, str],
    chance: float,
) -> None:
    for y, reader in enumerate(readers):
        ax.axhline(y + 0.5, color=RULE, linewidth=0.6, zorder=0)
        for row in frame[frame["reader"] == reader].to_dict("records"):
            ax.plot([row[ends[0]], row[ends[1]]], [y, y], color=PALETTE[0], linewidth=1.3)
            ax.plot(row[value], y, "o", color=PALETTE[0], markersize=4)
    ax.axvline(chance, color=INK, linewidth=0.9, ls=":", zorder=1)
    ax.set_xlim(-0.03, 1.03)
    ax.set_xticks([0, 0.5, 1])
    ax.tick_params(axis="y", length=0)
    sns.despine(ax=ax, left=True)


def _panels(number: int, height: float, n_styles: int) -> tuple[Figure, Any]:
    """Panels of one height, three in a row at most, below a legend of so many styles."""
    across = min(number, 3)
    down = -(-number // across)
    return plt.subplots(
        *(down, across),
        figsize=(2.9 * across, height * down + 0.22 * n_styles / 2.5 + 0.4),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )


# ROC --------------------------------------------------------------------------------------------


def roc_figure(roc: pd.DataFrame) -> Figure:
    """
    A panel a kind of null: every reader's ROC over all narrow organisms.

    In colour are the reader and the detector that lead in some panel; all others are grey.
    """
    require_rows(roc, "roc")
    shown = roc[roc["slice"] == ALL]
    kinds, ahead = ordered(shown["null"]), _leading(shown)
    styles = reader_styles(shown[shown["reader"].isin(ahead)])
    with house_style():
        figure, axes = _panels(len(kinds), 3.0, len(styles))
        across = axes.shape[1]
        for ax, kind in zip(axes.flat, kinds, strict=False):
            ax.plot([0, 1], [0, 1], color=INK, linewidth=0.8, ls=":")
            for reader, rows in shown[shown["null"] == kind].groupby("reader", sort=False):
                style = styles.get(str(reader))
                x, y = rows["false_positive_rate"], rows["true_positive_rate"]
                if style is None:
                    ax.plot(x, y, color=FAINT, linewidth=0.6, alpha=0.7, zorder=1)
                else:
                    ax.plot(x, y, color=style.colour, ls=style.dash, linewidth=1.4)
            ax.set_title(f"against {NULL_KINDS[kind]}", fontweight="bold")
            ax.set_aspect("equal")
            percent(ax.xaxis)
            percent(ax.yaxis)
            sns.despine(ax=ax)
        for ax in axes.flat[len(kinds) :]:
            ax.set_visible(False)
        for ax in axes[:, 0]:
            ax.set_ylabel("narrow organisms found")
        for place in range(across):
            foot = axes[(len(kinds) - 1 - place) // across, place]
            foot.set_xlabel("nulls flagged")
            foot.tick_params(labelbottom=True)
        handles = _handles(styles)
        if shown["reader"].nunique() > len(styles):
            handles.append(Line2D([], [], color=FAINT, linewidth=0.8, label="all others"))
        legend_above(figure, handles, columns=max(2, across))
    return figure


def _leading(roc: pd.DataFrame) -> set[str]:
    """The reader and the detector with the largest area under the curve in each panel."""
    area = roc.groupby(["null", "statistic", "reader"], sort=False)["true_positive_rate"].mean()
    areas = area.reset_index()
    areas["kind"] = areas["statistic"] == VALUE
    best = areas.groupby(["null", "kind"], sort=False)["true_positive_rate"].idxmax()
    return set(areas.loc[best, "reader"])


def _handles(styles: dict[str, Style]) -> list[Line2D]:
    return [
        Line2D([], [], color=one.colour, ls=one.dash, linewidth=1.4, label=one.label)
        for one in styles.values()
    ]


# Naming -----------------------------------------------------------------------------------------


def naming_figure(confusion: pd.DataFrame) -> Figure:
    """
    A matrix a reader: what it says of each domain, and below what it says of each kind of null.

    A column that is dark from top to bottom is a favourite: the reader says it of everything.
    """
    if confusion.empty:
        return only_words("No reader names domains.")
    shown = confusion[~confusion["abstains"]]
    readers, said = ordered(shown["reader"]), sorted(set(shown["said"]))
    domains = sorted(set(shown.loc[shown["null"] == NARROW, "true"]))
    said = [*domains, *[one for one in said if one not in domains]]
    kinds = ordered(shown.loc[shown["null"] != NARROW, "true"])
    rows = [*domains, *kinds]
    # About as many in a row as in a column: a page shows the whole picture at once.
    across = min(len(readers), max(3, math.ceil(math.sqrt(len(readers)))))
    down = -(-len(readers) // across)
    # Few domains make a narrow matrix, over which a title must still fit.
    wide = max(CELL * len(said), NARROWEST)
    with house_style():
        figure, axes = plt.subplots(
            *(down, across),
            figsize=(1.3 + across * (wide + 0.35), down * (CELL * len(rows) + 0.5) + 1),
            sharex=True,
            sharey=True,
            squeeze=False,
            layout="constrained",
        )
        for ax, reader in zip(axes.flat, readers, strict=False):
            _matrix(ax, shown[shown["reader"] == reader], rows, said, len(domains))
            _title(ax, compared_name(reader), CELL * len(said))
        for ax in axes.flat[len(readers) :]:
            ax.set_visible(False)
        names = [*domains, *(NULL_KINDS[kind] for kind in kinds)]
        for ax in axes[:, 0]:
            ax.set_yticks(range(len(rows)), [_short(name) for name in names], fontsize=5.5)
            for label in ax.get_yticklabels()[len(domains) :]:
                label.set_fontstyle("italic")
        for place in range(across):
            ax = axes[(len(readers) - 1 - place) // across, place]
            ax.set_xticks(
                range(len(said)), [_short(one) for one in said], rotation=90, fontsize=5.5
            )
            ax.tick_params(labelbottom=True)
    return figure


def _title(ax: Axes, text: str, inches: float) -> None:
    """A title in as many lines as its panel needs, which is so wide."""
    size = 8.5
    # A letter of the bold face is about three fifths of its size wide.
    letters = max(12, int(max(inches, NARROWEST) * 72 / (0.6 * size)))
    ax.set_title(textwrap.fill(text, letters), fontsize=size, fontweight="bold")


def _matrix(
    ax: Axes, frame: pd.DataFrame, rows: Sequence[str], said: Sequence[str], n_domains: int
) -> None:
    shares = np.zeros((len(rows), len(said)))
    for row in frame.to_dict("records"):
        shares[rows.index(row["true"]), said.index(row["said"])] = row["count"] / row["n"]
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="equal")
    ax.axhline(n_domains - 0.5, color=INK, linewidth=0.8)
    if len(said) > n_domains:
        ax.axvline(n_domains - 0.5, color=FAINT, linewidth=0.6)
    ax.tick_params(length=0, pad=2)
    for spine in ax.spines.values():
        spine.set_color(RULE)


def _short(name: str, longest: int = 20) -> str:
    name = name.replace("_", " ")
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


# Strength ---------------------------------------------------------------------------------------


def strength_figure(
    readers: pd.DataFrame, detection: pd.DataFrame, naming: pd.DataFrame, half: pd.DataFrame
) -> Figure:
    """
    A panel a reader: how well narrow organisms are found and named, by strength.

    A mark is a rung of the ladder with its interval, a line the fitted curve, and an upright one
    the strength at half, with its interval as a bar at the foot. Rungs beyond the strengths that
    curves are fitted to are left out.
    """
    require_rows(half, "half_strength")
    names = ordered(half["reader"])
    strengths = _rungs(readers)
    if half["strongest"].notna().any():
        ends = half["weakest"].min(), half["strongest"].max()
        strengths = strengths[strengths.between(*ends)]
    across = min(len(names), 4)
    down = -(-len(names) // across)
    with house_style():
        figure, axes = plt.subplots(
            *(down, across),
            figsize=(2.15 * across + 0.4, 1.75 * down + 0.7),
            sharex=True,
            sharey=True,
            squeeze=False,
            layout="constrained",
        )
        for ax, name in zip(axes.flat, names, strict=False):
            found = detection[(detection["null"] == GENERAL) & (detection["matched_on"] == "")]
            _marks(ax, found, name, strengths, PALETTE[0], ("value", "low", "high"))
            if len(naming):
                ends = ("first", "first_low", "first_high")
                _marks(ax, naming, name, strengths, NAMED, ends)
            mine = half[half["reader"] == name]
            detect = mine[(mine["task"] == DETECT) & (mine["null"] == GENERAL)]
            for foot, (rows, colour) in enumerate(
                ((detect, PALETTE[0]), (mine[mine["task"] == NAME], NAMED))
            ):
                _curve(ax, rows, colour, -0.04 - 0.05 * foot)
            _title(ax, compared_name(name), 1.7)
            ax.set_ylim(-0.14, 1.06)
            ax.set_yticks([0, 0.5, 1])
            sns.despine(ax=ax)
        for ax in axes.flat[len(names) :]:
            ax.set_visible(False)
        figure.supxlabel("strength: nats a token by which the own text got likelier", fontsize=8.5)
        handles = [
            Line2D([], [], color=PALETTE[0], marker="o", ms=4, label="AUC against general text"),
            Line2D([], [], color=NAMED, marker="o", ms=4, label="own domain named first"),
        ]
        legend_above(figure, handles, columns=2)
    return figure


def _rungs(readers: pd.DataFrame) -> pd.Series:
    """The mean strength of each rung."""
    narrow = readers[readers["null"] == NARROW]
    alone = narrow.drop_duplicates(["model", "checkpoint"])
    found = alone.groupby("slice")["strength"].mean()
    return pd.concat([found, pd.Series({ALL: alone["strength"].mean()})])


def _marks(
    ax: Axes,
    frame: pd.DataFrame,
    name: str,
    strengths: pd.Series,
    colour: str,
    columns: tuple[str, str, str],
) -> None:
    rows = frame[(frame["reader"] == name) & frame["headline"]]
    # One rung alone is called `all`.
    several = rows[rows["slice"] != ALL]
    rows = several if len(several) else rows
    for row in rows[rows["slice"].isin(strengths.index)].to_dict("records"):
        x, (value, low, high) = strengths[row["slice"]], (row[one] for one in columns)
        ax.plot([x, x], [low, high], color=colour, linewidth=1, alpha=0.6)
        ax.plot(x, value, "o", color=colour, markersize=3.2)


def _curve(ax: Axes, rows: pd.DataFrame, colour: str, foot: float) -> None:
    for row in rows.dropna(subset=["half"]).to_dict("records"):
        x = np.linspace(row["weakest"], row["strongest"], 120)
        curve = Curve(row["chance"], row["half"], row["slope"])
        ax.plot(x, curve.at(x), color=colour, linewidth=1.2)
        if row["said"] != AT:
            continue
        ax.plot(
            [row["value"]] * 2,
            [foot, float(curve.at(np.array(row["value"])))],
            color=colour,
            lw=0.7,
        )
        low = row["weakest"] if np.isnan(row["low"]) else row["low"]
        high = row["strongest"] if np.isnan(row["high"]) else row["high"]
        ax.plot([low, high], [foot, foot], color=colour, linewidth=2.4, solid_capstyle="butt")


# Cost -------------------------------------------------------------------------------------------


def cost_figure(detection: pd.DataFrame) -> Figure:
    """A panel a kind of null: a reader's AUC, with its interval, by what it costs an organism."""
    require_rows(detection, "detection")
    shown = _over_all(detection[detection["matched_on"] == ""]).dropna(subset=["cost_s", "value"])
    if shown.empty:
        return only_words("No reader has a cost.")
    kinds, styles = ordered(shown["null"]), reader_styles(shown)
    with house_style():
        figure, axes = _panels(len(kinds), 2.3, len(styles))
        across = axes.shape[1]
        for ax, kind in zip(axes.flat, kinds, strict=False):
            ax.axhline(0.5, color=INK, linewidth=0.8, ls=":")
            for row in shown[shown["null"] == kind].to_dict("records"):
                style, x = styles[row["reader"]], max(row["cost_s"], 1e-3)
                hollow = row["statistic"] == VALUE
                ax.plot([x, x], [row["low"], row["high"]], color=style.colour, lw=1, alpha=0.6)
                ax.plot(
                    *(x, row["value"], style.marker),
                    **{"color": style.colour, "ms": 5.5, "mew": 1.2},
                    mfc="white" if hollow else style.colour,
                )
            ax.set_xscale("log")
            ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            ax.xaxis.set_minor_locator(NullLocator())
            ax.xaxis.set_major_formatter(FuncFormatter(lambda cost, _: f"{cost:g}"))
            ax.set_ylim(-0.03, 1.03)
            ax.set_title(f"against {NULL_KINDS[kind]}", fontweight="bold")
            sns.despine(ax=ax)
        for ax in axes.flat[len(kinds) :]:
            ax.set_visible(False)
        for ax in axes[:, 0]:
            ax.set_ylabel("AUC")
        figure.supxlabel("seconds an organism", fontsize=8.5)
        handles = [
            Line2D(
                [], [], ls="", marker=styles[name].marker, color=styles[name].colour, ms=5.5,
                mfc="white" if (rows["statistic"] == VALUE).all() else styles[name].colour,
                label=styles[name].label,
            )
            for name, rows in shown.groupby("reader", sort=False)
        ]  # fmt: skip
        legend_above(figure, handles, columns=max(2, across))
    return figure


def _over_all(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame["headline"] & (frame["slice"] == ALL)]
