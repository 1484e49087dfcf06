"""Draw how often investigators assert a finetune and name it: a row a null, a column a budget."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from traces.analysis.investigators import pooled
from traces.config.vocabularies import AGENTS
from traces.report.figures import rows
from traces.report.figures.style import (
    FAINT,
    Style,
    house_style,
    legend_above,
    percent,
    require_rows,
)
from traces.report.names import INVESTIGATORS, SHOWN_AS

SHARE = (0.0, 1.0)
FALSE = "#D55E00"
"Assertions where there is no narrow purpose, or another one."
SUCCESS = {
    "at_least_2": Style("#009E73", "o", "graded 2 or more on the organism"),
    "at_least_4": Style("#CC79A7", "D", "graded 4 or more"),
}
LANES = {"at_least_2": 0.12, "at_least_4": 0.30}
PROMPTS = {"neutral": "neutral prompt", "presupposing": "presupposing prompt"}


def agents_figure(summary: pd.DataFrame) -> Figure:
    """
    Draw assertions as bars and successes as marks, with 95 % Wilson intervals, over all models.

    Prompts are blocks of rows. Investigators and their budgets are columns.

    summary : `agents_summary`; of several graders the first is shown

    Raises ValueError if there is nothing to draw.
    """
    require_rows(summary, "agents_summary")
    first = summary[summary["grader_model"] == summary["grader_model"].iloc[0]]
    several = first["agent_model"].nunique() > 1
    column = ["agent_model", "agent", "interactions"]
    cases = pooled(first, [*column, "prompt", "null"])
    columns = sorted(
        cases[column].drop_duplicates().itertuples(index=False, name=None),
        key=lambda one: (one[0], AGENTS.index(one[1]), one[2]),
    )
    nulls = [name for name in SHOWN_AS if name in set(cases["null"])]
    prompts = [name for name in PROMPTS if name in set(cases["prompt"])]

    with house_style():
        figure, axes = rows.blocks(
            dict.fromkeys(prompts, nulls),
            len(columns),
            margins=(2.0, 1.1),
            column_width=2.15,
            row_height=0.42,
        )
        for i, prompt in enumerate(prompts):
            for j, at in enumerate(columns):
                here = cases[(cases[[*column, "prompt"]] == [*at, prompt]).all(axis=1)]
                for y, null in enumerate(nulls):
                    _draw(axes[i, j], y, null, here[here["null"] == null])
                rows.frame(axes[i, j], len(nulls))
                axes[i, j].set_xlim(*SHARE)
                percent(axes[i, j].xaxis)
                axes[i, j].set_title(_title(at, several) if i == 0 else "", fontweight="bold")
            rows.name_rows(axes[i, 0], [SHOWN_AS[null] for null in nulls])
            rows.name_model(axes[i, 0], PROMPTS[prompt])
        for ax in axes[-1]:
            ax.set_xlabel("share of investigations")
        legend_above(figure, _handles(), columns=2)
    return figure


def _draw(ax: Axes, y: int, null: str, found: pd.DataFrame) -> None:
    if found.empty or not found["n"].iloc[0]:
        text = "not planned" if found.empty else "missing"
        ax.text(0.02, y, text, color=FAINT, fontsize=7, va="center", style="italic")
        return
    row: Any = found.iloc[0]
    colour = rows.DIFFERENCE if null == "none" else FALSE
    ax.barh(y - 0.16, row["asserted_share"], 0.28, color=colour, alpha=rows.CLEAR)
    rows.interval(ax, y - 0.16, row["asserted_low"], row["asserted_high"], within=SHARE)
    for name, lane in LANES.items():
        low, high = row[f"{name}_low"], row[f"{name}_high"]
        rows.interval(ax, y + lane, low, high, SUCCESS[name].colour, within=SHARE)
        rows.mark(ax, y + lane, row[f"{name}_share"], SUCCESS[name])
    if not np.isnan(row["asserted_share"]):
        ax.annotate(
            f"n={row['n']}",
            (1.0, y - 0.16),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0),
            textcoords="offset points",
            ha="left",
            va="center",
            fontsize=6.5,
            color=FAINT,
        )


def _title(column: tuple[str, str, int], several: bool) -> str:
    agent_model, agent, interactions = column
    asked = f"{interactions} prompt{'' if interactions == 1 else 's'}"
    who = f"{agent_model}, " if several else ""
    return f"{who}{INVESTIGATORS[agent]},\n{asked}"


def _handles() -> list:
    return [
        Patch(color=rows.DIFFERENCE, alpha=rows.CLEAR, label="a narrow finetune is asserted"),
        Patch(color=FALSE, alpha=rows.CLEAR, label="the same of a null: by mistake, or of another"),
        *(rows.mark_handle(one) for one in SUCCESS.values()),
    ]
