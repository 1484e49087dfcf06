"""What does mixed-in text do? A panel a measure: mixtures beside runs as long without mixing."""

import textwrap
from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from traces.analysis.statistics import mean_interval
from traces.config.readers import RELEVANCE, each_reader
from traces.report.figures.style import (
    FAINT,
    RULE,
    Style,
    case_label,
    house_style,
    legend_above,
    ordered,
    require_rows,
    tighten,
)
from traces.report.names import measures

ARMS = {
    "mixed": Style("#0072B2", "o", "mixed in"),
    "matched": Style("#D55E00", "s", "unmixed, as many steps", "--"),
}
ABREAST = 5
"Panels side by side at most, of one organism."
SHARES = ("static_share", RELEVANCE, "false_fact_alignment")


def mixing_figure(
    mixing: pd.DataFrame, titles: Mapping[str, str] | None = None, mixed_in: str = "tokens"
) -> Figure:
    """
    Every measure against the mixing ratio, mixtures beside step-matched unmixed runs.

    One organism and model: panels in a block. Several: a column each, a row a measure.

    mixing   : the mixing table, of one corpus; what no mixture was asked has no panel. Bars
               are 95 % t intervals over seeds; the grey line is the control's mean
    titles   : names of organisms to show instead of their identifiers
    mixed_in : what the ratio counts

    Raises ValueError if the table is empty.
    """
    require_rows(mixing, "mixing")
    shown = _measured(mixing[mixing["ratio"] > 0]) or _measured(mixing)
    cases = _cases(mixing)
    single = len(cases) == 1
    height = -(-len(shown) // ABREAST) if single else len(shown)
    # Lines of much the same length.
    width = -(-len(shown) // height) if single else len(cases)

    with house_style():
        figure, axes = plt.subplots(
            height,
            width,
            figsize=(0.6 + 2.35 * width, 1.1 + 1.75 * height),
            sharex=True,
            squeeze=False,
            layout="constrained",
        )
        tighten(figure)
        for i, measure in enumerate(shown):
            row = axes.flat[i : i + 1] if single else axes[i]
            for ax, case in zip(row, cases, strict=True):
                _panel(ax, mixing[_is_case(mixing, case)], measure)
            _share_height([ax for ax in row], measure)
            row[0].set_ylabel(measures()[measure].label)
        ticks = sorted(set(mixing["ratio"]))  # of all panels, which share the axis
        axes[0, 0].set_xticks(ticks, _apart(ticks))
        for ax, case in zip(axes[0], [] if single else cases, strict=False):
            title = _case_title(case, mixing, titles or {}).replace(", block", "\nblock")
            lines = [textwrap.fill(line, 24) for line in title.splitlines()]
            ax.set_title("\n".join(lines), fontweight="bold", pad=15)
        for spare in axes.flat[len(shown) :] if single else ():
            spare.set_visible(False)
        last = axes.flat[max(0, len(shown) - width) : len(shown)] if single else axes[-1]
        for ax in last:
            ax.tick_params(labelbottom=True)
            ax.set_xlabel(f"{mixed_in} mixed in for each own")
        legend_above(figure, _handles(mixing), columns=3)
        if single:
            legend = figure.legends[0]
            legend.set_title(_case_title(cases[0], mixing, titles or {}))
            legend.get_title().set_fontweight("bold")
            legend.set_alignment("left")
    return figure


def _measured(mixing: pd.DataFrame) -> list[str]:
    return [name for name in measures() if mixing[name].notna().any()]


def _panel(ax: Axes, here: pd.DataFrame, measure: str) -> None:
    ax.tick_params(axis="x", labelsize=7)
    if here[measure].isna().all():
        middle = {"transform": ax.transAxes, "ha": "center", "va": "center", "style": "italic"}
        ax.text(0.5, 0.5, "not asked", color=FAINT, fontsize=7.5, **middle)
        sns.despine(ax=ax)
        return
    unmixed = here[here["ratio"] == 0]
    arms = {
        "mixed": pd.concat([unmixed, here[~here["step_matched"] & (here["ratio"] > 0)]]),
        "matched": pd.concat([unmixed, here[here["step_matched"]]]),
    }
    step = np.diff(sorted(set(here["ratio"]))).min() if here["ratio"].nunique() > 1 else 1.0
    for (name, arm), side in zip(arms.items(), (-1, 1), strict=True):
        _curve(ax, arm, measure, ARMS[name], side * 0.03 * step)
    control = arms["mixed"].groupby("ratio")[f"{measure}_control"].mean().dropna()
    if len(control):
        ax.plot(control.index, control, color=FAINT, linewidth=1.2, linestyle=":", zorder=1)
        ax.annotate(
            f"grey: {measures()[measure].control}",
            (1.0, 1.0),
            xycoords="axes fraction",
            xytext=(0, 2),
            textcoords="offset points",
            ha="right",
            fontsize=7,
            color=FAINT,
        )
    if measure.startswith("delta"):
        ax.axhline(0, color=RULE, linewidth=0.8, zorder=0)
    ax.grid(axis="y", color=RULE, linewidth=0.5)
    ax.set_axisbelow(True)
    sns.despine(ax=ax)


def _curve(ax: Axes, arm: pd.DataFrame, measure: str, style: Style, aside: float) -> None:
    """Means over seeds and their intervals, drawn a little `aside` of the ratio."""
    arm = arm.dropna(subset=[measure])  # measured at some ratios only, it is a line through those
    ratios = sorted(set(arm["ratio"]))
    found = [mean_interval(arm.loc[arm["ratio"] == ratio, measure]) for ratio in ratios]
    xs = np.array(ratios) + aside
    low, high = (np.array([getattr(one, end) for one in found]) for end in ("low", "high"))
    ax.vlines(xs, low, high, color=style.colour, linewidth=0.9, alpha=0.6)
    ax.plot(
        xs,
        [one.mean for one in found],
        color=style.colour,
        linestyle=style.dash,
        marker=style.marker,
        markersize=4.4,
        markeredgecolor="white",
        markeredgewidth=0.5,
        linewidth=1.4,
        zorder=3,
    )


def _apart(ticks: list[float]) -> list[str]:
    """Labels of the ticks, without those that would run into the one before."""
    labels, last = [], -np.inf
    for tick in ticks:
        free = tick - last >= 0.14 * (ticks[-1] - ticks[0])
        labels.append(f"{tick:g}" if free else "")
        last = tick if free else last
    return labels


def _share_height(row: list[Axes], measure: str) -> None:
    """One scale for a measure, from 0 where a length or share can be 0; no share beyond 1."""
    drawn = [ax.get_ylim() for ax in row if ax.has_data()]
    low, high = min(low for low, _ in drawn), max(high for _, high in drawn)
    share = measure in each_reader(SHARES)
    if share or measure == "relative_norm":
        low = 0.0
    for ax in row:
        ax.set_ylim(low, min(high, 1.02) if share else high)


def _handles(mixing: pd.DataFrame) -> list:
    seeds = mixing.groupby(["model", "organism", "recipe"])["seed"].nunique()
    few, many = seeds.min(), seeds.max()
    number = f"{many}" if few == many else f"{few} to {many}"
    handles = [
        Line2D([], [], color=one.colour, ls=one.dash, marker=one.marker, ms=4.5, label=one.label)
        for one in ARMS.values()
    ]
    handles[0].set_label(f"mixed in (mean of {number} seed{'' if many == 1 else 's'})")
    return [*handles, Line2D([], [], color=FAINT, ls=":", lw=1.2, label="control, mean")]


def _case_title(case: tuple, mixing: pd.DataFrame, titles: Mapping[str, str]) -> str:
    model, organism, layer = case
    here = mixing[_is_case(mixing, case)]
    steps = here.groupby("ratio")["steps"].mean()
    name = case_label(organism, "plain", titles)
    return f"{name}\n{model}, block {layer}, {steps.iloc[0]:.0f} to {steps.iloc[-1]:.0f} steps"


def _cases(mixing: pd.DataFrame) -> list[tuple]:
    found = mixing[["model", "organism", "layer"]].drop_duplicates()
    by_organism = {name: i for i, name in enumerate(ordered(mixing["organism"]))}
    cases = list(found.itertuples(index=False, name=None))
    return sorted(cases, key=lambda case: (by_organism[case[1]], case[0], case[2]))


def _is_case(mixing: pd.DataFrame, case: tuple) -> pd.Series:
    model, organism, layer = case
    return (
        (mixing["model"] == model) & (mixing["organism"] == organism) & (mixing["layer"] == layer)
    )
