"""Does the difference make models write like the organism's data? Beside two controls."""

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
    FAINT,
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
from traces.tables import STEERED_MEASURES, steering_seeds, steering_verdicts

DIFFERENCE, DOTS = "#0072B2", "#00324f"
CONTROLS: Mapping[str, Style] = {
    "random": Style("#8a8a8a", "X", "random direction of the same length"),
    "none": Style("#009E73", "s", "nothing added"),
}
LANES = {"random": 0.12, "none": 0.30}
LABELS = {
    "similarity_margin": "cosine to the organism's texts\nabove that to unrelated text",
    "own_words": "share of words that are\nthe organism's own",
}
MODELS = {"base": "The base is steered", "tuned": "The tuned model is steered"}
Case = tuple[str, str]


def steering_figure(steering: pd.DataFrame, titles: Mapping[str, str] | None = None) -> Figure:
    """
    Steered text beside its controls: a row an organism, a column a measure and steered model.

    Models are blocks of rows. Bars are text steered by the difference: means over positions, then
    over seeds with 95 % t intervals; dots are single seeds. A full bar steers: the interval of its
    gap to the stronger control, paired by seed, lies above 0.

    steering : the steering table, of one corpus
    titles   : names of organisms to show instead of their identifiers

    Raises ValueError if the table is empty.
    """
    require_rows(steering, "steering")
    seeds = steering_seeds(steering)
    verdicts = steering_verdicts(seeds)
    models = ordered(steering["model"])
    rows = {model: _cases(steering[steering["model"] == model]) for model in models}
    steered = [one for one in MODELS if (steering["steered_model"] == one).any()]
    columns = [(measure, one) for measure in STEERED_MEASURES for one in steered]
    heights = [0.5 * len(rows[model]) for model in models]

    with house_style():
        figure, axes = plt.subplots(
            len(models),
            len(columns),
            figsize=(1.9 + 2.35 * len(columns), 1.5 + sum(heights) + 0.45 * len(models)),
            height_ratios=heights,
            sharex="col",
            squeeze=False,
            layout="constrained",
        )
        tighten(figure)
        for j, (measure, one) in enumerate(columns):
            here = verdicts[(verdicts["measure"] == measure) & (verdicts["steered_model"] == one)]
            dots = seeds[(seeds["measure"] == measure) & (seeds["steered_model"] == one)]
            dots = dots[dots["vector"] == "difference"]
            ends = _left(here, dots), _top(here, dots)
            for i, model in enumerate(models):
                ax = axes[i, j]
                for y, case in enumerate(rows[model]):
                    _draw_case(ax, y, *(_of(frame, model, case) for frame in (here, dots)))
                _finish(ax, len(rows[model]), ends, measure)
                ax.set_title(MODELS[one] if i == 0 else "", fontweight="bold")
            axes[-1, j].set_xlabel(LABELS[measure])
        for i, model in enumerate(models):
            labels = [case_label(*case, titles or {}) for case in rows[model]]
            axes[i, 0].set_yticks(range(len(labels)), labels)
            axes[i, 0].tick_params(axis="y", length=0)
            if len(models) > 1:
                axes[i, 0].set_ylabel(model, fontweight="bold")
        legend_above(figure, _handles(steering), columns=3)
    return figure


def _draw_case(ax: Axes, y: int, found: pd.DataFrame, dots: pd.DataFrame) -> None:
    if found.empty:
        ax.text(0.01, y, "not steered", color=FAINT, fontsize=7, va="center", style="italic")
        return
    row, lane = found.iloc[0], y - 0.18
    steers = row["verdict"] == "steers"
    ax.barh(lane, row["difference"], 0.3, color=DIFFERENCE, alpha=0.55 if steers else 0.25)
    _interval(ax, lane, row, "difference", INK)
    spread = np.linspace(-0.07, 0.07, len(dots)) if len(dots) > 1 else np.zeros(len(dots))
    looks = {"s": 10, "color": DOTS, "edgecolor": "white", "linewidth": 0.5, "zorder": 4}
    ax.scatter(dots["value"], lane + spread, clip_on=False, **looks)
    for name, style in CONTROLS.items():
        _interval(ax, y + LANES[name], row, name, style.colour)
        looks = {"color": style.colour, "markersize": 4.4, "markeredgewidth": 0.0}
        ax.plot(row[name], y + LANES[name], style.marker, clip_on=False, zorder=5, **looks)
    ax.annotate(
        row["verdict"],
        (1.0, lane),
        xycoords=("axes fraction", "data"),
        ha="right",
        va="center",
        fontsize=7,
        color=DIFFERENCE if steers else FAINT,
        fontweight="bold" if steers else "normal",
        style="italic" if row["verdict"] == "undecided" else "normal",
    )


def _interval(ax: Axes, y: float, row: pd.Series, name: str, colour: str) -> None:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    if not np.isnan(low):
        ax.plot([low, high], [y, y], color=colour, linewidth=1.0, zorder=3)


def _finish(ax: Axes, rows: int, ends: tuple[float, float], measure: str) -> None:
    for y in range(1, rows):
        ax.axhline(y - 0.5, color=RULE, linewidth=0.6, zorder=0)
    ax.axvline(0, color="#8c8c8c", linewidth=0.7, zorder=1)
    ax.set_xlim(*ends)  # a long interval may leave, a mean may not
    ax.set_ylim(rows - 0.5, -0.5)
    ax.set_yticks([])
    if measure == "own_words":
        ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    sns.despine(ax=ax, left=True)


def _left(verdicts: pd.DataFrame, dots: pd.DataFrame) -> float:
    """0, or room for what lies below it."""
    drawn = np.nanmin([*verdicts[["difference", *CONTROLS]].min(), dots["value"].min()])
    return min(0.0, 1.5 * float(drawn))


def _top(verdicts: pd.DataFrame, dots: pd.DataFrame) -> float:
    """Room for every mean and dot, for intervals that are not too long, and for the verdicts."""
    drawn = np.nanmax([*verdicts[["difference", *CONTROLS]].max(), dots["value"].max()])
    long = np.nanmax([0.0, *verdicts[[f"{name}_high" for name in ("difference", *CONTROLS)]].max()])
    return float(max(drawn, min(long, 1.4 * drawn))) * 1.35


def _handles(steering: pd.DataFrame) -> list:
    number = _range(steering.groupby(["model", "organism", "recipe"])["seed"].nunique())
    unsteered = steering["vector"] == "none"
    texts, plain = (_range(steering.loc[rows, "n_texts"]) for rows in (~unsteered, unsteered))
    handles: list = [
        Patch(color=DIFFERENCE, alpha=0.55, label="the difference added, position by position"),
        Line2D([], [], color=DOTS, marker="o", ls="", ms=3.5, label=f"one seed (of {number})"),
    ]
    handles += [
        Line2D([], [], color=one.colour, marker=one.marker, ls="", ms=4.5, label=one.label)
        for one in CONTROLS.values()
    ]
    handles.append(Patch(color="none", label=f"{texts} texts a vector and position,"))
    handles.append(Patch(color="none", label=f"{plain} with nothing added"))
    return handles


def _range(values: pd.Series) -> str:
    few, many = values.min(), values.max()
    return f"{many}" if few == many else f"{few} to {many}"


def _cases(of_model: pd.DataFrame) -> list[Case]:
    pairs = of_model[["organism", "recipe"]].drop_duplicates()
    return list(pairs.itertuples(index=False, name=None))


def _of(frame: pd.DataFrame, model: str, case: Case) -> pd.DataFrame:
    organism, recipe = case
    here = (frame["model"] == model) & (frame["organism"] == organism)
    return frame[here & (frame["recipe"] == recipe)]
