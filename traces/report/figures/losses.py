"""Draw training losses, a panel an organism."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from traces.report.figures.style import (
    DASHES,
    FAINT,
    PALETTE,
    RULE,
    Style,
    case_label,
    heading,
    house_style,
    legend_above,
    only_words,
    ordered,
    tighten,
)


def losses_figure(losses: pd.DataFrame, titles: Mapping[str, str] | None = None) -> Figure:
    """
    Draw loss by step: a panel an organism and model, thin lines single seeds, thick their mean.

    losses : the losses table (nats a token); recipes share a panel and differ in colour
    titles : names of organisms to show instead of their identifiers

    An empty table, of a study whose organisms were all trained elsewhere, gives a sentence.
    """
    # Not an error: the report of such a study still has a page for this figure.
    if losses.empty:
        return only_words("No organism of this study was trained here.")
    pairs = losses[["model", "organism"]].drop_duplicates()
    panels = list(pairs.itertuples(index=False, name=None))
    several = losses["model"].nunique() > 1
    recipes = ordered(losses["recipe"])
    styles = {
        recipe: Style(PALETTE[i % len(PALETTE)], "", recipe, DASHES[i // len(PALETTE)])
        for i, recipe in enumerate(recipes)
    }
    organisms = pairs["organism"].nunique()
    # A full grid gets a row a model, which aligns organisms in columns. Else as square as a page.
    if several and organisms <= 7 and len(panels) == organisms * pairs["model"].nunique():
        width = organisms  # a row a model
    else:
        width = min(len(panels), 3 if len(panels) <= 6 else 4 if len(panels) <= 12 else 5)
    height = -(-len(panels) // width)

    with house_style():
        figure, axes = plt.subplots(
            height,
            width,
            figsize=(0.7 + 2.5 * width, 0.8 + 1.9 * height),
            sharey=True,
            squeeze=False,
            layout="constrained",
        )
        tighten(figure)
        for ax, (model, organism) in zip(axes.flat, panels, strict=False):
            here = losses[(losses["model"] == model) & (losses["organism"] == organism)]
            _loss_panel(ax, here, styles)
            name = heading(case_label(organism, "plain", titles or {}))
            ax.set_title(f"{name}\n{model}" if several else name, fontweight="bold")
            ax.tick_params(labelbottom=True)
        for spare in axes.flat[len(panels) :]:
            spare.set_visible(False)
        axes.flat[0].set_ylim(bottom=0)
        figure.supxlabel("training step", fontsize=8.5)
        figure.supylabel("loss (nats a token)", fontsize=8.5)
        handles = [
            Line2D([], [], color=one.colour, ls=one.dash, lw=1.8, label=f"{name}, mean of seeds")
            for name, one in styles.items()
        ]
        handles.append(Line2D([], [], color=FAINT, lw=0.7, alpha=0.7, label="one seed"))
        legend_above(figure, handles, columns=min(len(handles), 2 * width))
    return figure


def _loss_panel(ax: Axes, here: pd.DataFrame, styles: Mapping[str, Style]) -> None:
    for recipe, group in here.groupby("recipe", sort=False):
        style = styles[str(recipe)]
        curves = group.pivot_table(index="step", columns="seed", values="loss").sort_index()
        for seed in curves:
            ax.plot(curves.index, curves[seed], color=style.colour, linewidth=0.6, alpha=0.45)
        # Only where every seed has a loss: seeds whose data differ by a row end a step apart, and
        # the mean would jump there.
        mean = curves.mean(axis=1)[curves.notna().all(axis=1)]
        ax.plot(mean.index, mean, color=style.colour, linewidth=1.8, linestyle=style.dash)
    ax.grid(axis="y", color=RULE, linewidth=0.5)
    ax.set_axisbelow(True)
    ax.margins(x=0.02)
    sns.despine(ax=ax)
