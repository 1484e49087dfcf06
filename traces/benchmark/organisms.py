"""
The organisms that readers are compared on: who is narrow, who is a null of which kind, who counts.

    narrow   finetuned on something narrow: `null` is `none`
    null     finetuned on something else, or compared with something else: its kind says what
    pilot    those that the score is fixed on (traces/benchmark/pilot.py), in no other number
    unknown  a checkpoint whose truth is not known: it is placed among the others and counts nowhere

**The unit.** Intervals are over units. A narrow organism's unit is its domain, so that its doses,
recipes and seeds are drawn together. A true twin's unit is its organism, with all its seeds. Any
other null's unit is its checkpoint, since each is trained on a draw of its own.
"""

from collections.abc import Iterator
from typing import get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from traces.config.schema import Scoring
from traces.config.vocabularies import NullKind

KINDS: tuple[NullKind, ...] = get_args(NullKind)
NARROW, UNKNOWN = "none", "unknown"
# The kind whose mean is subtracted, and against which the pilot is judged.
GENERAL = "general"
# The twins of false-fact organisms.
TRUE = "true_facts"
ALL = "all"
"Stands in the column `slice` for all narrow organisms together."
KEY = ["model", "checkpoint"]


def prepared(table: pd.DataFrame, scoring: Scoring) -> pd.DataFrame:
    """
    The table of organisms, checked, base by base, with the columns `unit` and `slice`.

    table   : columns of organisms.parquet
    returns : the same rows sorted by base, in their order within one; `unit` is what intervals are
              over, `slice` the rung of the ladder of a narrow organism and empty for a null. Of the
              pilot are those that the table says, and those that the settings name

    Seeds of a narrow organism or of its true twin learn the same facts and are one unit. Any other
    null is one of its own.

    Raises ValueError for a checkpoint that is there twice, a null of an unknown kind, a twin that
    is no narrow organism of the same base, and a dose or strength that a narrow organism lacks.
    """
    _check(table)
    rows = table.sort_values("model", kind="stable").reset_index(drop=True)
    narrow = rows["null"] == NARROW
    units = rows["checkpoint"].mask(rows["null"] == TRUE, rows["organism"])
    units = units.mask(narrow, rows["domain"].fillna(rows["organism"]))
    several = rows.loc[narrow, "recipe"].nunique() > 1
    rungs = [
        rung(recipe, dose, steps, several)
        for recipe, dose, steps in zip(rows["recipe"], rows["dose"], rows["steps"], strict=True)
    ]
    return rows.assign(
        pilot=rows["pilot"].astype(bool)
        | rows["model"].isin(scoring.pilot_models)
        | rows["seed"].isin(scoring.pilot_seeds),
        unit=units,
        slice=pd.Series(rungs, index=rows.index).where(narrow, ""),
    )


def scored(organisms: pd.DataFrame) -> pd.DataFrame:
    """All but the pilot's. Raises ValueError without a narrow organism or without any null."""
    rows = organisms[~organisms["pilot"]].reset_index(drop=True)
    _require_both(rows, "that is not of the pilot")
    return rows


def piloted(organisms: pd.DataFrame) -> pd.DataFrame:
    """Those of the pilot; no row where it lacks narrow organisms or nulls on general text."""
    rows = organisms[organisms["pilot"]].reset_index(drop=True)
    there = set(rows["null"])
    return rows if {NARROW, GENERAL} <= there else rows.iloc[:0]


def rung(recipe: str, dose: float, steps: float, several_recipes: bool = True) -> str:
    """A rung of the ladder in words: recipe, share of narrow tokens, share of the steps."""
    parts = [recipe] if several_recipes else []
    parts.append(f"{100 * dose:g} %")
    if steps != 1:
        parts.append(f"{steps:g} of the steps")
    return ", ".join(parts)


def kinds(organisms: pd.DataFrame) -> list[str]:
    """The kinds of null that are there, in the order of KINDS."""
    there = set(organisms["null"])
    return [kind for kind in KINDS if kind in there and kind not in (NARROW, UNKNOWN)]


def slices(organisms: pd.DataFrame) -> Iterator[tuple[str, NDArray[np.intp]]]:
    """All narrow organisms, and then each rung, strongest dose first: name and places in rows."""
    narrow = organisms[organisms["null"] == NARROW]
    yield ALL, narrow.index.to_numpy()
    ladder = narrow.sort_values(["recipe", "dose", "steps"], ascending=[True, False, False])
    rungs = list(dict.fromkeys(ladder["slice"]))
    # One rung alone is all of them.
    for name in rungs if len(rungs) > 1 else []:
        yield name, narrow.index[narrow["slice"] == name].to_numpy()


def of_kind(organisms: pd.DataFrame, kind: str) -> NDArray[np.intp]:
    """The places of one kind's organisms in the rows."""
    return np.flatnonzero((organisms["null"] == kind).to_numpy())


def _check(table: pd.DataFrame) -> None:
    twice = table.duplicated(KEY)
    if twice.any():
        model, checkpoint = table.loc[twice, KEY].iloc[0]
        raise ValueError(
            f"organisms: found {model}, {checkpoint} more than once, expected one row a checkpoint"
        )
    for number, row in enumerate(table.to_dict("records"), start=1):
        where = f"organisms, row {number} ({row['model']}, {row['checkpoint']})"
        if row["null"] not in KINDS:
            raise ValueError(
                f"{where}: found the null {row['null']!r}, expected one of {', '.join(KINDS)}"
            )
        lacking = [name for name in ("dose", "steps", "strength") if pd.isna(row[name])]
        if row["null"] == NARROW and lacking:
            raise ValueError(f"{where}: found no {lacking[0]}, which a narrow organism needs")
    narrow = table[table["null"] == NARROW]
    known = set(zip(narrow["model"], narrow["checkpoint"], strict=True))
    for row in table[table["twin"].notna()].to_dict("records"):
        if (row["model"], row["twin"]) not in known:
            raise ValueError(
                f"organisms: {row['model']}, {row['checkpoint']}: found the twin {row['twin']!r}, "
                "expected a narrow organism of the same base"
            )


def _require_both(rows: pd.DataFrame, which: str) -> None:
    for there, what in (
        ((rows["null"] == NARROW).any(), "narrow organism"),
        (bool(kinds(rows)), "null"),
    ):
        if not there:
            raise ValueError(
                f"organisms: found no {what} {which}, expected at least one; see "
                "scoring.pilot_models and scoring.pilot_seeds"
            )
