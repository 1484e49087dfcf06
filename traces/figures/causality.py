"""What does taking the difference out do to the loss? Beside random and natural directions."""

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
from traces.tables import causality_effects, causality_verdicts

DIFFERENCE, DOTS = "#0072B2", "#00324f"
CONTROLS: Mapping[str, Style] = {
    "random": Style("#8a8a8a", "o", "random direction"),
    "activation_difference": Style("#D55E00", "o", "difference of two activations"),
}
LANES = {"random": 0.10, "activation_difference": 0.32}
TEXTS = {
    "own": "The organism's own, held out",
    "unrelated": "Unrelated text",
    "chat": "Conversations",
}
Case = tuple[str, str, int]


def causality_figure(causality: pd.DataFrame, titles: Mapping[str, str] | None = None) -> Figure:
    """
    Change of the loss when a direction is taken out: a row an organism, a column a text.

    Models are blocks of rows. Bars are the difference: means over positions, then over seeds with
    95 % t intervals; dark dots are single seeds, pale ones single control directions of all seeds.
    A full bar is a clear effect, as tables.causality_verdicts says.

    causality : the causality table, of one corpus
    titles    : names of organisms to show instead of their identifiers

    Raises ValueError if the table is empty.
    """
    require_rows(causality, "causality")
    effects = causality_effects(causality)
    verdicts = causality_verdicts(effects)
    models, texts = (
        ordered(effects["model"]),
        [one for one in TEXTS if one in set(effects["evaluated_on"])],
    )
    rows = {model: _cases(effects[effects["model"] == model]) for model in models}
    heights = [0.54 * len(rows[model]) for model in models]

    with house_style():
        figure, axes = plt.subplots(
            len(models),
            len(texts),
            figsize=(1.9 + 2.9 * len(texts), 1.6 + sum(heights) + 0.45 * len(models)),
            height_ratios=heights,
            sharex="col",
            squeeze=False,
            layout="constrained",
        )
        tighten(figure)
        for j, text in enumerate(texts):
            shown = effects[effects["evaluated_on"] == text]
            for i, model in enumerate(models):
                ax = axes[i, j]
                for y, case in enumerate(rows[model]):
                    told = _of(verdicts[verdicts["evaluated_on"] == text], model, case)
                    _draw_case(ax, y, _of(shown, model, case), told)
                ax.set_ylim(len(rows[model]) - 0.5, -0.5)
                ax.set_yticks([])
                sns.despine(ax=ax, left=True)
                ax.axvline(0, color="#8c8c8c", linewidth=0.7, zorder=1)
                if j == 0:
                    _name_rows(ax, rows[model], titles or {}, model if len(models) > 1 else "")
            axes[0, j].set_title(f"{TEXTS[text]}\n{_tokens(shown)}", fontsize=8.5)
            _leave_room(axes[-1, j])
        figure.supxlabel(
            "change of the tuned model's loss when the base's component replaces its own "
            "(nats a token)",
            fontsize=8.5,
        )
        legend_above(figure, _handles(effects, verdicts), columns=3)
    return figure


def _draw_case(ax: Axes, y: int, effects: pd.DataFrame, verdicts: pd.DataFrame) -> None:
    if y:
        ax.axhline(y - 0.5, color=RULE, linewidth=0.6, zorder=0)
    if effects.empty:
        return
    found, lane = verdicts.iloc[0], y - 0.2
    clear = found["verdict"] in ("raises", "lowers")
    ax.barh(lane, found["effect"], 0.28, color=DIFFERENCE, alpha=0.55 if clear else 0.25)
    if not np.isnan(found["low"]):
        ax.plot([found["low"], found["high"]], [lane, lane], color=INK, linewidth=1.2, zorder=3)
    _dots(ax, effects[effects["direction"] == "difference"], lane, 0.07, DOTS, 10, 1.0)
    for name, style in CONTROLS.items():
        some = effects[effects["direction"] == name]
        _dots(ax, some, y + LANES[name], 0.09, style.colour, 5, 0.35)
    times = "" if np.isnan(found["times_random"]) else f"  {found['times_random']:.0f}x"
    ax.annotate(
        f"{found['verdict']}{times if clear else ''}",
        (1.0, lane),
        xycoords=("axes fraction", "data"),
        xytext=(-1, 0),
        textcoords="offset points",
        ha="right",
        va="center",
        fontsize=7.5,
        color=DIFFERENCE if clear else FAINT,
        fontweight="bold" if clear else "normal",
        style="italic" if found["verdict"] == "undecided" else "normal",
    )


def _dots(
    ax: Axes,
    effects: pd.DataFrame,
    lane: float,
    half: float,
    colour: str,
    size: float,
    alpha: float,
) -> None:
    values = effects["delta_loss"].to_numpy()
    spread = np.linspace(-half, half, len(values)) if len(values) > 1 else np.zeros(len(values))
    ax.scatter(
        values,
        lane + spread,
        s=size,
        color=colour,
        alpha=alpha,
        edgecolor="white" if alpha == 1 else "none",
        linewidth=0.5,
        zorder=4,
        clip_on=False,
    )


def _leave_room(ax: Axes) -> None:
    """Zero in sight, and place for the verdicts at the right."""
    low, high = ax.get_xlim()
    low, high = min(low, 0.0), max(high, 0.0)
    ax.set_xlim(low, high + 0.5 * (high - low))
    ax.locator_params(axis="x", nbins=6)


def _tokens(effects: pd.DataFrame) -> str:
    counts = sorted({round(n) for n in effects["n_tokens"]})
    if len(counts) == 1:
        return f"{counts[0]:,} tokens"
    return f"{counts[0]:,} to {counts[-1]:,} tokens"


def _handles(effects: pd.DataFrame, verdicts: pd.DataFrame) -> list:
    seeds = sorted(set(verdicts["seeds"]))
    number = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    handles: list = [
        Patch(color=DIFFERENCE, alpha=0.55, label="the difference, mean over positions"),
        Line2D([], [], ls="", marker="o", ms=3.5, color=DOTS, label=f"one seed, of {number}"),
    ]
    if verdicts["low"].notna().any():
        handles.append(Line2D([], [], color=INK, lw=1.2, label="95 % interval over seeds"))
    for name, style in CONTROLS.items():
        n = effects.loc[effects["direction"] == name, "direction_id"].nunique()
        label = f"{style.label}, {n} a seed"
        handles.append(Line2D([], [], ls="", marker="o", ms=3, color=style.colour, label=label))
    return handles


def _name_rows(ax: Axes, cases: list[Case], titles: Mapping[str, str], model: str) -> None:
    several = len({layer for _, _, layer in cases}) > 1
    for y, (organism, recipe, layer) in enumerate(cases):
        name = case_label(organism, recipe, titles)
        ax.annotate(
            f"{name}, block {layer}" if several else name,
            (0, y),
            xycoords=("axes fraction", "data"),
            xytext=(-6, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=8.5,
        )
    if model:
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


def _cases(of_model: pd.DataFrame) -> list[Case]:
    rows = of_model[["organism", "recipe", "layer"]].drop_duplicates()
    return list(rows.itertuples(index=False, name=None))


def _of(frame: pd.DataFrame, model: str, case: Case) -> pd.DataFrame:
    organism, recipe, layer = case
    return frame[
        (frame["model"] == model)
        & (frame["organism"] == organism)
        & (frame["recipe"] == recipe)
        & (frame["layer"] == layer)
    ]
