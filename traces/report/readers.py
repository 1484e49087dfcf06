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

import pandas as pd

from traces.benchmark.evidence import RAW, VALUE
from traces.benchmark.organisms import ALL, NARROW
from traces.benchmark.pilot import MERIT
from traces.benchmark.strength import DETECT
from traces.config.schema import Scoring
from traces.report.index import Picture
from traces.report.names import NULL_KINDS, compared_name
from traces.report.pages import rendered
from traces.report.readers_tables import Tables, grids, headlines, way_name, with_interval

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


# In words ---------------------------------------------------------------------------------------


def leaders(found: Tables) -> list[Leader]:
    """Of finding narrow organisms among each kind of null, naming them, and telling twins apart."""
    detection, naming, twins = (found[name] for name in ("detection", "naming", "twins"))
    told = []
    over_all = headlines(detection[detection["matched_on"] == ""])
    for kind, rows in over_all.groupby("null", sort=False):
        task = f"At finding narrow finetunes against {NULL_KINDS[str(kind)]}"
        told.append(_leader(found, rows, "detect", str(kind), task, "AUC", 0.5))
    rows = headlines(naming).rename(
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


# Page -------------------------------------------------------------------------------------------


def values(found: Tables, scoring: Scoring, title: str) -> dict[str, Any]:
    """What both templates are filled with."""
    readers = found["readers"]
    counted = readers.drop_duplicates(["model", "checkpoint"])
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
        "pilot": pilot_said(found["pilot"]),
    }


def pilot_said(pilot: pd.DataFrame) -> str:
    """What was fixed on the pilot, with its merit and that of the best other one; empty without."""
    rows = pilot[(pilot["reader"] == ALL) & (pilot["task"] == MERIT)] if len(pilot) else pilot
    if rows.empty:
        return ""
    fixed, others = rows[rows["headline"].astype(bool)], rows[~rows["headline"].astype(bool)]
    mine = fixed.iloc[0]
    nulls = pilot.loc[pilot["task"] == DETECT].drop_duplicates("null")["n_null"].sum()
    said = (
        f"The score was fixed on a pilot of {mine['n_narrow']} narrow organisms and {nulls} nulls, "
        f"which are in no other number. There {way_name(mine['statistic'], mine['adjustment'])} "
        f"has a merit of {_merit(mine)}"
    )
    if others.empty:
        return f"{said}."
    other = others.loc[others["value"].astype(float).idxmax()]
    name = way_name(other["statistic"], other["adjustment"])
    return f"{said}; the best other score, {name}, has {_merit(other)}."


def _merit(row: pd.Series) -> str:
    return with_interval(row["value"], row["low"], row["high"])


def _placed(found: Tables, scoring: Scoring) -> list[tuple[str, list[str]]]:
    """By checkpoint of unknown kind, one sentence a reader and kind of null."""
    rows = found["placed"]
    if rows.empty:
        return []
    mine = rows[rows["statistic"].isin([scoring.statistic, VALUE])]
    # Without nulls of its own base a checkpoint has raw scores alone.
    fixed = (mine["adjustment"] == scoring.adjustment) | (mine["statistic"] == VALUE)
    order = mine.assign(other=~fixed).sort_values("other", kind="stable").index
    once = mine.loc[order].drop_duplicates(["model", "checkpoint", "reader", "null"]).sort_index()
    return [
        (f"{model}, {checkpoint}", list(part["sentence"]))
        for (model, checkpoint), part in once.groupby(["model", "checkpoint"], sort=False)
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
