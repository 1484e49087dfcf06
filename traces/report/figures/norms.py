"""Draw norm and static share of the difference, by position and layer."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from traces.analysis.statistics import mean_interval
from traces.report.figures.style import (
    RULE,
    Style,
    house_style,
    ordered,
    require_rows,
    series_legend,
    series_styles,
    thinned,
    tighten,
)
from traces.report.names import MEASURES


def norms_figure(norms: pd.DataFrame, titles: Mapping[str, str] | None = None) -> Figure:
    """
    Draw norm and static share: x position, a line an organism, a column a corpus and layer.

    norms  : the norms table; relative norm above, static share below, a pair of rows a model;
             bars are 95 % t intervals over seeds
    titles : names of organisms to show instead of their identifiers

    Raises ValueError if the table is empty.
    """
    require_rows(norms, "norms")
    models = ordered(norms["model"])
    columns = {model: _columns(norms[norms["model"] == model]) for model in models}
    width = max(map(len, columns.values()))
    styles = series_styles(norms, titles)
    measures = {name: MEASURES[name].label for name in ("relative_norm", "static_share")}

    with house_style():
        figure, axes = plt.subplots(
            len(models) * len(measures),
            width,
            figsize=(1.6 + 2.9 * width, 0.9 + 2.05 * len(measures) * len(models)),
            squeeze=False,
            layout="constrained",
        )
        tighten(figure)
        for i, model in enumerate(models):
            of_model = norms[norms["model"] == model]
            for k, (measure, label) in enumerate(measures.items()):
                line = axes[i * len(measures) + k]
                # One scale for all corpora and layers of a model, so that columns can be compared;
                # not over models, whose residual streams differ.
                top = 1.02 if measure == "static_share" else of_model[measure].max() * 1.15
                for j, ax in enumerate(line):
                    if j >= len(columns[model]):
                        ax.set_visible(False)
                        continue
                    corpus, layer = columns[model][j]
                    here = of_model[(of_model["corpus"] == corpus) & (of_model["layer"] == layer)]
                    _norm_panel(ax, here, measure, styles)
                    ax.set_ylim(0, top)  # an interval may leave at the top, a mean may not
                    if k == 0:
                        title = f"{corpus}, after block {layer}"
                        named = f"{model}\n{title}" if len(models) > 1 else title
                        ax.set_title(named, fontweight="bold")
                    ax.set_ylabel(label if j == 0 else "")
                    ax.set_xlabel("token position" if k == len(measures) - 1 else "")
        series_legend(figure, styles, titles or {})
    return figure


def _norm_panel(ax: Axes, here: pd.DataFrame, measure: str, styles: Mapping[tuple, Style]) -> None:
    positions = sorted(here["position"].unique())
    series = list(here.groupby(["organism", "recipe"], sort=False))
    # Series are set apart sideways, or their intervals would cover one another.
    offsets = np.linspace(-0.5, 0.5, len(series)) * min(0.5, 0.05 * (len(series) - 1))
    for (case, group), offset in zip(series, offsets, strict=True):
        style = styles[case]
        found = [mean_interval(group.loc[group["position"] == at, measure]) for at in positions]
        means = np.array([one.mean for one in found])
        low, high = (np.array([getattr(one, end) for one in found]) for end in ("low", "high"))
        # Equally spaced, whatever the positions: 0 to 4 and then 31 would leave the first in a
        # heap.
        xs = np.arange(len(positions)) + offset
        ax.vlines(xs, np.maximum(low, 0), high, color=style.colour, linewidth=0.9, alpha=0.6)
        ax.plot(
            xs,
            means,
            color=style.colour,
            linestyle=style.dash,
            marker=style.marker,
            markersize=4.2,
            markeredgecolor="white",
            markeredgewidth=0.5,
            linewidth=1.3,
        )
    shown = thinned(positions)
    labels = [f"{at}{_sinks(here[here['position'] == at])}" for at in shown]
    ax.set_xticks([positions.index(at) for at in shown], labels)
    ax.grid(axis="y", color=RULE, linewidth=0.5)
    ax.set_axisbelow(True)
    sns.despine(ax=ax)


def _sinks(at: pd.DataFrame) -> str:
    """Say in how many texts the base has an attention sink at a position; nothing for none."""
    share = (at["sinks_base"] / at["n_samples"]).max()
    return f"\nsink in\n{share:.0%}" if share > 0 else ""


def _columns(of_model: pd.DataFrame) -> list[tuple]:
    pairs = of_model[["corpus", "layer"]].drop_duplicates()
    return sorted(pairs.itertuples(index=False, name=None))
