"""
The page of the benchmark of readers, and the same in Markdown: what the tables come to, in words.

Every word follows an interval. A reader is called best at a task only if its paired difference to
each of the others lies above 0; else none is, and those that it is not told apart from are named.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from traces.benchmark.detection import FROM_BASES, FROM_ORGANISMS
from traces.benchmark.evidence import RAW
from traces.benchmark.organisms import ALL, GENERAL, NARROW
from traces.benchmark.strength import AT, DETECT, NAME, NOT_REACHED
from traces.benchmark.twins import OWN
from traces.config.schema import Scoring
from traces.report.index import Picture
from traces.report.names import NULL_KINDS, compared_name
from traces.report.pages import rendered

Tables = Mapping[str, pd.DataFrame]

# The pictures, in the order of the page: a heading, and what they are of.
PICTURES = {
    "readers_auc": (
        "How well narrow finetunes are found",
        "Dots with intervals: a row a reader, its AUC against each kind of null, and how often it "
        "names the own domain first.",
    ),
    "readers_roc": (
        "At which false-positive rate",
        "ROC curves: a panel a kind of null, a line a reader.",
    ),
    "readers_naming": (
        "What is named, and what is said of nulls",
        "Matrices: a reader each, true domains and kinds of null by what is said of them.",
    ),
    "readers_strength": (
        "How strong a finetune must be",
        "Curves: a panel a reader, AUC and naming by the strength of the finetune, and the "
        "strength at half.",
    ),
    "readers_cost": (
        "What it costs",
        "Dots with intervals: AUC of each reader by the seconds that it takes for an organism.",
    ),
}

COVERED = (1.0, 0.5, 0.25)
"Shares of the narrow organisms that are named, at which errors are shown."


@dataclass(frozen=True)
class Leader:
    """Who leads at one task, and whether it is best."""

    task: str
    "What is done, as the beginning of a sentence."
    measure: str
    reader: str
    value: str
    "With its interval."
    best: bool
    above_chance: bool
    rivals: tuple[str, ...]
    "Those that it is not told apart from."
    of: int
    "How many were compared."


@dataclass(frozen=True)
class Grid:
    """A table as it is shown: a heading, a caption, column names and rows of text."""

    name: str
    title: str
    caption: str
    columns: list[str]
    rows: list[list[str]]


# In words ---------------------------------------------------------------------------------------


def leaders(found: Tables) -> list[Leader]:
    """Of finding narrow organisms among each kind of null, naming them, and telling twins apart."""
    detection, naming, twins = (found[name] for name in ("detection", "naming", "twins"))
    told = []
    over_all = _headlines(detection[detection["matched_on"] == ""])
    for kind, rows in over_all.groupby("null", sort=False):
        task = f"At finding narrow finetunes against {NULL_KINDS[str(kind)]}"
        told.append(_leader(found, rows, "detect", str(kind), task, "AUC", 0.5))
    rows = _headlines(naming).rename(
        columns={"first": "value", "first_low": "low", "first_high": "high"}
    )
    if len(rows):
        candidates, chance = rows["candidates"].max(), rows["first_chance"].max()
        task, measure = f"At naming one of {candidates:g} domains", "named first"
        told.append(_leader(found, rows, "name", "", task, measure, chance))
    rows = twins[twins["headline"] & (twins["scored"] == DETECT)] if len(twins) else twins
    if len(rows):
        rows = rows.rename(columns={"paired_auc": "value"})
        task, measure = "At telling false facts from their true twins", "share of pairs"
        told.append(_leader(found, rows, "tell", "true_facts", task, measure, 0.5))
    return told


def _leader(  # noqa: PLR0913
    found: Tables, rows: pd.DataFrame, task: str, null: str, words: str, measure: str, chance: float
) -> Leader:
    first = rows.loc[rows["value"].astype(float).idxmax()]
    gaps = found["reader_differences"]
    mine = gaps[(gaps["task"] == task) & (gaps["null"] == null) & (gaps["slice"] == ALL)]
    beaten = set(mine.loc[(mine["reader"] == first["reader"]) & (mine["low"] > 0), "other"])
    others = [name for name in rows["reader"] if name != first["reader"]]
    rivals = tuple(compared_name(name) for name in others if name not in beaten)
    return Leader(
        *(words, measure, compared_name(first["reader"])),
        with_interval(first["value"], first["low"], first["high"]),
        best=bool(others) and not rivals,
        above_chance=bool(first["low"] > chance),
        rivals=rivals,
        of=len(rows),
    )


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


# Tables -----------------------------------------------------------------------------------------


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
        _pilot_grid(found),
    ]
    return [one for one in made if one.rows]


def _auc_grid(found: Tables) -> Grid:
    rows = _headlines(found["detection"])
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
        "half, over all rungs of the ladder; with 95 % bootstrap intervals over domains and nulls "
        "within bases, or Wilson's bounds where the AUC is 0 or 1. Seconds an organism.",
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
        "names that are wrong, with Wilson's bounds, and the share of benign finetunes on general "
        "text that score as high and are named as well.",
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
        "chance to perfect; smaller is more sensitive. An end of an interval that no organism "
        "reaches is open.",
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
        "Only pairs of an organism and a null count that are alike in a detector, so that it "
        "cannot be what is found.",
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
    rows = rows[rows["null"].isin(["", GENERAL])] if len(rows) else rows
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
        "more readable, and by how much its loss on unrelated text grew more (nats a token).",
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


def _pilot_grid(found: Tables) -> Grid:
    rows = found["pilot"]
    lines = []
    for (statistic, adjustment), part in rows.groupby(["statistic", "adjustment"], sort=False):
        values = part.set_index("task")["value"]
        mark = " (fixed)" if part["headline"].any() else ""
        how = "as it is" if adjustment == RAW else "less the benign mean"
        line = [f"{statistic}, {how}{mark}", str(part["n"].iloc[0])]
        line += [f"{values[task]:.2f}" if task in values else "–" for task in (DETECT, NAME)]
        lines.append(line)
    return Grid(
        "pilot",
        "The pilot",
        "Mean over readers on organisms that are in no other table. What every headline is scored "
        "by was fixed on them.",
        ["Score", "Narrow organisms", "AUC, general text", "Named first"],
        lines,
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


def _headlines(frame: pd.DataFrame) -> pd.DataFrame:
    if frame.empty:
        return frame
    return frame[frame["headline"] & (frame["slice"] == ALL)].dropna(subset=[_value(frame)])


def _value(frame: pd.DataFrame) -> str:
    return "value" if "value" in frame else "first"


# Page -------------------------------------------------------------------------------------------


def values(found: Tables, scoring: Scoring, title: str) -> dict[str, Any]:
    """What both templates are filled with."""
    readers = found["readers"]
    counted = readers[~readers["pilot"]].drop_duplicates(["model", "checkpoint"])
    kinds = counted.loc[counted["null"] != NARROW, "null"].value_counts()
    return {
        "title": title,
        "leaders": leaders(found),
        "grids": grids(found, scoring),
        "placed": _placed(found, scoring),
        "models": sorted(set(counted["model"])),
        "n_narrow": int((counted["null"] == NARROW).sum()),
        "kinds": [(NULL_KINDS[kind], int(n)) for kind, n in kinds.items() if kind in NULL_KINDS],
        "statistic": scoring.statistic,
        "adjusted": scoring.adjustment != RAW,
        "n_pilot": int(readers.loc[readers["pilot"], "checkpoint"].nunique()),
    }


def _placed(found: Tables, scoring: Scoring) -> list[tuple[str, list[str]]]:
    """By checkpoint of unknown kind, the sentences of the headline ways."""
    rows = found["placed"]
    if rows.empty:
        return []
    fixed = (rows["statistic"] == scoring.statistic) & (rows["adjustment"] == scoring.adjustment)
    rows = rows[fixed | (rows["statistic"] == "value")]
    return [
        (f"{model}, {checkpoint}", list(part["sentence"]))
        for (model, checkpoint), part in rows.groupby(["model", "checkpoint"], sort=False)
    ]


def readers_page(
    found: Tables,
    *,
    scoring: Scoring,
    title: str,
    pictures: Mapping[str, Picture],
    links: Mapping[str, str],
    provenance: Sequence[tuple[str, str]],
    template: Path,
) -> str:
    """
    The page as HTML text, one file that loads nothing.

    found    : the tables, by name
    pictures : by name; those of PICTURES are shown
    links    : relative address of each table, by name
    """
    shown = [
        {
            **{"name": name, "title": PICTURES[name][0], "alt": PICTURES[name][1]},
            "data": base64.b64encode(pictures[name].data).decode("ascii"),
            "address": pictures[name].address,
        }
        for name in PICTURES
        if name in pictures
    ]
    told = values(found, scoring, title)
    return rendered(template, {}, **told, pictures=shown, links=links, made=provenance)


def readers_text(found: Tables, *, scoring: Scoring, title: str, template: Path) -> str:
    """The paragraph and all tables in Markdown."""
    return rendered(template, {}, **values(found, scoring, title))
