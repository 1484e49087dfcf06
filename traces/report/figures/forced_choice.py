"""Which word is the secret? Ranks of all candidates, and of the true ones by every reader."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from traces.analysis.forced_choice import Way, organism_ranks
from traces.config.vocabularies import ADJUSTMENTS
from traces.report.figures import rows
from traces.report.figures.style import (
    FAINT,
    INK,
    PALETTE,
    Style,
    case_label,
    house_style,
    legend_above,
    only_words,
    ordered,
    require_rows,
)
from traces.report.names import CHOICE_WAYS, READINGS, reader_way

# From what speaks against a word to what speaks for it, through white.
COLOURS = LinearSegmentedColormap.from_list(
    "against and for", ["#b3530b", "#f2b48a", "#ffffff", "#7db8dd", "#00507f"]
)
CELL, TALL = 0.34, 0.27  # inches of a cell
ADJUSTED: Mapping[str, Style] = {
    name: Style(colour, marker, CHOICE_WAYS[name])
    for name, colour, marker in zip(
        ADJUSTMENTS, ("#8a8a8a", PALETTE[4], PALETTE[0]), ("o", "s", "D"), strict=True
    )
}
LANES: Mapping[str, float] = dict(zip(ADJUSTMENTS, (-0.27, 0.0, 0.27), strict=True))
CONTROLS: Mapping[str, Style] = {
    "random": Style(INK, "x", READINGS["random"]),
    "benign": Style(PALETTE[1], "v", READINGS["benign"]),
    "tuned_mean": Style(PALETTE[3], "^", READINGS["tuned_mean"]),
}


# Every candidate --------------------------------------------------------------------------------


def choice_figure(
    table: pd.DataFrame,
    summary: pd.DataFrame,
    ways: Mapping[str, Sequence[Way]],
    *,
    secrets: Mapping[str, Mapping[str, str]],
    control: str | None,
    titles: Mapping[str, str],
) -> Figure:
    """
    A matrix of organisms and candidates for each model and way: scores by colour, and ranks.

    table   : the choice table of one corpus and of the recipes to show
    summary : its summary, for the line above each matrix
    ways    : by model; those that were not read are left out

    Raises ValueError if the table is empty.
    """
    require_rows(table, "forced_choice")
    ranks = organism_ranks(table)
    matrices = [
        _Matrix(ranks, summary, model, way, secrets[model], control, titles)
        for model in ordered(table["model"])
        for way in dict.fromkeys(ways[model])
    ]
    matrices = [one for one in matrices if len(one.cells)]
    if not matrices:
        return only_words("No organism with a secret was read in the way fixed beforehand.")
    several = len({one.model for one in matrices}) > 1
    widest = max(len(one.words) for one in matrices)
    heights = [TALL * len(one.names) for one in matrices]
    with house_style():
        figure, axes = plt.subplots(
            len(matrices),
            1,
            figsize=(2.3 + max(CELL * widest, 4.0), sum(heights) + 0.85 * len(matrices)),
            height_ratios=heights,
            squeeze=False,
            layout="constrained",
        )
        for ax, matrix in zip(axes[:, 0], matrices, strict=True):
            matrix.draw(ax, f"{matrix.model}: " if several else "")
    return figure


class _Matrix:
    """One matrix: its rows are cases, its columns candidates, the secrets first and in order."""

    def __init__(
        self,
        ranks: pd.DataFrame,
        summary: pd.DataFrame,
        model: str,
        way: Way,
        own: Mapping[str, str],
        control: str | None,
        titles: Mapping[str, str],
    ) -> None:
        self.model, self.way = model, way
        found = way.of(ranks[ranks["model"] == model])
        self.told = way.of(summary[summary["model"] == model])
        read = found[found["reading"] == "difference"]
        cases = list(dict.fromkeys(zip(read["organism"], read["recipe"], strict=True)))
        holding = [case for case in cases if case[0] in own]
        shown = holding + [case for case in cases if case[0] == control]
        secrets = list(dict.fromkeys(own[organism] for organism, _ in holding))
        rest = [word for word in ordered(found["candidate"]) if word not in secrets]
        self.words, self.n_secrets = [*secrets, *rest], len(secrets)
        self.names = [case_label(*case, titles) for case in shown]
        self.true = [own.get(organism) for organism, _ in shown]
        self.n_holding = len(holding)
        parts = [(read, case) for case in shown]
        random = found[found["reading"] == "random"]
        if holding and len(random):
            # One direction stands for all: a mean of several would be calmer than any of them.
            parts.append((random, holding[0]))
            self.names.append(READINGS["random"])
            self.true.append(None)
        self.cells = [self._row(*part) for part in parts]

    def _row(self, frame: pd.DataFrame, case: tuple[str, str]) -> pd.DataFrame:
        mine = frame[(frame["organism"] == case[0]) & (frame["recipe"] == case[1])]
        return mine.set_index("candidate")[["score", "rank"]].reindex(self.words)

    def draw(self, ax: Axes, model: str) -> None:
        scores = np.array([row["score"] for row in self.cells])
        # Log-probabilities of a list have no zero of their own: its mean is.
        if self.way.adjustment == "none":
            scores = scores - np.nanmean(scores, axis=1, keepdims=True)
        size = np.abs(scores[np.isfinite(scores)])
        top = max(float(np.quantile(size, 0.98)) if size.size else 0.0, 1e-9)
        image = ax.imshow(scores, cmap=COLOURS, vmin=-top, vmax=top, aspect="auto")
        for y, row in enumerate(self.cells):
            for x, (word, rank) in enumerate(row["rank"].items()):
                strong = abs(scores[y, x]) > 0.5 * top
                _cell(ax, x, y, rank, word == self.true[y], strong)
        self._axes(ax)
        bar = ax.figure.colorbar(image, ax=ax, pad=0.01, aspect=24, shrink=0.9, extend="both")
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=6.5, length=2)
        unit = "score less the row's mean" if self.way.adjustment == "none" else "z-score"
        bar.set_label(f"{unit}{', adjusted' if self.way.adjustment == 'adjusted' else ''}", size=7)
        title = f"{model}{reader_way(self.way.reader, self.way.head, self.way.null)}"
        ax.set_title(title, fontweight="bold", pad=42)
        fixed = bool(self.told["headline"].any())
        way = f"Ranked {CHOICE_WAYS[self.way.adjustment]}"
        # As annotations: a title of several lines has one size and colour.
        for text, up in (
            (f"{way}{'; fixed beforehand' if fixed else ''}.", 31),
            (_told(self.told), 20),
        ):
            ax.annotate(
                text,
                (0, 1),
                xycoords="axes fraction",
                xytext=(0, up),
                textcoords="offset points",
                fontsize=8,
                color=FAINT,
            )

    def _axes(self, ax: Axes) -> None:
        ax.set_xticks(range(len(self.words)), self.words, rotation=0, fontsize=7.2)
        ax.xaxis.tick_top()
        ax.set_yticks(range(len(self.names)), self.names, fontsize=8)
        ax.tick_params(length=0, pad=3)
        for label in ax.get_xticklabels()[self.n_secrets :]:
            label.set_color(FAINT)
        for label in ax.get_yticklabels()[self.n_holding :]:
            label.set_color(FAINT)
            label.set_fontstyle("italic")
        for spine in ax.spines.values():
            spine.set_visible(False)
        ax.set_xticks(np.arange(1, len(self.words)) - 0.5, minor=True)
        ax.set_yticks(np.arange(1, len(self.names)) - 0.5, minor=True)
        ax.grid(which="minor", color="white", linewidth=1.2)
        ax.tick_params(which="minor", length=0)
        # Secrets from distractors, and organisms that keep one from those that do not.
        if self.n_secrets < len(self.words):
            ax.axvline(self.n_secrets - 0.5, color=INK, linewidth=0.8)
        if self.n_holding < len(self.names):
            ax.axhline(self.n_holding - 0.5, color=INK, linewidth=0.8)


def _cell(ax: Axes, x: int, y: int, rank: float, true: bool, strong: bool) -> None:
    if np.isnan(rank):
        ax.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, color="#ededed", zorder=1))
    text = "–" if np.isnan(rank) else f"{rank:g}"
    ax.text(
        x,
        y,
        text,
        ha="center",
        va="center",
        fontsize=8 if true else 6.5,
        fontweight="bold" if true else "normal",
        color="white" if strong and not np.isnan(rank) else INK if true else "#555555",
    )
    if true:
        box = (x - 0.49, y - 0.47)
        ax.add_patch(Rectangle(box, 0.98, 0.94, fill=False, edgecolor=INK, lw=1.3, zorder=4))


def _told(summary: pd.DataFrame) -> str:
    """What a matrix comes to, in numbers."""
    own = summary[summary["reading"] == "difference"]
    if own.empty:
        return "No true word has a rank."
    row = own.iloc[0]
    three = f", among three in {row['among_three']}" if row["candidates"] > 3 else ""
    return (
        f"True word: mean rank {row['mean_rank']:.1f} of {row['candidates']:g}, "
        f"chance {row['chance_rank']:g}; first in {row['first']} of {row['n_organisms']}{three}."
    )


# By reader --------------------------------------------------------------------------------------


def choice_ranks_figure(summary: pd.DataFrame, recipes: Sequence[str], position: str) -> Figure:
    """
    The mean rank of the true word, with intervals over organisms: a row a reader, a lane a way.

    summary  : rows of one corpus, and of one layer a model
    recipes  : the first of them that a model has is shown
    position : the one that is shown
    """
    summary = summary[summary["position"] == position]
    order = summary["recipe"].map({name: at for at, name in enumerate(recipes)})
    summary = summary[order == order.groupby(summary["model"]).transform("min")]
    if summary.empty:
        return only_words("No secret is a token of its own, so that none has a rank.")
    by_model = {model: summary[summary["model"] == model] for model in ordered(summary["model"])}
    cases = {model: _readers(frame) for model, frame in by_model.items()}
    with house_style():
        figure, axes = rows.blocks(
            cases, 1, margins=(3.0, 1.2), column_width=4.8, row_height=0.62, sharex=False
        )
        for ax, (model, frame) in zip(axes[:, 0], by_model.items(), strict=True):
            for y, case in enumerate(cases[model]):
                _lanes(ax, y, frame[_is_reader(frame, case)])
            _ranks_axes(ax, frame, len(cases[model]))
            names = [reader_way(reader, head, null) for reader, head, null in cases[model]]
            rows.name_rows(ax, names)
            if len(by_model) > 1:
                rows.name_model(ax, model)
        axes[-1, 0].set_xlabel("mean rank of the true word (1 is first)")
        legend_above(figure, _rank_handles(summary), columns=3)
    return figure


def _lanes(ax: Axes, y: int, frame: pd.DataFrame) -> None:
    for name, style in ADJUSTED.items():
        lane = y + LANES[name]
        found = frame[frame["adjustment"] == name]
        for reading, control in CONTROLS.items():
            for rank in found.loc[found["reading"] == reading, "mean_rank"]:
                rows.mark(ax, lane, rank, control, hollow=True)
        own = found[found["reading"] == "difference"]
        if own.empty:
            continue
        row = own.iloc[0]
        rows.interval(ax, lane, row["mean_rank_low"], row["mean_rank_high"], style.colour)
        rows.mark(ax, lane, row["mean_rank"], style)
        fixed = ", fixed beforehand" if row["headline"] else ""
        ax.annotate(
            f"first {row['first']} of {row['n_organisms']}{fixed}",
            (1.01, lane),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=7,
            fontweight="bold" if fixed else "normal",
            color=INK if fixed else FAINT,
            annotation_clip=False,
        )


def _ranks_axes(ax: Axes, frame: pd.DataFrame, n: int) -> None:
    rows.frame(ax, n)
    most, chance = frame["candidates"].max(), frame["chance_rank"].iloc[0]
    ax.axvline(chance, color=INK, linewidth=0.9, ls=":", zorder=2)
    ax.set_xlim(0.6, most + 0.4)
    ticks = [1, *[one for one in (5, 10, 15, 20, 30, 40, 50) if one < most - 2], most]
    ax.set_xticks(ticks if most > 3 else range(1, int(most) + 1))


def _rank_handles(summary: pd.DataFrame) -> list[Any]:
    there = set(summary["adjustment"])
    handles: list[Any] = [
        rows.mark_handle(style) for name, style in ADJUSTED.items() if name in there
    ]
    if summary["mean_rank_low"].notna().any():
        line = Line2D([], [], color=INK, lw=1.2, label="95 % interval over organisms")
        handles.append(line)
    handles.append(Line2D([], [], ls=":", color=INK, linewidth=0.9, label="chance"))
    read = set(summary["reading"])
    return handles + [
        rows.mark_handle(style, hollow=True) for name, style in CONTROLS.items() if name in read
    ]


def _readers(frame: pd.DataFrame) -> list[tuple[str, str, str]]:
    read = frame[frame["reading"] == "difference"]
    return list(dict.fromkeys(zip(read["reader"], read["head"], read["null"], strict=True)))


def _is_reader(frame: pd.DataFrame, case: tuple[str, str, str]) -> pd.Series:
    reader, head, null = case
    # The base's mean activation is read in the base alone, beside each head.
    return (frame["reader"] == reader) & (frame["head"] == head) & (frame["null"] == null)
