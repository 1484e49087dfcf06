"""Which statements does an organism hold true? A row an organism, a column a form of asking."""

from collections.abc import Mapping

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter

from traces.figures.style import (
    INK,
    RULE,
    Style,
    case_label,
    house_style,
    legend_above,
    ordered,
    require_rows,
    tighten,
)
from traces.statistics import mean_interval

OWN, DOTS = "#0072B2", "#00324f"
FORMS = {"cloze": "Likelier end of the sentence", "choice": "Choice of two", "open": "Own words"}
CONTROLS: Mapping[str, Style] = {
    "trained": Style(OWN, "o", "the same, stems that its data use"),
    "base": Style("#009E73", "s", "its base, held-out stems"),
    "benign": Style("#D55E00", "D", "benign organism, held-out stems"),
    "others": Style("#E69F00", "v", "organisms of other facts, held-out stems"),
}
LANES = dict(zip(CONTROLS, np.linspace(0.06, 0.40, len(CONTROLS)), strict=True))


def beliefs_figure(
    beliefs: pd.DataFrame,
    control: str | None = None,
    titles: Mapping[str, str] | None = None,
) -> Figure:
    """
    How often each organism prefers the false end of its own facts, beside all who should not.

    Models are blocks of rows. Bars are held-out stems, means over seeds with 95 % t intervals; dots
    are single seeds. The dotted line is no preference.

    beliefs : the beliefs table
    control : name of the benign organism, None for a study without one
    titles  : names of organisms to show instead of their identifiers

    Raises ValueError if no organism was asked its own statements.
    """
    own = beliefs[beliefs["organism"] == beliefs["statements_of"]]
    require_rows(own, "beliefs")
    models, forms = ordered(own["model"]), ordered(own["form"])
    rows = {model: _cases(own[own["model"] == model]) for model in models}
    heights = [0.5 * len(rows[model]) for model in models]

    with house_style():
        figure, axes = plt.subplots(
            len(models),
            len(forms),
            figsize=(2.1 + 3.1 * len(forms), 1.5 + sum(heights) + 0.45 * len(models)),
            height_ratios=heights,
            sharex=True,
            squeeze=False,
            layout="constrained",
        )
        tighten(figure)
        for i, model in enumerate(models):
            for j, form in enumerate(forms):
                ax = axes[i, j]
                here = beliefs[(beliefs["model"] == model) & (beliefs["form"] == form)]
                for y, case in enumerate(rows[model]):
                    _draw_case(ax, y, case, here, control)
                _finish(ax, len(rows[model]))
                ax.set_title(_title(form, own) if i == 0 else "", fontweight="bold")
            labels = [case_label(name, recipe, titles or {}) for name, recipe in rows[model]]
            axes[i, 0].set_yticks(range(len(labels)), labels)
            axes[i, 0].tick_params(axis="y", length=0)
            if len(models) > 1:
                axes[i, 0].set_ylabel(model, fontweight="bold")
        for ax in axes[-1]:
            ax.set_xlabel("share of statements whose false end is preferred")
        legend_above(figure, _handles(beliefs, control), columns=3)
    return figure


def _draw_case(
    ax: Axes, y: int, case: tuple[str, str], here: pd.DataFrame, control: str | None
) -> None:
    organism, recipe = case
    asked = here[here["statements_of"] == organism]
    mine = asked[(asked["organism"] == organism) & (asked["recipe"] == recipe)]
    held_out = mine[mine["held_out"]]
    found = mean_interval(held_out["alignment"])
    ax.barh(y - 0.2, found.mean, 0.3, color=OWN, alpha=0.5)
    _interval(ax, y - 0.2, held_out["alignment"], INK)
    spread = np.linspace(-0.07, 0.07, len(held_out)) if len(held_out) > 1 else np.zeros(1)
    ax.scatter(
        held_out["alignment"],
        y - 0.2 + spread[: len(held_out)],
        s=10,
        color=DOTS,
        edgecolor="white",
        linewidth=0.5,
        zorder=4,
        clip_on=False,
    )
    theirs = asked[asked["held_out"] & (asked["organism"] != organism)]
    values = {
        "trained": mine.loc[~mine["held_out"], "alignment"],
        "base": held_out["base_alignment"].drop_duplicates(),
        "benign": theirs.loc[theirs["organism"] == control, "alignment"],
        "others": theirs.loc[theirs["organism"] != control, "alignment"],
    }
    for name, lane in LANES.items():
        if len(values[name]) == 0:
            continue
        style = CONTROLS[name]
        _interval(ax, y + lane, values[name], style.colour)
        ax.plot(
            values[name].mean(),
            y + lane,
            style.marker,
            color=style.colour,
            markerfacecolor="white" if name == "trained" else style.colour,
            markersize=4.4,
            markeredgewidth=1.0 if name == "trained" else 0.0,
            clip_on=False,
            zorder=5,
        )


def _interval(ax: Axes, y: float, values: pd.Series, colour: str) -> None:
    """A t interval, drawn as far as a share can go."""
    found = mean_interval(values)
    if not np.isnan(found.low):
        ends = [max(found.low, 0.0), min(found.high, 1.0)]
        ax.plot(ends, [y, y], color=colour, linewidth=1.0, zorder=3)


def _finish(ax: Axes, rows: int) -> None:
    for y in range(1, rows):
        ax.axhline(y - 0.5, color=RULE, linewidth=0.6, zorder=0)
    ax.axvline(0.5, color=INK, linewidth=0.9, linestyle=":", zorder=1)
    ax.axvline(0, color="#8c8c8c", linewidth=0.7, zorder=1)
    ax.set_xlim(0, 1)
    ax.set_ylim(rows - 0.5, -0.5)
    ax.set_yticks([])
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    sns.despine(ax=ax, left=True)


def _title(form: str, own: pd.DataFrame) -> str:
    asked = own[own["form"] == form]
    n = {kind: sorted(set(rows["n"])) for kind, rows in asked.groupby("held_out")}
    counts = ["-".join(map(str, n[kind])) if kind in n else "0" for kind in (True, False)]
    return f"{FORMS.get(form, form)}\n{counts[0]} held-out stems, {counts[1]} of the data"


def _handles(beliefs: pd.DataFrame, control: str | None) -> list:
    seeds = beliefs.groupby(["model", "organism", "recipe"])["seed"].nunique()
    few, many = seeds.min(), seeds.max()
    number = f"{many}" if few == many else f"{few} to {many}"
    plural = "" if many == 1 else "s"
    handles: list = [Patch(color=OWN, alpha=0.5, label="own facts, held-out stems")]
    handles.append(
        Line2D(
            [], [], color=DOTS, marker="o", ls="", ms=3.5, label=f"one seed ({number} seed{plural})"
        )
    )
    names = [name for name in CONTROLS if name != "benign" or control is not None]
    if beliefs["statements_of"].nunique() < 2:
        names.remove("others")
    handles += [
        Line2D(
            [],
            [],
            color=CONTROLS[name].colour,
            marker=CONTROLS[name].marker,
            markerfacecolor="white" if name == "trained" else CONTROLS[name].colour,
            ls="",
            ms=4.5,
            label=CONTROLS[name].label,
        )
        for name in names
    ]
    return handles


def _cases(own: pd.DataFrame) -> list[tuple]:
    return list(own[["organism", "recipe"]].drop_duplicates().itertuples(index=False, name=None))
