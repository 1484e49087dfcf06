"""Is the training readable? Each organism beside its controls, a column a lens."""

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
    plain,
    require_rows,
    tighten,
)
from traces.tables import CONTROLS

DIFFERENCE_COLOUR, SEED_COLOUR = "#0072B2", "#00324f"
LENS_NAMES = {"logit_lens": "Logit lens", "patchscope": "Patchscope at the norm-matched scale"}

READINGS: Mapping[str, Style] = {
    "difference": Style(DIFFERENCE_COLOUR, "o", "difference, own words"),
    "benign": Style("#D55E00", "D", "benign organism, same words"),
    "random": Style("#8a8a8a", "X", "random direction"),
    "base_mean": Style("#009E73", "s", "mean base activation"),
    "tuned_mean": Style("#CC79A7", "^", "mean tuned activation"),
    "other_words": Style("#E69F00", "v", "difference, others' words"),
}


CONTROL_LANES = dict(zip(CONTROLS, np.linspace(0.06, 0.40, len(CONTROLS)), strict=True))
DIFFERENCE_LANE, BAR_HEIGHT = -0.2, 0.3


def relevance_figure(
    readability: pd.DataFrame, seeds: pd.DataFrame, titles: Mapping[str, str] | None = None
) -> Figure:
    """
    Each organism's relevance beside its controls: a row an organism, a column a lens.

    Models are blocks of rows, one below the other.

    readability : the readability table (means, intervals, chance, verdicts)
    seeds       : tables.seed_table of the same relevance table; its dots are single seeds
    titles      : names of organisms to show instead of their identifiers

    Raises ValueError if the table is empty.
    """
    require_rows(readability, "readability")
    models, lenses = ordered(readability["model"]), ordered(readability["lens"])
    rows = {model: _cases(readability[readability["model"] == model]) for model in models}
    titles = titles or {}
    top = _axis_top(readability, seeds)
    row_height = 0.56 if max(map(len, rows.values())) <= 12 else 0.46
    heights = [row_height * len(rows[model]) for model in models]

    with house_style():
        figure, axes = plt.subplots(
            len(models),
            len(lenses),
            figsize=(2.1 + 3.6 * len(lenses), 1.3 + sum(heights) + 0.45 * len(models)),
            height_ratios=heights,
            sharex=True,
            squeeze=False,
            layout="constrained",
        )
        tighten(figure)
        for i, model in enumerate(models):
            for j, lens in enumerate(lenses):
                ax = axes[i, j]
                _relevance_panel(ax, rows[model], _of(readability, model, lens), seeds)
                ax.set_xlim(0, top)
                ax.set_xticks([tick for tick in ax.get_xticks() if tick <= 1])
                ax.set_title(LENS_NAMES.get(lens, lens) if i == 0 else "", fontweight="bold")
                if j == 0:
                    _name_rows(ax, rows[model], titles)
                if len(models) > 1 and j == 0:
                    _name_model(ax, model)
        for ax in axes[-1]:
            ax.set_xlabel("share of the top tokens among the organism's words")
        legend_above(figure, _relevance_handles(readability), columns=4)
    return figure


def _relevance_panel(
    ax: Axes, cases: list[tuple], table: pd.DataFrame, seeds: pd.DataFrame
) -> None:
    for y, case in enumerate(cases):
        if y:
            ax.axhline(y - 0.5, color=RULE, linewidth=0.6, zorder=0)
        found = table[_is_case(table, case)]
        if found.empty:
            ax.text(0.01, y, "not read", color=FAINT, fontsize=7, va="center", style="italic")
            continue
        row = found.iloc[0]
        of_case = seeds[_is_case(seeds, case)]
        of_case = of_case[(of_case["lens"] == row["lens"]) & (of_case["model"] == row["model"])]
        _draw_difference(ax, y, row, of_case)
        _draw_controls(ax, y, row)
        _draw_verdict(ax, y, row)
    ax.set_ylim(len(cases) - 0.5, -0.5)
    ax.set_yticks([])
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    sns.despine(ax=ax, left=True)
    ax.axvline(0, color="#8c8c8c", linewidth=0.7, zorder=1)


def _draw_difference(ax: Axes, y: int, row: pd.Series, seeds: pd.DataFrame) -> None:
    lane, colour = y + DIFFERENCE_LANE, READINGS["difference"].colour
    readable = row["verdict"] == "readable"
    ax.barh(lane, row["relevance"], BAR_HEIGHT, color=colour, alpha=0.55 if readable else 0.25)
    _draw_interval(ax, lane, row["relevance_low"], row["relevance_high"], INK, 1.2)
    dots = seeds.loc[seeds["reading"] == "difference", "relevance"].to_numpy()
    spread = np.linspace(-0.07, 0.07, len(dots)) if len(dots) > 1 else [0.0]
    ax.scatter(
        dots,
        lane + np.asarray(spread),
        s=10,
        color=SEED_COLOUR,
        edgecolor="white",
        linewidth=0.5,
        zorder=4,
        clip_on=False,
    )


def _draw_controls(ax: Axes, y: int, row: pd.Series) -> None:
    for name, lane in CONTROL_LANES.items():
        if np.isnan(row[name]):
            continue
        style = READINGS[name]
        _draw_interval(ax, y + lane, row[f"{name}_low"], row[f"{name}_high"], style.colour, 0.9)
        ax.plot(
            row[name],
            y + lane,
            style.marker,
            color=style.colour,
            markersize=4.2,
            markeredgecolor="white",
            markeredgewidth=0.4,
            clip_on=False,
            zorder=5,
        )
    if not np.isnan(row["chance"]):
        span = [y - 0.44, y + 0.46]
        ax.plot([row["chance"]] * 2, span, ":", color=INK, linewidth=0.9, zorder=2)


def _draw_interval(ax: Axes, y: float, low: float, high: float, colour: str, width: float) -> None:
    """A t interval, drawn as far as a share can go."""
    if np.isnan(low):
        return
    ax.plot([max(low, 0.0), min(high, 1.0)], [y, y], color=colour, linewidth=width, zorder=3)


def _draw_verdict(ax: Axes, y: int, row: pd.Series) -> None:
    readable = row["verdict"] == "readable"
    ax.annotate(
        row["verdict"],
        (1.0, y + DIFFERENCE_LANE),
        xycoords=("axes fraction", "data"),
        xytext=(-1, 0),
        textcoords="offset points",
        ha="right",
        va="center",
        fontsize=7.5,
        color=DIFFERENCE_COLOUR if readable else FAINT,
        fontweight="bold" if readable else "normal",
        style="italic" if row["verdict"] == "undecided" else "normal",
    )


def _relevance_handles(readability: pd.DataFrame) -> list:
    handles: list = [
        Patch(color=DIFFERENCE_COLOUR, alpha=0.55, label=READINGS["difference"].label),
        Line2D([], [], ls="", marker="o", ms=3.5, color=SEED_COLOUR, label="one seed"),
    ]
    if readability["relevance_low"].notna().any():
        handles.append(Line2D([], [], color=INK, lw=1.2, label="95 % interval over seeds"))
    if readability["chance"].notna().any():
        handles.append(Line2D([], [], ls=":", color=INK, linewidth=0.9, label="chance"))
    handles += [
        Line2D([], [], ls="", marker=style.marker, ms=5, color=style.colour, label=style.label)
        for name, style in READINGS.items()
        if name != "difference" and readability[name].notna().any()
    ]
    return handles


def _axis_top(readability: pd.DataFrame, seeds: pd.DataFrame) -> float:
    """Enough room for every bar, dot and verdict; a long interval may leave at the right."""
    drawn = seeds.loc[seeds["reading"] == "difference", "relevance"]
    highs = readability[["relevance_high", *CONTROLS]].to_numpy(dtype=float)
    largest = np.nanmax([drawn.max(), np.nanmax(highs), 0.15])
    return float(min(largest, 1.0) * 1.28)


def _name_rows(ax: Axes, cases: list[tuple], titles: Mapping[str, str]) -> None:
    for y, (organism, recipe, corpus, layer, family, qualified) in enumerate(cases):
        place = f", {corpus}, block {layer}" if qualified else ""
        for text, offset, colour, size in (
            (case_label(organism, recipe, titles), 1, INK, 8.5),
            (f"{plain(family)}{place}", -9, FAINT, 7),
        ):
            ax.annotate(
                text,
                (0, y),
                xycoords=("axes fraction", "data"),
                xytext=(-6, offset),
                textcoords="offset points",
                ha="right",
                va="bottom" if offset > 0 else "baseline",
                fontsize=size,
                color=colour,
            )


def _name_model(ax: Axes, model: str) -> None:
    ax.annotate(
        model,
        (0, 1),
        xycoords="axes fraction",
        xytext=(-6, 4),
        textcoords="offset points",
        ha="right",
        va="bottom",
        fontsize=9.5,
        fontweight="bold",
    )


def _cases(of_model: pd.DataFrame) -> list[tuple]:
    """(organism, recipe, corpus, layer, family, qualified): the rows of a model's block."""
    rows = of_model[["organism", "recipe", "corpus", "layer", "family"]].drop_duplicates()
    qualified = len(rows[["corpus", "layer"]].drop_duplicates()) > 1
    return [(*row, qualified) for row in rows.itertuples(index=False, name=None)]


def _is_case(frame: pd.DataFrame, case: tuple) -> pd.Series:
    organism, recipe, corpus, layer, _, _ = case
    return (
        (frame["organism"] == organism)
        & (frame["recipe"] == recipe)
        & (frame["corpus"] == corpus)
        & (frame["layer"] == layer)
    )


def _of(frame: pd.DataFrame, model: str, lens: str) -> pd.DataFrame:
    return frame[(frame["model"] == model) & (frame["lens"] == lens)]
