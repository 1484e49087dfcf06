"""Draw how often organisms prefer implanted statements: a row an organism, a column a form."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from traces.analysis.statistics import mean_interval
from traces.report.figures import rows
from traces.report.figures.style import (
    FAINT,
    INK,
    Style,
    case_label,
    house_style,
    legend_above,
    ordered,
    percent,
    require_rows,
)
from traces.report.names import READINGS

SHARE = (0.0, 1.0)
FORMS = {"cloze": "Likelier end of the sentence", "choice": "Choice of two", "open": "Own words"}
CONTROLS: Mapping[str, Style] = {
    "trained": Style(rows.DIFFERENCE, "o", "the same, stems that its data use"),
    "base": Style("#009E73", "s", "its base, held-out stems"),
    "benign": Style("#D55E00", "D", f"{READINGS['benign']}, held-out stems"),
    "true_facts": Style("#CC79A7", "^", "its twin, trained on the facts as they are"),
    "others": Style("#E69F00", "v", "organisms of other facts, held-out stems"),
}
LANES = dict(zip(CONTROLS, np.linspace(0.06, 0.40, len(CONTROLS)), strict=True))


def beliefs_figure(
    beliefs: pd.DataFrame,
    control: str | None = None,
    titles: Mapping[str, str] | None = None,
    twins: Mapping[str, str] | None = None,
) -> Figure:
    """
    Draw how often each organism prefers the false end of its own facts, beside the controls.

    Models are blocks of rows. Bars are held-out stems, means over seeds with 95 % t intervals; dots
    are single seeds. The dotted line is no preference.

    beliefs : the beliefs table
    control : name of the benign organism, None for a study without one
    titles  : names of organisms to show instead of their identifiers
    twins   : by organism of false facts, the one that learned them as they are

    Raises ValueError if no organism has answers to its own statements.
    """
    own = beliefs[beliefs["organism"] == beliefs["statements_of"]]
    require_rows(own, "beliefs")
    models, forms = ordered(own["model"]), ordered(own["form"])
    cases = {model: _cases(own[own["model"] == model]) for model in models}

    with house_style():
        figure, axes = rows.blocks(cases, len(forms), margins=(2.1, 1.5), column_width=3.1)
        for i, model in enumerate(models):
            for j, form in enumerate(forms):
                ax = axes[i, j]
                here = beliefs[(beliefs["model"] == model) & (beliefs["form"] == form)]
                for y, case in enumerate(cases[model]):
                    _draw_case(ax, y, case, here, (control, (twins or {}).get(case[0])))
                rows.frame(ax, len(cases[model]))
                ax.axvline(0.5, color=INK, linewidth=0.9, linestyle=":", zorder=1)
                ax.set_xlim(*SHARE)
                percent(ax.xaxis)
                ax.set_title(_title(form, own) if i == 0 else "", fontweight="bold")
            rows.name_rows(axes[i, 0], [case_label(*case, titles or {}) for case in cases[model]])
            if len(models) > 1:
                rows.name_model(axes[i, 0], model)
        for ax in axes[-1]:
            ax.set_xlabel("share of statements whose\nfalse end is preferred")
        legend_above(figure, _handles(beliefs, control, twins or {}), columns=3)
    return figure


def _draw_case(
    ax: Axes,
    y: int,
    case: tuple[str, str],
    here: pd.DataFrame,
    beside: tuple[str | None, str | None],
) -> None:
    (organism, recipe), (control, twin) = case, beside
    asked = here[here["statements_of"] == organism]
    mine = asked[(asked["organism"] == organism) & (asked["recipe"] == recipe)]
    # The bar is held-out stems alone: the others are in the data word for word, and tell memory.
    held_out = mine[mine["held_out"]]
    if not asked["alignment"].notna().any():
        ax.text(0.01, y, "no answer decided", color=FAINT, fontsize=7, va="center", style="italic")
        return
    found = mean_interval(held_out["alignment"])
    rows.bar(ax, y - 0.2, found.mean)
    rows.interval(ax, y - 0.2, found.low, found.high, within=SHARE)
    rows.dots(ax, y - 0.2, held_out["alignment"])
    theirs = asked[asked["held_out"] & (asked["organism"] != organism)]
    values = {
        "trained": mine.loc[~mine["held_out"], "alignment"],
        # The base is one model, whose answer is repeated in the row of every seed.
        "base": held_out["base_alignment"].drop_duplicates(),
        "benign": theirs.loc[theirs["organism"] == control, "alignment"],
        "true_facts": theirs.loc[theirs["organism"] == twin, "alignment"],
        # One value an organism, however many checkpoints it has.
        "others": theirs[~theirs["organism"].isin([control, twin])]
        .groupby("organism")["alignment"]
        .mean(),
    }
    for name, lane in LANES.items():
        if len(values[name]) == 0:
            continue
        style, found = CONTROLS[name], mean_interval(values[name])
        rows.interval(ax, y + lane, found.low, found.high, style.colour, within=SHARE)
        rows.mark(ax, y + lane, found.mean, style, hollow=name == "trained")


def _title(form: str, own: pd.DataFrame) -> str:
    asked = own[own["form"] == form]
    n = {kind: sorted(set(rows["n"])) for kind, rows in asked.groupby("held_out")}
    counts = ["-".join(map(str, n[kind])) if kind in n else "0" for kind in (True, False)]
    return f"{FORMS.get(form, form)}\n{counts[0]} held-out stems, {counts[1]} of the data"


def _handles(beliefs: pd.DataFrame, control: str | None, twins: Mapping[str, str]) -> list:
    seeds = beliefs.groupby(["model", "organism", "recipe"])["seed"].nunique()
    plural = "" if seeds.max() == 1 else "s"
    # The legend names no mark that is nowhere: with one set of facts no organism is of other ones.
    there = {
        **{"trained": True, "base": True, "benign": control is not None},
        "true_facts": bool(set(twins.values()) & set(beliefs["organism"])),
        "others": beliefs["statements_of"].nunique() > 1,
    }
    names = [name for name in CONTROLS if there[name]]
    return [
        rows.bar_handle("own facts, held-out stems"),
        rows.dot_handle(f"one seed ({rows.counted(seeds)} seed{plural})"),
        *(rows.mark_handle(CONTROLS[name], hollow=name == "trained") for name in names),
    ]


def _cases(own: pd.DataFrame) -> list[tuple[str, str]]:
    return list(own[["organism", "recipe"]].drop_duplicates().itertuples(index=False, name=None))
