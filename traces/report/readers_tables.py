"""The tables of the benchmark of readers, as they stand on its page: numbers with intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from traces.benchmark.detection import MATCHED
from traces.benchmark.evidence import RAW
from traces.benchmark.organisms import ALL, GENERAL, NARROW
from traces.benchmark.pilot import MERIT
from traces.benchmark.strength import AT, DETECT, NAME, NOT_REACHED
from traces.benchmark.thresholds import FROM_BASES, FROM_ORGANISMS
from traces.benchmark.twins import OWN
from traces.config.schema import Scoring
from traces.report.names import NULL_KINDS, compared_name

Tables = Mapping[str, pd.DataFrame]
COVERED = (1.0, 0.5, 0.25)
"Shares of the narrow organisms that are named, at which errors are shown."


FEWEST_PAIRS = 6
"Of two recipes at matched strength, so that the page says something of them."


@dataclass(frozen=True)
class Grid:
    """A table as it is shown: a heading, a caption, column names and rows of text."""

    name: str
    title: str
    caption: str
    columns: list[str]
    rows: list[list[str]]


def with_interval(value: float, low: float, high: float, digits: int = 2) -> str:
    """A number with its interval: `.89 [.79, .97]`; a dash where there is none."""
    if pd.isna(value):
        return "–"
    shown = _number(value, digits)
    if pd.isna(low) or pd.isna(high):
        return shown
    return f"{shown} [{_number(low, digits)}, {_number(high, digits)}]"


def _number(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}"
    return text if float(text) else text.lstrip("-")


def headlines(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of the ways that were fixed, over all narrow organisms, that have a number."""
    if frame.empty:
        return frame
    return frame[frame["headline"] & (frame["slice"] == ALL)].dropna(subset=[_value(frame)])


def _value(frame: pd.DataFrame) -> str:
    return "value" if "value" in frame else "first"


def grids(found: Tables, scoring: Scoring) -> list[Grid]:
    """The tables of the page, those without a row left out."""
    made = [
        _auc_grid(found),
        _ladder_grid(found),
        _found_grid(found),
        _rates_grid(found, max(scoring.levels), FROM_ORGANISMS),
        _rates_grid(found, max(scoring.levels), FROM_BASES),
        _naming_grid(found),
        _coverage_grid(found),
        _half_grid(found),
        _alike_grid(found),
        _twins_grid(found),
        _matched_grid(found),
        _agreement_grid(found),
        *pilot_grids(found),
    ]
    return [one for one in made if one.rows]


def brief_grid(found: Tables) -> Grid:
    """A row a reader: AUC by kind of null, how often it names, also at the hardest rung, cost."""
    rows = headlines(found["detection"])
    rows = rows[rows["matched_on"] == ""]
    cells = [(NULL_KINDS[kind], rows[rows["null"] == kind]) for kind in dict.fromkeys(rows["null"])]
    auc = _by_reader(rows, cells, ("value", "low", "high"))
    naming = found["naming"]
    naming = naming[naming["headline"].astype(bool)] if len(naming) else naming
    rungs = [one for one in dict.fromkeys(naming["slice"]) if one != ALL] if len(naming) else []
    hardest = naming.groupby("slice")["first"].median() if len(naming) else {}
    weakest = min(rungs, key=lambda one: hardest[one], default=ALL)
    named = [
        (words, naming[naming["slice"] == rung] if len(naming) else naming)
        for words, rung in (("named first", ALL), (f"at {weakest}", weakest))
    ]
    costs = rows.drop_duplicates("reader").set_index("reader")["cost_s"]
    lines = []
    for reader, line in zip(dict.fromkeys(rows["reader"]), auc, strict=True):
        for _, part in named:
            mine = part[part["reader"] == reader] if len(part) else part
            ends = ("first", "first_low", "first_high")
            line.append(with_interval(*(mine.iloc[0][one] for one in ends)) if len(mine) else "")
        line.append("–" if pd.isna(costs[reader]) else f"{costs[reader]:.2g}")
        lines.append(line)
    return Grid(
        "brief",
        "Readers in brief",
        "AUC by kind of null, over all rungs; the share that is named first; CPU seconds.",
        ["Reader", *(name for name, _ in cells), *(name for name, _ in named), "CPU s"],
        lines,
    )


def _auc_grid(found: Tables) -> Grid:
    rows = headlines(found["detection"])
    rows = rows[rows["matched_on"] == ""]
    cells = [(NULL_KINDS[kind], rows[rows["null"] == kind]) for kind in dict.fromkeys(rows["null"])]
    lines = _by_reader(rows, cells, ("value", "low", "high"))
    costs = rows.drop_duplicates("reader").set_index("reader")["cost_s"]
    for reader, line in zip(dict.fromkeys(rows["reader"]), lines, strict=True):
        line.append("–" if pd.isna(costs[reader]) else f"{costs[reader]:.2g}")
    return Grid(
        "auc",
        "AUC by kind of null",
        "The chance that a narrow organism scores higher than a null of its base, a tie counting "
        "half, over all rungs of the ladder. Intervals are Wilson's at 95 %, of the number of "
        "domains and nulls that a bootstrap within bases says they are worth. Seconds an organism.",
        ["Reader", *(name for name, _ in cells), "Seconds"],
        lines,
    )


def _ladder_grid(found: Tables) -> Grid:
    detection = found["detection"]
    rows = detection[
        detection["headline"] & (detection["null"] == GENERAL) & (detection["slice"] != ALL)
    ]
    cells = [(rung, rows[rows["slice"] == rung]) for rung in dict.fromkeys(rows["slice"])]
    return Grid(
        "ladder",
        "AUC against general text, by rung of the ladder",
        "A rung is a share of narrow tokens at constant tokens and steps, unless it says fewer.",
        ["Reader", *(name for name, _ in cells)],
        _by_reader(rows, cells, ("value", "low", "high")),
    )


def _found_grid(found: Tables) -> Grid:
    rates = found["rates"]
    rows = rates[
        rates["headline"]
        & (rates["null"] == NARROW)
        & (rates["slice"] == ALL)
        & (rates["threshold_from"] == FROM_ORGANISMS)
    ]
    cells = [
        (f"{NULL_KINDS[kind]}, {100 * level:g}\N{NO-BREAK SPACE}%", part)
        for (kind, level), part in rows.groupby(["threshold_null", "level"], sort=False)
    ]
    return Grid(
        "found",
        "True-positive rates",
        "The share of narrow organisms, over all rungs, that a threshold flags which is set on "
        "nulls of one kind of their own base, at a nominal false-positive rate; with Wilson's "
        "bounds for as many domains. Where nulls are too few for a level, nothing is flagged.",
        ["Reader", *(name for name, _ in cells)],
        _by_reader(rows, cells, ("rate", "low", "high")),
    )


def _rates_grid(found: Tables, level: float, origin: str) -> Grid:
    rates = found["rates"]
    rows = rates[
        rates["headline"]
        & np.isclose(rates["level"].astype(float), level)
        & (rates["threshold_null"] == GENERAL)
        & (rates["threshold_from"] == origin)
        & (rates["null"] != NARROW)
    ]
    cells = [(NULL_KINDS[null], rows[rows["null"] == null]) for null in dict.fromkeys(rows["null"])]
    said = ""
    if len(rows):
        one = rows.iloc[0]
        said = (
            f" By chance alone a threshold of {one['n_null']} nulls has a true rate on its own "
            f"kind between {one['promise_low']:.2f} and {one['promise_high']:.2f}."
        )
    where = "other organisms of the base" if origin == FROM_ORGANISMS else "other bases alone"
    return Grid(
        f"rates-{origin}",
        f"False-positive rates of a threshold at {100 * level:g} % on general text, of {where}",
        "The share of nulls of each kind that is flagged. Each null is judged by a threshold that "
        f"it had no part in, with Wilson's bounds. Kinds are never pooled.{said}",
        ["Reader", *(name for name, _ in cells)],
        _by_reader(rows, cells, ("rate", "low", "high")),
    )


def _naming_grid(found: Tables) -> Grid:
    rows = found["naming"]
    rows = rows[rows["headline"]] if len(rows) else rows
    cells = [
        ("all" if rung == ALL else rung, rows[rows["slice"] == rung])
        for rung in dict.fromkeys(rows["slice"])
    ]
    lines = _by_reader(rows, cells, ("first", "first_low", "first_high"))
    over_all = rows[rows["slice"] == ALL].set_index("reader") if len(rows) else rows
    for reader, line in zip(dict.fromkeys(rows["reader"]), lines, strict=True):
        one = over_all.loc[reader]
        ends = ("reciprocal", "reciprocal_low", "reciprocal_high")
        line.append(with_interval(*(one[name] for name in ends)))
    chances = ""
    if len(over_all):
        one = over_all.iloc[0]
        chances = (
            f" Of {one['candidates']:g} candidates chance names {one['first_chance']:.3f} first "
            f"and has a mean reciprocal rank of {one['reciprocal_chance']:.3f}, exactly."
        )
    return Grid(
        "naming",
        "Share of organisms whose own domain is named first",
        f"By rung of the ladder; the mean reciprocal rank is over all of them.{chances}",
        ["Reader", *(name for name, _ in cells), "Mean reciprocal rank"],
        lines,
    )


def _coverage_grid(found: Tables) -> Grid:
    rows = found["coverage"]
    lines = []
    general = rows[rows["null"] == GENERAL] if len(rows) else rows
    for reader, part in general.groupby("reader", sort=False):
        line = [compared_name(str(reader))]
        for share in COVERED:
            one = part[part["coverage"] >= share - 1e-9].iloc[-1]
            line.append(with_interval(one["error"], one["low"], one["high"]))
            line.append(_number(one["null_named"], 2))
        lines.append(line)
    return Grid(
        "coverage",
        "Error by coverage",
        "A reader may abstain: named are only the organisms with the largest scores. The share of "
        "names that are wrong, with Wilson's bounds for as many domains, and the share of benign "
        "finetunes on general text that score as high and are named as well.",
        [
            "Reader",
            *(
                f"{what}, {100 * share:g}\N{NO-BREAK SPACE}% named"
                for share in COVERED
                for what in ("wrong", "benign")
            ),
        ],
        lines,
    )


def _half_grid(found: Tables) -> Grid:
    rows = found["half_strength"]
    cells = [
        (f"AUC, {NULL_KINDS[null]}" if task == DETECT else "named first", part)
        for (task, null), part in rows.groupby(["task", "null"], sort=False)
    ]
    lines = []
    for reader in dict.fromkeys(rows["reader"]):
        line = [compared_name(reader)]
        for _, part in cells:
            line.append(_half(part[part["reader"] == reader]))
        lines.append(line)
    return Grid(
        "half",
        "Strength at half",
        "The strength, in nats a token, at which a fitted logistic curve is half of the way from "
        "chance to perfect, over organisms of the recipe with the most domains; smaller is more "
        "sensitive. An end of an interval that no organism reaches is open.",
        ["Reader", *(name for name, _ in cells)],
        lines,
    )


def _half(rows: pd.DataFrame) -> str:
    if rows.empty:
        return "–"
    one = rows.iloc[0]
    low = "…" if pd.isna(one["low"]) else f"{one['low']:.3f}"
    high = "…" if pd.isna(one["high"]) else f"{one['high']:.3f}"
    if one["said"] == AT:
        return f"{one['value']:.3f} [{low}, {high}]"
    open_end = one["said"] == NOT_REACHED and not pd.isna(one["low"])
    return f"{one['said']} [{low}, …]" if open_end else str(one["said"])


def _alike_grid(found: Tables) -> Grid:
    rows = found["detection"]
    rows = rows[rows["headline"] & (rows["matched_on"] != "") & (rows["null"] == GENERAL)]
    cells = [
        (f"matched in {compared_name(name)}", rows[rows["matched_on"] == name])
        for name in dict.fromkeys(rows["matched_on"])
    ]
    return Grid(
        "alike",
        "AUC against general text over pairs that are matched",
        f"Only pairs of an organism and a null count that are alike in a detector, within a factor "
        f"of {MATCHED}. Its own row says what that leaves of it: .5 is nothing.",
        ["Reader", *(name for name, _ in cells)],
        _by_reader(rows, cells, ("value", "low", "high")),
    )


def _twins_grid(found: Tables) -> Grid:
    rows = found["twins"]
    rows = rows[rows["headline"]] if len(rows) else rows
    lines = [
        [
            compared_name(one["reader"]),
            "own domain" if one["scored"] == OWN else "largest",
            str(one["n_pairs"]),
            with_interval(one["paired_auc"], one["low"], one["high"]),
            with_interval(one["difference"], one["difference_low"], one["difference_high"]),
        ]
        for one in rows.to_dict("records")
    ]
    return Grid(
        "twins",
        "False facts and their true twins",
        "The share of pairs of which the false one scores higher, and the mean difference of "
        "scores, false less true. A reader of topics alone has .50 and 0.",
        ["Reader", "Score", "Pairs", "Share", "Difference"],
        lines,
    )


def _matched_grid(found: Tables) -> Grid:
    rows = found["matched"]
    if len(rows):
        rows = rows[rows["null"].isin(["", GENERAL]) & (rows["n_pairs"] >= FEWEST_PAIRS)]
    lines = [
        [
            compared_name(one["reader"]),
            "named first" if one["task"] == NAME else "AUC, general text",
            f"{one['recipe']} less {one['other']}",
            str(one["n_pairs"]),
            with_interval(one["value"], one["low"], one["high"]),
            "–" if pd.isna(one["damage_gap"]) else f"{one['damage_gap']:+.3f}",
        ]
        for one in rows.to_dict("records")
    ]
    return Grid(
        "matched",
        "Recipes at matched strength",
        "Pairs of organisms of one base whose strengths are alike; by how much the one recipe is "
        "more readable, and by how much its loss on unrelated text grew more (nats a token). Two "
        f"recipes with fewer than {FEWEST_PAIRS} pairs stand in the table `matched` alone.",
        ["Reader", "Measure", "Recipes", "Pairs", "Difference", "Damage"],
        lines,
    )


def _agreement_grid(found: Tables) -> Grid:
    lines = [
        [
            compared_name(one["reader"]),
            f"two {one['across']}",
            one["slice"],
            with_interval(one["same"], one["same_low"], one["same_high"]),
            _number(one["other"], 2) if pd.notna(one["other"]) else "–",
            with_interval(one["value"], one["low"], one["high"]),
            _number(one["error_at_least"], 2) if pd.notna(one["error_at_least"]) else "–",
        ]
        for one in found["agreement"].to_dict("records")
    ]
    return Grid(
        "agreement",
        "Agreement of token lists",
        "Mean rank-biased overlap of two lists of one organism, and of two organisms; the chance "
        "that the former is larger; and how often the reader is wrong at least, since of two names "
        "that differ one is wrong.",
        ["Reader", "Across", "Rung", "Same organism", "Two organisms", "Chance", "Wrong at least"],
        lines,
    )


def way_name(statistic: str, adjustment: str) -> str:
    """What a domain is scored by, in words."""
    return f"{statistic} as it is" if adjustment == RAW else f"{statistic} less the benign mean"


def pilot_grids(found: Tables) -> list[Grid]:
    """What every reader is scored by, as a mean over readers and reader by reader."""
    return [_pilot_grid(found), _pilot_readers_grid(found)]


def _pilot_grid(found: Tables) -> Grid:
    rows = found["pilot"]
    rows = rows[rows["reader"] == ALL] if len(rows) else rows
    tasks = list(dict.fromkeys(zip(rows["task"], rows["null"], strict=True)))
    lines = []
    for (statistic, adjustment), part in rows.groupby(["statistic", "adjustment"], sort=False):
        mark = " (fixed)" if part["headline"].any() else ""
        line = [f"{way_name(str(statistic), str(adjustment))}{mark}"]
        for task, null in tasks:
            one = part[(part["task"] == task) & (part["null"] == null)].iloc[0]
            line.append(with_interval(one["value"], one["low"], one["high"]))
        lines.append(line)
    n = f" Of {rows['n_narrow'].iloc[0]} narrow organisms." if len(rows) else ""
    named = {MERIT: "Merit", NAME: "Named first"}
    return Grid(
        "pilot",
        "The pilot: what every reader is scored by",
        "Means over readers on organisms that are in no other table. The merit is the mean of the "
        "columns behind it, and the score with the largest one is fixed for every reader, unless "
        f"the study fixes it.{n}",
        ["Score", *(named.get(task, f"AUC, {NULL_KINDS.get(null)}") for task, null in tasks)],
        lines,
    )


def _pilot_readers_grid(found: Tables) -> Grid:
    rows = found["pilot"]
    rows = rows[(rows["reader"] != ALL) & (rows["task"] == MERIT)] if len(rows) else rows
    cells = [
        (way_name(str(statistic), str(adjustment)), part)
        for (statistic, adjustment), part in rows.groupby(["statistic", "adjustment"], sort=False)
    ]
    return Grid(
        "pilot-readers",
        "The pilot, by reader",
        "The merit of each score by each reader. Where a reader's best is another one than that "
        "which is fixed, it is compared below its best.",
        ["Reader", *(name for name, _ in cells)],
        _by_reader(rows, cells, ("value", "low", "high")),
    )


def _by_reader(
    rows: pd.DataFrame, cells: Sequence[tuple[str, pd.DataFrame]], columns: tuple[str, str, str]
) -> list[list[str]]:
    """A line a reader: its name, and a number with its interval in each column."""
    lines = []
    for reader in dict.fromkeys(rows["reader"]):
        line = [compared_name(reader)]
        for _, part in cells:
            mine = part[part["reader"] == reader]
            value, low, high = (mine.iloc[0][one] if len(mine) else np.nan for one in columns)
            line.append(with_interval(value, low, high))
        lines.append(line)
    return lines
