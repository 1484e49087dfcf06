"""Draw how much steered text resembles the organism's data, beside two controls."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from traces.analysis.comparisons import STEERED_MEASURES, steering_seeds, steering_verdicts
from traces.analysis.positions import to_average
from traces.analysis.verdicts import STEERS
from traces.report.figures import rows
from traces.report.figures.style import (
    FAINT,
    Style,
    case_label,
    house_style,
    legend_above,
    ordered,
    percent,
    require_rows,
)
from traces.report.names import READINGS, position_names

CONTROLS: Mapping[str, Style] = {
    "random": Style("#8a8a8a", "X", f"{READINGS['random']} of the same length"),
    "none": Style("#009E73", "s", "nothing added"),
}
LANES = {"random": 0.12, "none": 0.30}
LABELS = {
    "steering_margin": "cosine to the organism's texts\nabove that to unrelated text",
    "own_words": "share of words that are\nthe organism's own",
}
MODELS = {"base": "The base is steered", "tuned": "The tuned model is steered"}
VERDICT = 0.35  # room for a verdict, as a share of the axis
Case = tuple[str, str]


def steering_figure(steering: pd.DataFrame, titles: Mapping[str, str] | None = None) -> Figure:
    """
    Draw steered text beside its controls: a row an organism, a column a measure and model.

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
    cases = {model: _cases(steering[steering["model"] == model]) for model in models}
    steered = [one for one in MODELS if (steering["steered_model"] == one).any()]
    columns = [(measure, one) for measure in STEERED_MEASURES for one in steered]

    with house_style():
        figure, axes = rows.blocks(
            cases, len(columns), margins=(1.9, 1.5), column_width=2.5, sharex="col"
        )
        for j, (measure, one) in enumerate(columns):
            here = verdicts[(verdicts["measure"] == measure) & (verdicts["steered_model"] == one)]
            dots = seeds[(seeds["measure"] == measure) & (seeds["steered_model"] == one)]
            dots = dots[dots["vector"] == "difference"]
            ends = _ends(here, dots)
            for i, model in enumerate(models):
                ax = axes[i, j]
                for y, case in enumerate(cases[model]):
                    _draw_case(ax, y, *(_of(frame, model, case) for frame in (here, dots)))
                rows.frame(ax, len(cases[model]))
                ax.set_xlim(*ends)  # a long interval may leave, a mean may not
                if measure == "own_words":
                    percent(ax.xaxis)
                ax.set_title(MODELS[one] if i == 0 else "", fontweight="bold")
            axes[-1, j].set_xlabel(LABELS[measure])
        for i, model in enumerate(models):
            rows.name_rows(axes[i, 0], [case_label(*case, titles or {}) for case in cases[model]])
            if len(models) > 1:
                rows.name_model(axes[i, 0], model)
        legend_above(figure, _handles(steering), columns=3)
    return figure


def _draw_case(ax: Axes, y: int, found: pd.DataFrame, dots: pd.DataFrame) -> None:
    if found.empty:
        # Said in words: an empty row would look like an effect of zero.
        ax.text(0.01, y, "not steered", color=FAINT, fontsize=7, va="center", style="italic")
        return
    row, lane = found.iloc[0], y - 0.18
    steers = row["verdict"] == STEERS
    rows.bar(ax, lane, row["difference"], steers)
    rows.interval(ax, lane, row["difference_low"], row["difference_high"])
    rows.dots(ax, lane, dots["value"])
    for name, style in CONTROLS.items():
        here = y + LANES[name]
        rows.interval(ax, here, row[f"{name}_low"], row[f"{name}_high"], style.colour)
        rows.mark(ax, here, row[name], style)
    rows.verdict(ax, lane, row["verdict"], steers)


def _ends(verdicts: pd.DataFrame, dots: pd.DataFrame) -> tuple[float, float]:
    """
    Choose a column's axis limits; 0 and 1 where nothing is known, or all is 0.

    They leave room for 0, every mean and dot, intervals that are not too long, and the verdicts.
    """
    # With two seeds a t interval is 12.7 standard errors to either side: one such row would squeeze
    # all others into a corner.
    means = verdicts[["difference", *CONTROLS]]
    if not (means.abs() > 0).any(axis=None):
        return 0.0, 1.0
    low = min(0.0, 1.5 * float(np.nanmin([*means.min(), dots["value"].min()])))
    top = max(0.0, float(np.nanmax([*means.max(), dots["value"].max()])))
    long = np.nanmax([0.0, *verdicts[[f"{name}_high" for name in means]].max()])
    high = max(top, min(float(long), 1.4 * top))
    return low, high + VERDICT * (high - low)


def _handles(steering: pd.DataFrame) -> list:
    seeds = steering.groupby(["model", "organism", "recipe"])["seed"].nunique()
    positions = to_average(steering)["position"].dropna()
    unsteered = steering["vector"] == "none"
    texts, plain = (rows.counted(steering.loc[some, "n_texts"]) for some in (~unsteered, unsteered))
    return [
        rows.bar_handle(f"the difference added, of {position_names(positions)}"),
        rows.dot_handle(f"one seed (of {rows.counted(seeds)})"),
        *(rows.mark_handle(style) for style in CONTROLS.values()),
        rows.words_handle(f"{texts} texts a vector and position,"),
        rows.words_handle(f"{plain} with nothing added"),
    ]


def _cases(of_model: pd.DataFrame) -> list[Case]:
    pairs = of_model[["organism", "recipe"]].drop_duplicates()
    return list(pairs.itertuples(index=False, name=None))


def _of(frame: pd.DataFrame, model: str, case: Case) -> pd.DataFrame:
    organism, recipe = case
    here = (frame["model"] == model) & (frame["organism"] == organism)
    return frame[here & (frame["recipe"] == recipe)]
