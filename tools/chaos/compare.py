"""
Whether two results folders hold the same: all arrays, tables, token lists, weights and pages.

Two runs on one machine write the same bytes, so bytes are compared. Exceptions are files that hold
times, and the commit in a provenance or a page, since somebody may commit meanwhile.
"""

import json
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

# Snakemake's own: when a folder was made, and its report with the times of all jobs. They must be
# there, and that is all.
UNCOMPARED = (".snakemake_timestamp", "report.html")


def differing(found: Path, expected: Path, *, damaged: Collection[Path] = ()) -> list[str]:
    """
    The files of two folders that are not the same, by their names within the folders.

    damaged : names of files that a disturbance itself changed; they are not compared, nor links to
              them
    """
    left_out = {(found / name).resolve() for name in damaged}
    there = {name for folder in (found, expected) for name in _names(folder)}
    return sorted(
        str(name)
        for name in there
        if (found / name).resolve() not in left_out and not _same(found / name, expected / name)
    )


def _names(folder: Path) -> Iterable[Path]:
    for path in folder.rglob("*"):
        if path.is_file() or path.is_symlink():
            yield path.relative_to(folder)


def _same(one: Path, other: Path) -> bool:
    if not (one.is_file() and other.is_file()):
        return False
    if one.name in UNCOMPARED or one.read_bytes() == other.read_bytes():
        return True
    if one.suffix == ".html":
        return _page(one) == _page(other)
    if one.name.endswith("provenance.json"):
        return _without(one, "commit") == _without(other, "commit")
    if one.name == "training.json":
        return _without(one, "weights") == _without(other, "weights")
    return False


def _page(file: Path) -> str:
    """A page without the commit and the day on which its tables were written."""
    changing = r"\b[0-9a-f]{40}\b(\+|, with changes that are not committed)?|\b\d{4}-\d\d-\d\d\b"
    return re.sub(changing, "", file.read_text(encoding="utf-8", errors="replace"))


def _without(file: Path, key: str) -> Any:
    """The content of a JSON file without one key, wherever it is; NaN, never equal, if damaged."""

    def left(facts: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in facts.items() if name != key}

    try:
        return json.loads(file.read_text(encoding="utf-8"), object_hook=left)
    except ValueError:
        return float("nan")
