"""Draw the causal effect of the difference on the loss, beside control directions."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from traces.analysis.comparisons import causality_effects, causality_verdicts
from traces.analysis.positions import to_average
from traces.analysis.verdicts import LOWERS, RAISES
from traces.report.figures import rows
from traces.report.figures.style import (
    Style,
    case_label,
    house_style,
    legend_above,
    ordered,
    require_rows,
)
from traces.report.names import READINGS, position_names

CONTROLS: Mapping[str, Style] = {
    "random": Style("#8a8a8a", "o", READINGS["random"]),
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
    Draw the change of the loss when a direction is replaced: a row an organism, a column a text.

    Models are blocks of rows. Bars are the difference: means over positions, then over seeds with
    95 % t intervals; dark dots are single seeds, pale ones single control directions of all seeds.
    A full bar raises or lowers the loss, as comparisons.causality_verdicts says.

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
    cases = {model: _cases(effects[effects["model"] == model]) for model in models}

    with house_style():
        figure, axes = rows.blocks(
            cases,
            len(texts),
            margins=(1.9, 1.6),
            column_width=2.9,
            row_height=0.54,
            sharex="col",
        )
        for j, text in enumerate(texts):
            shown = effects[effects["evaluated_on"] == text]
            for i, model in enumerate(models):
                ax = axes[i, j]
                for y, case in enumerate(cases[model]):
                    told = _of(verdicts[verdicts["evaluated_on"] == text], model, case)
                    _draw_case(ax, y, _of(shown, model, case), told)
                rows.frame(ax, len(cases[model]))
                if j == 0:
                    rows.name_rows(ax, _names(cases[model], titles or {}))
                if j == 0 and len(models) > 1:
                    rows.name_model(ax, model)
            axes[0, j].set_title(f"{TEXTS[text]}\n{_tokens(shown)}", fontsize=8.5)
            _leave_room(axes[-1, j])
        figure.supxlabel(
            "change of the tuned model's loss when the base's component replaces its own "
            "(nats a token)",
            fontsize=8.5,
        )
        differences = causality[causality["direction"] == "difference"]
        read = position_names(to_average(differences)["position"])
        legend_above(figure, _handles(effects, verdicts, read), columns=3)
    return figure


def _draw_case(ax: Axes, y: int, effects: pd.DataFrame, verdicts: pd.DataFrame) -> None:
    if effects.empty:
        return
    found, lane = verdicts.iloc[0], y - 0.2
    clear = found["verdict"] in (RAISES, LOWERS)
    rows.bar(ax, lane, found["effect"], clear)
    rows.interval(ax, lane, found["low"], found["high"])
    rows.dots(ax, lane, effects.loc[effects["direction"] == "difference", "delta_loss"])
    # Every control direction is drawn, not their mean: the verdict compares with the 95 % of them.
    for name, style in CONTROLS.items():
        values = effects.loc[effects["direction"] == name, "delta_loss"]
        looks = {"half": 0.09, "colour": style.colour, "size": 5, "alpha": 0.35}
        rows.dots(ax, y + LANES[name], values, **looks)
    times = "" if np.isnan(found["times_random"]) else f"  {found['times_random']:.0f}x"
    rows.verdict(ax, lane, found["verdict"], clear, more=times)


def _leave_room(ax: Axes) -> None:
    """Widen the axis: zero in sight, and room for the verdicts at the right."""
    low, high = ax.get_xlim()
    low, high = min(low, 0.0), max(high, 0.0)
    ax.set_xlim(low, high + 0.5 * (high - low))
    ax.locator_params(axis="x", nbins=6)


def _tokens(effects: pd.DataFrame) -> str:
    return f"{rows.counted([round(n) for n in effects['n_tokens']])} tokens"


def _handles(effects: pd.DataFrame, verdicts: pd.DataFrame, read: str) -> list:
    handles: list = [
        rows.bar_handle(f"the difference, mean over {read}"),
        rows.dot_handle(f"one seed, of {rows.counted(verdicts['seeds'])}"),
    ]
    if verdicts["low"].notna().any():
        handles.append(rows.interval_handle())
    for name, style in CONTROLS.items():
        n = effects.loc[effects["direction"] == name, "direction_id"].nunique()
        handles.append(rows.dot_handle(f"{style.label}, {n} a seed", style.colour))
    return handles


def _names(cases: list[Case], titles: Mapping[str, str]) -> list[str]:
    # A layer is named only where there are several; elsewhere the caption has it.
    several = len({layer for _, _, layer in cases}) > 1
    return [
        case_label(organism, recipe, titles) + (f", block {layer}" if several else "")
        for organism, recipe, layer in cases
    ]


def _cases(of_model: pd.DataFrame) -> list[Case]:
    found = of_model[["organism", "recipe", "layer"]].drop_duplicates()
    return list(found.itertuples(index=False, name=None))


def _of(frame: pd.DataFrame, model: str, case: Case) -> pd.DataFrame:
    organism, recipe, layer = case
    return frame[
        (frame["model"] == model)
        & (frame["organism"] == organism)
        & (frame["recipe"] == recipe)
        & (frame["layer"] == layer)
    ]
