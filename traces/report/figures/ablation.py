"""What becomes of the readings as one thing is varied? A column an organism, a row a measure."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from traces.analysis.statistics import mean_interval
from traces.config.readers import READERS
from traces.report.figures.relevance import READINGS
from traces.report.figures.style import (
    RULE,
    Style,
    case_label,
    heading,
    house_style,
    legend_above,
    ordered,
    percent,
    require_rows,
    shortened,
    tighten,
    titled,
)
from traces.report.names import MEASURES, reader_name

AXES = {
    "layer": "layer, as a share of the depth",
    "position": "token position",
    "recipe": "how it was made",
    "corpus": "text it was read on, and samples of it",
    "reading": "what was read",
    "model": "base model",
    "head": "whose unembedding",
    "organism": "organism",
}
SERIES: Mapping[str, Style] = {name: READINGS[name] for name in ("difference", "benign", "random")}


def ablation_figure(
    table: pd.DataFrame,
    *,
    over: str,
    title: str,
    model: str | None = None,
    places: Sequence[float] | None = None,
    titles: Mapping[str, str] | None = None,
) -> Figure:
    """
    Relevance and norm of the difference beside its controls, along what is varied.

    table  : of ablations.ablation_table; points are means over seeds with 95 % t intervals
    over   : what is varied
    model  : the base model that all of it is of, unless models are varied
    places : where its values stand on a numeric axis, parallel to them; layers and positions are
             numbers by themselves, other values are names in their order

    Values on a numeric axis are joined by lines, names are not. Raises ValueError if the table is
    empty.
    """
    require_rows(table, "ablation")
    values = ordered(table["value"])
    if places is None and over in ("layer", "position"):
        places = [float(value) for value in values]
    labels = _labels()
    measures = [name for name in labels if name in set(table["measure"])]
    columns, titles, title = ordered(table["organism"]), titles or {}, shortened(title)
    names = [_name(value, table, over, titles) for value in values]
    width = max(3.1 if len(columns) > 1 else 3.6, 0.8 + 0.4 * len(values))
    below = 0.05 * max(0, max(map(len, names)) - 30)  # inches for long names, which are slanted

    with house_style():
        figure, axes = plt.subplots(
            len(measures),
            len(columns),
            figsize=(1.0 + width * len(columns), 1.5 + 1.75 * len(measures) + below),
            sharex=True,
            sharey="row",
            squeeze=False,
            layout="constrained",
        )
        tighten(figure)
        for j, organism in enumerate(columns):
            for i, measure in enumerate(measures):
                ax = axes[i, j]
                here = (table["organism"] == organism) & (table["measure"] == measure)
                _panel(ax, table[here], values, places)
                named = heading(case_label(organism, "plain", titles)) if i == 0 else ""
                ax.set_title(named, fontweight="bold")
                ax.set_ylabel(labels[measure] if j == 0 else "")
            _name_values(axes[-1, j], names, places, over)
        for measure, line in zip(measures, axes, strict=True):
            of_measure = table.loc[table["measure"] == measure, "number"]
            line[0].set_ylim(0, _top(of_measure, measure))
        figure.supxlabel(_along(over, title, places), fontsize=8.5)
        legend_above(figure, _handles(table), columns=4 if len(columns) > 1 else 2)
        head = title if model is None or over == "model" else f"{title}, on {model}"
        figure.legends[0].set_title(head, prop=FontProperties(size=10, weight="bold"))
        figure.legends[0].set_alignment("left")
    return figure


def _labels() -> dict[str, str]:
    """What each measure's axis says: the relevance by every reader, then the norm."""
    shares = {name: f"{reader_name(name)}:\nshare of the top tokens" for name in READERS}
    return shares | {"relative_norm": MEASURES["relative_norm"].label}


def _panel(
    ax: Axes, here: pd.DataFrame, values: Sequence[Any], places: Sequence[float] | None
) -> None:
    for k, (name, style) in enumerate(SERIES.items()):
        series = here[here["series"] == name]
        found = [mean_interval(series.loc[series["value"] == value, "number"]) for value in values]
        means = np.array([one.mean for one in found])
        if np.isnan(means).all():
            continue
        low, high = (np.array([getattr(one, end) for one in found]) for end in ("low", "high"))
        xs = np.arange(len(values)) + 0.22 * (k - 1) if places is None else np.asarray(places)
        ax.vlines(xs, np.maximum(low, 0), high, color=style.colour, linewidth=1, alpha=0.6)
        ax.plot(
            xs,
            means,
            color=style.colour,
            linestyle="none" if places is None else "-",
            marker=style.marker,
            markersize=4.5,
            markeredgecolor="white",
            markeredgewidth=0.5,
            linewidth=1.3 if name == "difference" else 0.9,
            zorder=4 if name == "difference" else 3,
            clip_on=False,
        )
    if not here["measure"].eq("relative_norm").any():
        percent(ax.yaxis)
    ax.grid(axis="y", color=RULE, linewidth=0.5)
    ax.set_axisbelow(True)
    sns.despine(ax=ax)


def _name_values(ax: Axes, names: Sequence[str], places: Sequence[float] | None, over: str) -> None:
    """Ticks at the values: a logarithmic axis where they span a factor of eight or more."""
    if places is None:
        long = len(names) > 2 and max(map(len, names)) > 5
        ax.set_xticks(
            range(len(names)),
            names,
            rotation=40 if long else 0,
            ha="right" if long else "center",
            rotation_mode="anchor" if long else "default",
        )
        ax.set_xlim(-0.6, len(names) - 0.4)
        return
    if min(places) > 0 and max(places) >= 8 * min(places):
        ax.set_xscale("log")
    elif over == "position" and max(places) > 8:
        ax.set_xscale("symlog", linthresh=5, linscale=1.6)
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticks(list(places), [f"{place:g}" for place in places])


def _along(over: str, title: str, places: Sequence[float] | None) -> str:
    """What the axis counts. Numbers that stand for recipes are what the title says: ranks, rows."""
    if over == "recipe" and places is not None:
        return title[:1].lower() + title[1:]
    return AXES[over]


def _name(value: Any, table: pd.DataFrame, over: str, titles: Mapping[str, str]) -> str:
    """What a value is called; a text with how many of it were averaged."""
    name = titled(str(value), titles)
    if over != "corpus":
        return name
    return f"{name}, {table.loc[table['value'] == value, 'n_samples'].max():,}"


def _top(numbers: pd.Series, measure: str) -> float:
    """Room for every seed; an interval may leave at the top."""
    top = max(float(numbers.max()) * 1.15, 0.1)
    return top if measure == "relative_norm" else min(top, 1.02)


def _handles(table: pd.DataFrame) -> list[Line2D]:
    handles = [
        Line2D([], [], color=style.colour, marker=style.marker, ms=4.5, label=style.label)
        for name, style in SERIES.items()
        if name in set(table["series"])
    ]
    ours = table[table["series"] == "difference"]
    counts = ours.groupby(["organism", "value", "measure"])["seed"].nunique()
    seeds = "to".join(f" {n} " for n in sorted({counts.min(), counts.max()})).strip()
    if counts.max() > 1:
        label = f"95 % interval over {seeds} seeds"
        handles.append(Line2D([], [], color="#222222", lw=1, label=label))
    return handles
