"""
Pictures: tidy table in, matplotlib Figure out. One palette for the house.

    relevance_figure   is the training readable? each organism beside its controls, a column a lens
    norms_figure       how large is the difference, and how static? by position and layer
    losses_figure      did the training converge? a panel an organism

Colours are those of Okabe and Ito, which stay apart for colour-blind readers; where a picture needs
more hands than colours, markers and dashes take over. Nothing here writes a file but `save`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

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
from matplotlib.ticker import PercentFormatter

from traces.statistics import mean_interval
from traces.tables import CONTROLS

INK, FAINT, RULE = "#222222", "#767676", "#d9d9d9"
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6BB1", "#5A5A5A")
MARKERS = ("o", "s", "^", "D", "v", "h", "<", ">", "p", "d", "P", "X", "*", "H")
DASHES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (6, 3)))

DIFFERENCE_COLOUR, SEED_COLOUR = "#0072B2", "#00324f"
LENS_NAMES = {"logit_lens": "Logit lens", "patchscope": "Patchscope at the norm-matched scale"}


@dataclass(frozen=True)
class Style:
    """How one series is drawn."""

    colour: str
    marker: str
    label: str
    dash: str | tuple = "-"


READINGS: Mapping[str, Style] = {
    "difference": Style(DIFFERENCE_COLOUR, "o", "difference, own words"),
    "benign": Style("#D55E00", "D", "benign organism, same words"),
    "random": Style("#8a8a8a", "X", "random direction"),
    "base_mean": Style("#009E73", "s", "mean base activation"),
    "tuned_mean": Style("#CC79A7", "^", "mean tuned activation"),
    "other_words": Style("#E69F00", "v", "difference, others' words"),
}


@contextmanager
def house_style() -> Iterator[None]:
    """Fonts, spines and sizes of every picture; restores matplotlib's own on leaving."""
    with plt.rc_context(), sns.axes_style("ticks"), sns.plotting_context("paper"):
        plt.rcParams.update(
            {
                "font.family": "sans-serif",
                "font.sans-serif": ["DejaVu Sans"],
                "text.color": INK,
                "axes.labelcolor": INK,
                "axes.edgecolor": "#8c8c8c",
                "axes.linewidth": 0.7,
                "axes.titlesize": 9.5,
                "axes.titlelocation": "left",
                "axes.labelsize": 8.5,
                "xtick.color": "#555555",
                "ytick.color": "#555555",
                "xtick.labelsize": 8,
                "ytick.labelsize": 8,
                "legend.fontsize": 8,
                "legend.frameon": False,
                "pdf.fonttype": 42,
                "figure.dpi": 150,
            }
        )
        yield


def save(figure: Figure, png: Path, pdf: Path) -> None:
    """Write a figure as PNG (150 dpi) and PDF, without dates: one table, one pair of files."""
    for path, metadata in ((png, {"Software": None}), (pdf, {"CreationDate": None})):
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150, bbox_inches="tight", pad_inches=0.08, metadata=metadata)
    plt.close(figure)


# Relevance --------------------------------------------------------------------------------------

CONTROL_LANES = dict(zip(CONTROLS, np.linspace(0.06, 0.40, len(CONTROLS)), strict=True))
DIFFERENCE_LANE, BAR_HEIGHT = -0.2, 0.3


def relevance_figure(
    readability: pd.DataFrame, seeds: pd.DataFrame, titles: Mapping[str, str] | None = None
) -> Figure:
    """
    Each organism's relevance beside its controls: a row an organism, a column a lens.

    Models are blocks of rows, one below the other.

    readability : the readability table (means, intervals, chance, verdicts)
    seeds       : tables.seed_table of the same relevance table; its dots are single seeds
    titles      : names of organisms to show instead of their identifiers

    Raises ValueError if the table is empty.
    """
    _require_rows(readability, "readability")
    models, lenses = _ordered(readability["model"]), _ordered(readability["lens"])
    rows = {model: _cases(readability[readability["model"] == model]) for model in models}
    titles = titles or {}
    top = _axis_top(readability, seeds)
    row_height = 0.56 if max(map(len, rows.values())) <= 12 else 0.46
    heights = [row_height * len(rows[model]) for model in models]

    with house_style():
        figure, axes = plt.subplots(
            len(models),
            len(lenses),
            figsize=(2.1 + 3.6 * len(lenses), 1.3 + sum(heights) + 0.45 * len(models)),
            height_ratios=heights,
            sharex=True,
            squeeze=False,
            layout="constrained",
        )
        _tighten(figure)
        for i, model in enumerate(models):
            for j, lens in enumerate(lenses):
                ax = axes[i, j]
                _relevance_panel(ax, rows[model], _of(readability, model, lens), seeds)
                ax.set_xlim(0, top)
                ax.set_xticks([tick for tick in ax.get_xticks() if tick <= 1])
                ax.set_title(LENS_NAMES.get(lens, lens) if i == 0 else "", fontweight="bold")
                if j == 0:
                    _name_rows(ax, rows[model], titles)
                if len(models) > 1 and j == 0:
                    _name_model(ax, model)
        for ax in axes[-1]:
            ax.set_xlabel("share of the top tokens among the organism's words")
        _legend_above(figure, _relevance_handles(readability), columns=4)
    return figure


def _relevance_panel(
    ax: Axes, cases: list[tuple], table: pd.DataFrame, seeds: pd.DataFrame
) -> None:
    for y, case in enumerate(cases):
        if y:
            ax.axhline(y - 0.5, color=RULE, linewidth=0.6, zorder=0)
        found = table[_is_case(table, case)]
        if found.empty:
            ax.text(0.01, y, "not read", color=FAINT, fontsize=7, va="center", style="italic")
            continue
        row = found.iloc[0]
        of_case = seeds[_is_case(seeds, case)]
        of_case = of_case[(of_case["lens"] == row["lens"]) & (of_case["model"] == row["model"])]
        _draw_difference(ax, y, row, of_case)
        _draw_controls(ax, y, row)
        _draw_verdict(ax, y, row)
    ax.set_ylim(len(cases) - 0.5, -0.5)
    ax.set_yticks([])
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    sns.despine(ax=ax, left=True)
    ax.axvline(0, color="#8c8c8c", linewidth=0.7, zorder=1)


def _draw_difference(ax: Axes, y: int, row: pd.Series, seeds: pd.DataFrame) -> None:
    lane, colour = y + DIFFERENCE_LANE, READINGS["difference"].colour
    readable = row["verdict"] == "readable"
    ax.barh(lane, row["relevance"], BAR_HEIGHT, color=colour, alpha=0.55 if readable else 0.25)
    _draw_interval(ax, lane, row["relevance_low"], row["relevance_high"], INK, 1.2)
    dots = seeds.loc[seeds["reading"] == "difference", "relevance"].to_numpy()
    spread = np.linspace(-0.07, 0.07, len(dots)) if len(dots) > 1 else [0.0]
    ax.scatter(
        dots,
        lane + np.asarray(spread),
        s=10,
        color=SEED_COLOUR,
        edgecolor="white",
        linewidth=0.5,
        zorder=4,
        clip_on=False,
    )


def _draw_controls(ax: Axes, y: int, row: pd.Series) -> None:
    for name, lane in CONTROL_LANES.items():
        if np.isnan(row[name]):
            continue
        style = READINGS[name]
        _draw_interval(ax, y + lane, row[f"{name}_low"], row[f"{name}_high"], style.colour, 0.9)
        ax.plot(
            row[name],
            y + lane,
            style.marker,
            color=style.colour,
            markersize=4.2,
            markeredgecolor="white",
            markeredgewidth=0.4,
            clip_on=False,
            zorder=5,
        )
    if not np.isnan(row["chance"]):
        span = [y - 0.44, y + 0.46]
        ax.plot([row["chance"]] * 2, span, ":", color=INK, linewidth=0.9, zorder=2)


def _draw_interval(ax: Axes, y: float, low: float, high: float, colour: str, width: float) -> None:
    """A t interval, drawn as far as a share can go."""
    if np.isnan(low):
        return
    ax.plot([max(low, 0.0), min(high, 1.0)], [y, y], color=colour, linewidth=width, zorder=3)


def _draw_verdict(ax: Axes, y: int, row: pd.Series) -> None:
    readable = row["verdict"] == "readable"
    ax.annotate(
        row["verdict"],
        (1.0, y + DIFFERENCE_LANE),
        xycoords=("axes fraction", "data"),
        xytext=(-1, 0),
        textcoords="offset points",
        ha="right",
        va="center",
        fontsize=7.5,
        color=DIFFERENCE_COLOUR if readable else FAINT,
        fontweight="bold" if readable else "normal",
        style="italic" if row["verdict"] == "undecided" else "normal",
    )


def _relevance_handles(readability: pd.DataFrame) -> list:
    handles: list = [
        Patch(color=DIFFERENCE_COLOUR, alpha=0.55, label=READINGS["difference"].label),
        Line2D([], [], ls="", marker="o", ms=3.5, color=SEED_COLOUR, label="one seed"),
    ]
    if readability["relevance_low"].notna().any():
        handles.append(Line2D([], [], color=INK, lw=1.2, label="95 % interval over seeds"))
    if readability["chance"].notna().any():
        handles.append(Line2D([], [], ls=":", color=INK, linewidth=0.9, label="chance"))
    handles += [
        Line2D([], [], ls="", marker=style.marker, ms=5, color=style.colour, label=style.label)
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


# Norms ------------------------------------------------------------------------------------------


def norms_figure(norms: pd.DataFrame, titles: Mapping[str, str] | None = None) -> Figure:
    """
    How large and how static the difference is: x position, a line an organism, a column a layer.

    norms  : the norms table; relative norm above, static share below, a pair of rows a model;
             bars are 95 % t intervals over seeds
    titles : names of organisms to show instead of their identifiers

    Raises ValueError if the table is empty.
    """
    _require_rows(norms, "norms")
    models = _ordered(norms["model"])
    columns = {model: _columns(norms[norms["model"] == model]) for model in models}
    width = max(map(len, columns.values()))
    styles = series_styles(norms, titles)
    measures = {
        "relative_norm": "norm of the difference\n(share of the stream's)",
        "static_share": "static share of\nthe difference's energy",
    }

    with house_style():
        figure, axes = plt.subplots(
            len(models) * len(measures),
            width,
            figsize=(1.6 + 2.9 * width, 0.9 + 2.05 * len(measures) * len(models)),
            squeeze=False,
            layout="constrained",
        )
        _tighten(figure)
        for i, model in enumerate(models):
            of_model = norms[norms["model"] == model]
            for k, (measure, label) in enumerate(measures.items()):
                line = axes[i * len(measures) + k]
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
                        named = f"{model} | {title}" if len(models) > 1 else title
                        ax.set_title(named, fontweight="bold")
                    ax.set_ylabel(label if j == 0 else "")
                    ax.set_xlabel("token position" if k == len(measures) - 1 else "")
        _series_legend(figure, styles, titles or {})
    return figure


def _norm_panel(ax: Axes, here: pd.DataFrame, measure: str, styles: Mapping[tuple, Style]) -> None:
    positions = sorted(here["position"].unique())
    series = list(here.groupby(["organism", "recipe"], sort=False))
    offsets = np.linspace(-0.5, 0.5, len(series)) * min(0.5, 0.05 * (len(series) - 1))
    for (case, group), offset in zip(series, offsets, strict=True):
        style = styles[case]
        found = [mean_interval(group.loc[group["position"] == at, measure]) for at in positions]
        means = np.array([one.mean for one in found])
        low, high = (np.array([getattr(one, end) for one in found]) for end in ("low", "high"))
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
    shown = _thinned(positions)
    ax.set_xticks([positions.index(at) for at in shown], [str(at) for at in shown])
    ax.grid(axis="y", color=RULE, linewidth=0.5)
    ax.set_axisbelow(True)
    sns.despine(ax=ax)


def _thinned(positions: Sequence[int], most: int = 9) -> list[int]:
    step = -(-len(positions) // most)
    return list(positions)[::step]


# Losses -----------------------------------------------------------------------------------------


def losses_figure(losses: pd.DataFrame, titles: Mapping[str, str] | None = None) -> Figure:
    """
    Training loss by step: a panel an organism and model, thin lines single seeds, thick their mean.

    losses : the losses table (nats a token); recipes share a panel and differ in colour
    titles : names of organisms to show instead of their identifiers

    An empty table, of a study whose organisms were all trained elsewhere, says so.
    """
    if losses.empty:
        return _only_words("No organism of this study was trained here.")
    pairs = losses[["model", "organism"]].drop_duplicates()
    panels = list(pairs.itertuples(index=False, name=None))
    several = losses["model"].nunique() > 1
    recipes = _ordered(losses["recipe"])
    styles = {
        recipe: Style(PALETTE[i % len(PALETTE)], "", recipe, DASHES[i // len(PALETTE)])
        for i, recipe in enumerate(recipes)
    }
    organisms = pairs["organism"].nunique()
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
        _tighten(figure)
        for ax, (model, organism) in zip(axes.flat, panels, strict=False):
            here = losses[(losses["model"] == model) & (losses["organism"] == organism)]
            _loss_panel(ax, here, styles)
            name = _case_label(organism, "plain", titles or {})
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
        _legend_above(figure, handles, columns=min(len(handles), 2 * width))
    return figure


def _loss_panel(ax: Axes, here: pd.DataFrame, styles: Mapping[str, Style]) -> None:
    for recipe, group in here.groupby("recipe", sort=False):
        style = styles[str(recipe)]
        curves = group.pivot_table(index="step", columns="seed", values="loss").sort_index()
        for seed in curves:
            ax.plot(curves.index, curves[seed], color=style.colour, linewidth=0.6, alpha=0.45)
        mean = curves.mean(axis=1)[curves.notna().all(axis=1)]
        ax.plot(mean.index, mean, color=style.colour, linewidth=1.8, linestyle=style.dash)
    ax.grid(axis="y", color=RULE, linewidth=0.5)
    ax.set_axisbelow(True)
    ax.margins(x=0.02)
    sns.despine(ax=ax)


# Shared -----------------------------------------------------------------------------------------


def series_styles(
    frame: pd.DataFrame, titles: Mapping[str, str] | None = None
) -> dict[tuple, Style]:
    """
    One style an (organism, recipe). Few organisms: a colour each; many: a colour a family and a
    marker each. Recipes of an organism share its colour and differ in dash.
    """
    pairs = frame[["organism", "family", "recipe"]].drop_duplicates()
    recipes, families = _ordered(pairs["recipe"]), _ordered(pairs["family"])
    organisms = pairs.drop_duplicates("organism")
    looks: dict[str, tuple[str, str]] = {}
    used: Counter[str] = Counter()
    for i, (organism, family) in enumerate(
        zip(organisms["organism"], organisms["family"], strict=True)
    ):
        if len(organisms) <= len(PALETTE):
            looks[organism] = (PALETTE[i], MARKERS[i])
            continue
        colour = PALETTE[families.index(family) % len(PALETTE)]
        looks[organism] = (colour, MARKERS[used[colour] % len(MARKERS)])
        used[colour] += 1
    return {
        (organism, recipe): Style(
            *looks[organism],
            _case_label(organism, recipe, titles or {}),
            DASHES[recipes.index(recipe) % len(DASHES)],
        )
        for organism, recipe in zip(pairs["organism"], pairs["recipe"], strict=True)
    }


def _series_legend(
    figure: Figure, styles: Mapping[tuple, Style], titles: Mapping[str, str]
) -> None:
    """Each series where there are few; else organisms by colour and marker, recipes by dash."""
    series = list(styles.values())
    if len(series) > len(PALETTE):
        first: dict[str, Style] = {}
        for (organism, _), style in styles.items():
            first.setdefault(organism, style)
        recipes = {recipe: style.dash for (_, recipe), style in styles.items()}
        series = [
            Style(one.colour, one.marker, _case_label(organism, "plain", titles))
            for organism, one in first.items()
        ]
        if len(recipes) > 1:
            series += [Style(FAINT, "", recipe, dash) for recipe, dash in recipes.items()]
    handles = [
        Line2D([], [], color=one.colour, ls=one.dash, marker=one.marker, ms=4.5, label=one.label)
        for one in series
    ]
    _legend_above(figure, handles, columns=max(2, int(figure.get_figwidth() / 1.55)))


def _legend_above(figure: Figure, handles: list, columns: int) -> None:
    figure.legend(
        handles=handles,
        loc="outside upper left",
        ncols=min(columns, len(handles)),
        handlelength=1.8,
        columnspacing=1.4,
        borderaxespad=0.2,
    )


def _tighten(figure: Figure) -> None:
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.set(h_pad=0.03, w_pad=0.05, hspace=0.02)  # type: ignore[call-arg]


def _name_rows(ax: Axes, cases: list[tuple], titles: Mapping[str, str]) -> None:
    for y, (organism, recipe, corpus, layer, family, qualified) in enumerate(cases):
        place = f", {corpus}, block {layer}" if qualified else ""
        for text, offset, colour, size in (
            (_case_label(organism, recipe, titles), 1, INK, 8.5),
            (f"{_words(family)}{place}", -9, FAINT, 7),
        ):
            ax.annotate(
                text,
                (0, y),
                xycoords=("axes fraction", "data"),
                xytext=(-6, offset),
                textcoords="offset points",
                ha="right",
                va="bottom" if offset > 0 else "baseline",
                fontsize=size,
                color=colour,
            )


def _name_model(ax: Axes, model: str) -> None:
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


def _cases(of_model: pd.DataFrame) -> list[tuple]:
    """(organism, recipe, corpus, layer, family, qualified): the rows of a model's block."""
    rows = of_model[["organism", "recipe", "corpus", "layer", "family"]].drop_duplicates()
    qualified = len(rows[["corpus", "layer"]].drop_duplicates()) > 1
    return [(*row, qualified) for row in rows.itertuples(index=False, name=None)]


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


def _columns(of_model: pd.DataFrame) -> list[tuple]:
    pairs = of_model[["corpus", "layer"]].drop_duplicates()
    return sorted(pairs.itertuples(index=False, name=None))


def _case_label(organism: str, recipe: str, titles: Mapping[str, str]) -> str:
    name = titles.get(organism, _words(organism))
    return name if recipe == "plain" else f"{name} ({recipe})"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _ordered(values: pd.Series) -> list[str]:
    return list(dict.fromkeys(values))


def _only_words(sentence: str) -> Figure:
    with house_style():
        figure = plt.figure(figsize=(5, 0.8))
        figure.text(0.5, 0.5, sentence, ha="center", va="center", fontsize=9, color=FAINT)
    return figure


def _require_rows(frame: pd.DataFrame, name: str) -> None:
    if frame.empty:
        raise ValueError(f"the {name} table is empty; there is nothing to draw")
