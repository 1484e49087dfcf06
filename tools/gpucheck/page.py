"""The page: the machine, what was missed, and the measurements of every part as tables."""

import math
from collections.abc import Iterable, Sequence

from tools.gpucheck.results import Book, Row

MARKS = {True: "✓", False: "✗", None: ""}
COMMON = ("time", "rate", "share of roofline", "ratio to straightforward", "kernels run")
MEMORY = ("peak allocated", "peak reserved", "allocator retries")


def page(book: Book) -> str:
    """Write the page from what has been measured so far."""
    parts = {"right": _right, "fast": _fast, "memory": _memory}
    text = [f"# GPU check, {book.facts.get('date', '')}", book.heading, _verdict(book)]
    for part, section in parts.items():
        rows = [row for row in book.rows if row.part == part]
        if rows:
            text += section(rows)
    return "\n\n".join(text) + "\n"


def _verdict(book: Book) -> str:
    running = {"right", "fast", "memory"} - set(book.ended)
    unfinished = f" Not ended: {', '.join(sorted(running))}." if running else ""
    found = f"{len(book.missed)} of {len(book.judged)} wanted figures are missed.{unfinished}"
    if not book.missed:
        return found
    # In the order in which they were measured: what failed first often explains the rest.
    return "\n".join([found, "", "Missed, in the order measured:", *_listed(book.missed)])


def _listed(rows: Iterable[Row]) -> list[str]:
    return ["", *[f"* {row.short}" for row in rows]]


# Parts ------------------------------------------------------------------------------------------


def _right(rows: Sequence[Row]) -> list[str]:
    """One line a check, one column a family; the worst where a check has several numbers."""
    families = list(dict.fromkeys(row.family for row in rows))
    lines: dict[tuple[str, ...], dict[str, Row]] = {}
    for row in rows:
        key = (row.stage, row.dtype, row.quantity, str(row.wanted or ""))
        found = lines.setdefault(key, {})
        found[row.family] = max(found.get(row.family, row), row, key=_badness)
    body = [
        [*key, *(_cell(found[one]) if one in found else "" for one in families)]
        for key, found in lines.items()
    ]
    head = ["check", "dtype", "quantity", "wanted", *families]
    return ["## Right", _table(head, body)]


def _badness(row: Row) -> tuple[bool, float]:
    value = row.value if math.isfinite(row.value) else 0.0
    # Where much is wanted, little is bad.
    return row.passed is False, -value if str(row.wanted).startswith(">=") else value


def _fast(rows: Sequence[Row]) -> list[str]:
    stages = list(dict.fromkeys((row.family, row.stage) for row in rows))
    body, others = [], []
    for family, stage in stages:
        here = [row for row in rows if (row.family, row.stage) == (family, stage)]
        found = {row.quantity: row for row in here}
        cells = [_cell(found[one], True) if one in found else "" for one in (*COMMON, *MEMORY)]
        if any(cells):
            body.append([family, stage, *cells])
        others += [row for row in here if row.quantity not in (*COMMON, *MEMORY)]
    head = ["model", "stage", *COMMON, *MEMORY]
    return ["## Fast", _table(head, body), _table(*_plain(others))]


def _memory(rows: Sequence[Row]) -> list[str]:
    return ["## Memory", _table(*_plain(rows))]


def _plain(rows: Iterable[Row]) -> tuple[list[str], list[list[str]]]:
    body = [[row.family, row.stage, row.way, row.quantity, _cell(row, True)] for row in rows]
    return ["model", "stage", "of what", "quantity", "found"], body


def _cell(row: Row, wanted: bool = False) -> str:
    """Write a number with its tick, and with what is wanted if there is no column for that."""
    if not math.isfinite(row.value):
        return row.note or "not measured"
    value = f"{MARKS[row.passed]} {row.value:.3g} {row.unit}".strip()
    note = f" ({row.note})" if row.note else ""
    return f"{value} ({row.wanted})" if wanted and row.wanted else f"{value}{note}"


def _table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    lines = [head, ["--"] * len(head), *body]
    return "\n".join("| " + " | ".join(_escaped(one) for one in line) + " |" for line in lines)


def _escaped(cell: str) -> str:
    # An error's message may hold anything.
    return cell.replace("|", "\\|").replace("\n", " ")
