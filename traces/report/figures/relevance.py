"""Is the training readable? Each organism beside its controls, a panel a lens."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from traces.analysis.controls import CONTROLS
from traces.analysis.verdicts import READABLE
from traces.config.readers import in_order
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
    plain,
    require_rows,
)
from traces.report.names import GRADED, position_names, reader_at_headline

READINGS: Mapping[str, Style] = {
    "difference": Style(rows.DIFFERENCE, "o", GRADED["difference"]),
    "benign": Style("#D55E00", "D", GRADED["benign"]),
    "random": Style("#8a8a8a", "X", GRADED["random"]),
    "base_mean": Style("#009E73", "s", GRADED["base_mean"]),
    "tuned_mean": Style("#CC79A7", "^", GRADED["tuned_mean"]),
    "other_words": Style("#E69F00", "v", GRADED["other_words"]),
}

CONTROL_LANES = dict(zip(CONTROLS, np.linspace(0.06, 0.40, len(CONTROLS)), strict=True))
DIFFERENCE_LANE = -0.2
SHARE = (0.0, 1.0)
# A wider picture is too small to read on a page.
ABREAST = 3
"Columns at most; more readers go on below."


def relevance_figure(
    readability: pd.DataFrame,
    seeds: pd.DataFrame,
    titles: Mapping[str, str] | None = None,
    positions: Iterable[int] = (),
) -> Figure:
    """
    Each organism's relevance beside its controls: a row an organism, a panel a lens.

    Models are blocks of rows, one below the other. More than `ABREAST` lenses take several blocks.

    readability : the readability table (means, intervals, chance, verdicts)
    seeds       : tables.seed_table of the same relevance table; its dots are single seeds
    titles      : names of organisms to show instead of their identifiers
    positions   : those that relevance is a mean over, which the legend names

    Raises ValueError if the table is empty.
    """
    require_rows(readability, "readability")
    models = ordered(readability["model"])
    abreast = _abreast(in_order(readability["lens"]))
    cases = {
        (model, band): _cases(readability[readability["model"] == model])
        for model in models
        for band in range(len(abreast))
    }
    titles = titles or {}
    top = _axis_top(readability, seeds)
    row_height = 0.56 if max(map(len, cases.values())) <= 12 else 0.46

    with house_style():
        figure, axes = rows.blocks(
            cases, len(abreast[0]), margins=(2.1, 1.3), column_width=3.6, row_height=row_height
        )
        for line, ((model, band), of_model) in zip(axes, cases.items(), strict=True):
            rows.name_rows(line[0], *_names(of_model, titles))
            if len(models) > 1:
                rows.name_model(line[0], model)
            # The last band may be shorter.
            for ax in line[len(abreast[band]) :]:
                ax.remove()
            for ax, lens in zip(line, abreast[band], strict=False):
                _relevance_panel(ax, of_model, _of(readability, model, lens), seeds)
                ax.set_xlim(0, top)
                ax.set_xticks([tick for tick in ax.get_xticks() if tick <= 1])
                named = len(abreast) > 1 or model == models[0]
                ax.set_title(reader_at_headline(lens) if named else "", fontweight="bold")
                if len(abreast) > 1 or model == models[-1]:
                    ax.set_xlabel("share of the top tokens\namong the organism's words")
                    ax.tick_params(labelbottom=True)
        legend_above(figure, _relevance_handles(readability, list(positions)), columns=4)
    return figure


def _abreast(lenses: Sequence[str]) -> list[Sequence[str]]:
    """The lenses in bands of much the same length, each at most `ABREAST` long."""
    bands = -(-len(lenses) // ABREAST)
    length = -(-len(lenses) // bands)
    return [lenses[start : start + length] for start in range(0, len(lenses), length)]


def _relevance_panel(
    ax: Axes, cases: list[tuple], table: pd.DataFrame, seeds: pd.DataFrame
) -> None:
    for y, case in enumerate(cases):
        found = table[_is_case(table, case)]
        if found.empty:
            ax.text(0.01, y, "not read", color=FAINT, fontsize=7, va="center", style="italic")
            continue
        row = found.iloc[0]
        of_case = seeds[_is_case(seeds, case)]
        of_case = of_case[(of_case["lens"] == row["lens"]) & (of_case["model"] == row["model"])]
        _draw_difference(ax, y, row, of_case)
        _draw_controls(ax, y, row)
    rows.frame(ax, len(cases))
    percent(ax.xaxis)


def _draw_difference(ax: Axes, y: int, row: pd.Series, seeds: pd.DataFrame) -> None:
    lane, readable = y + DIFFERENCE_LANE, row["verdict"] == READABLE
    rows.bar(ax, lane, row["relevance"], readable)
    rows.interval(ax, lane, row["relevance_low"], row["relevance_high"], within=SHARE)
    rows.dots(ax, lane, seeds.loc[seeds["reading"] == "difference", "relevance"])
    rows.verdict(ax, lane, row["verdict"], readable)
    if row["n"] < row["candidates"]:
        few = f"{row['n']:.1f} of {row['candidates']:.0f} tokens"
        # Below the verdict: at the left are the controls.
        ax.annotate(
            few,
            (1.0, lane + 0.22),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="center",
            fontsize=6.5,
            color=FAINT,
        )


def _draw_controls(ax: Axes, y: int, row: pd.Series) -> None:
    for name, lane in CONTROL_LANES.items():
        if np.isnan(row[name]):
            continue
        style, ends = READINGS[name], (row[f"{name}_low"], row[f"{name}_high"])
        rows.interval(ax, y + lane, *ends, style.colour, within=SHARE)
        rows.mark(ax, y + lane, row[name], style)
    if not np.isnan(row["chance"]):
        span = [y - 0.44, y + 0.46]
        ax.plot([row["chance"]] * 2, span, ":", color=INK, linewidth=0.9, zorder=2)


def _relevance_handles(readability: pd.DataFrame, positions: Sequence[int]) -> list:
    over = f", mean over {position_names(positions)}" if positions else ""
    label = f"{READINGS['difference'].label}{over}"
    handles: list = [rows.bar_handle(label), rows.dot_handle("one seed")]
    if readability["relevance_low"].notna().any():
        handles.append(rows.interval_handle())
    if readability["chance"].notna().any():
        handles.append(Line2D([], [], ls=":", color=INK, linewidth=0.9, label="chance"))
    handles += [
        rows.mark_handle(style)
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


def _names(cases: list[tuple], titles: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """What a row is, and its family, with corpus and layer where these differ."""
    names = [case_label(organism, recipe, titles) for organism, recipe, *_ in cases]
    below = [
        plain(family) + (f", {corpus}, block {layer}" if qualified else "")
        for _, _, corpus, layer, family, qualified in cases
    ]
    return names, below


def _cases(of_model: pd.DataFrame) -> list[tuple]:
    """(organism, recipe, corpus, layer, family, qualified): the rows of a model's block."""
    found = of_model[["organism", "recipe", "corpus", "layer", "family"]].drop_duplicates()
    qualified = len(found[["corpus", "layer"]].drop_duplicates()) > 1
    return [(*row, qualified) for row in found.itertuples(index=False, name=None)]


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
