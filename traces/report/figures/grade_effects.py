"""Draw what grades depend on: a row a level of each factor, and what makes the variance."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from traces.report.figures import rows
from traces.report.figures.style import (
    FAINT,
    INK,
    Style,
    house_style,
    legend_above,
    ordered,
    percent,
    plain,
    require_rows,
)

FACTORS = {
    "agent": "Agent",
    "interactions": "Interactions",
    "prompt": "Prompt",
    "family": "Family",
    "model": "Model",
    "agent_model": "Agent's model",
    "grader_model": "Grader",
}
POOLED = Style("#E69F00", "D", "without organisms and investigations")
# The lane of the pooled estimate, below that of the effect.
LANE = 0.22


def grade_effects_figure(effects: pd.DataFrame, components: pd.DataFrame) -> Figure:
    """
    Draw the effect of every level on grades, with 95 % HDI, and each component's share.

    effects    : the grade_effects table; a level that the data cannot tell apart is drawn faint
    components : the grade_components table

    Raises ValueError for a table without a row.
    """
    require_rows(effects, "grade_effects")
    require_rows(components, "grade_components")
    factors = ordered(effects["factor"])
    blocks = {factor: list(effects.loc[effects["factor"] == factor, "level"]) for factor in factors}
    blocks["components"] = list(components["component"])
    with house_style():
        figure, axes = rows.blocks(
            blocks, 1, margins=(1.9, 0.9), column_width=4.2, row_height=0.32, sharex=False
        )
        widest = np.nanmax(np.abs(effects[["effect_low", "effect_high"]].to_numpy()))
        for ax, factor in zip(axes[:-1, 0], factors, strict=True):
            own = effects[effects["factor"] == factor]
            for y, row in enumerate(own.to_dict("records")):
                _draw_effect(ax, y, row)
            rows.frame(ax, len(own))
            rows.name_rows(ax, [plain(level) for level in own["level"]])
            rows.name_model(ax, FACTORS.get(factor, plain(factor)))
            ax.set_xlim(-1.05 * widest, 1.05 * widest)
            ax.tick_params(labelbottom=factor == factors[-1])
        axes[-2, 0].set_xlabel("effect on the grade, logits")
        _draw_components(axes[-1, 0], components)
        legend_above(figure, _handles(), columns=2)
    return figure


def _draw_effect(ax: Axes, y: int, row: dict) -> None:
    colour = INK if row["estimable"] else FAINT
    rows.interval(ax, y, row["effect_low"], row["effect_high"], colour)
    style = Style(rows.DIFFERENCE if row["estimable"] else FAINT, "o", "")
    rows.mark(ax, y, row["effect"], style, hollow=not row["estimable"])
    if not np.isnan(row["pooled"]):
        rows.interval(ax, y + LANE, row["pooled_low"], row["pooled_high"], POOLED.colour)
        rows.mark(ax, y + LANE, row["pooled"], POOLED, hollow=True)


def _draw_components(ax: Axes, components: pd.DataFrame) -> None:
    for y, row in enumerate(components.to_dict("records")):
        rows.bar(ax, y, row["share"])
        rows.interval(ax, y, row["share_low"], row["share_high"], within=(0, 1))
    rows.frame(ax, len(components))
    rows.name_rows(ax, [plain(name) for name in components["component"]])
    rows.name_model(ax, "Share of the variance")
    ax.set_xlim(0, 1)
    percent(ax.xaxis)
    ax.set_xlabel("share of the variance of grades, in logits")


def _handles() -> list:
    return [
        rows.mark_handle(Style(rows.DIFFERENCE, "o", "posterior mean")),
        Line2D([], [], color=INK, lw=1.2, label="95 % HDI"),
        rows.mark_handle(POOLED, hollow=True),
        rows.mark_handle(Style(FAINT, "o", "not told apart by the data"), hollow=True),
    ]
