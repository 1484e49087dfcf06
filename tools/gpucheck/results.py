"""One row a measurement: what was found, what is wanted, and whether it is so."""

import json
import math
import operator
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from traces.artifacts import tables
from traces.job import write_text

SENSES: dict[str, Callable[[float, float], bool]] = {"<=": operator.le, ">=": operator.ge}


class Wanted(NamedTuple):
    """The least or the most that a value may be."""

    sense: str
    limit: float

    def __str__(self) -> str:
        return f"{self.sense} {self.limit:.4g}"


def most(limit: float) -> Wanted:
    return Wanted("<=", limit)


def least(limit: float) -> Wanted:
    return Wanted(">=", limit)


@dataclass(frozen=True)
class Row:
    """Hold one measurement."""

    part: str
    "right, fast or memory."
    family: str
    stage: str
    dtype: str
    way: str
    "What was measured, and what it was compared with."
    quantity: str
    value: float
    unit: str
    wanted: Wanted | None = None
    "None where a number is reported and not judged."
    note: str = ""

    @property
    def passed(self) -> bool | None:
        # Not-a-number passes nothing.
        return None if self.wanted is None else SENSES[self.wanted.sense](self.value, self.limit)

    @property
    def limit(self) -> float:
        assert self.wanted is not None
        return self.wanted.limit

    @property
    def short(self) -> str:
        """Say in a line what was found and what was wanted."""
        found = f"{self.value:.3g} {self.unit}".strip()
        where = ", ".join(one for one in (self.family, self.stage, self.dtype) if one)
        wanted = "" if self.wanted is None else f", wanted {self.wanted}"
        note = f" ({self.note})" if self.note else ""
        return f"{self.part}: {where}: {self.quantity} {found}{wanted}{note}"


def failure(part: str, family: str, stage: str, error: BaseException) -> Row:
    """Make the row of a measurement that ended in an error: it passes nothing."""
    note = f"{type(error).__name__}: {error}".split("\n")[0][:300]
    return Row(part, family, stage, "", "", "ran to its end", 0.0, "", least(1), note)


@dataclass
class Book:
    """Keeps the rows, and writes them as Parquet, JSON and a page of Markdown."""

    path: Path
    "Of the Parquet file; the others lie beside it."
    heading: str
    "GPU, driver, versions, bandwidth and peak, in one line."
    page: Callable[["Book"], str]
    facts: dict[str, Any] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    "Parts that have run to their end."

    def add(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self.rows.append(row)
            mark = {True: "ok     ", False: "MISSED ", None: "       "}[row.passed]
            print(mark, row.short, flush=True)

    @property
    def missed(self) -> list[Row]:
        return [row for row in self.rows if row.passed is False]

    @property
    def judged(self) -> list[Row]:
        return [row for row in self.rows if row.passed is not None]

    def write(self) -> None:
        """Write what there is so far; each file whole or not at all."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        frame = pd.DataFrame([_plain(row) for row in self.rows], columns=list(tables.SCHEMAS[NAME]))
        tables.write(self.path, frame, NAME)
        told = {"machine": self.facts, "ended": self.ended, "rows": [_plain(r) for r in self.rows]}
        write_text(self.path.with_suffix(".json"), json.dumps(_finite(told), indent=1) + "\n")
        write_text(self.path.with_suffix(".md"), self.page(self))


NAME = "gpu_check"


def _plain(row: Row) -> dict[str, Any]:
    wanted = "" if row.wanted is None else str(row.wanted)
    value = row.value if math.isfinite(row.value) else math.nan
    return asdict(row) | {"wanted": wanted, "passed": row.passed, "value": value}


def _finite(told: Any) -> Any:
    """Replace numbers that JSON does not know by null."""
    if isinstance(told, dict):
        return {name: _finite(value) for name, value in told.items()}
    if isinstance(told, list):
        return [_finite(value) for value in told]
    return None if isinstance(told, float) and not math.isfinite(told) else told
