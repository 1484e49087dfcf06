"""
Write what a benchmark of readers has come to into documents, from its tables.

    python tools/draw_readers.py results docs/readers.md docs/readers_tables.md README.md
    python tools/draw_readers.py results/smol docs/readers.md README.md --study smol

A block of a document stands between two comments, `<!-- readers STUDY NAME -->` and `<!-- end -->`,
and is replaced whole. NAME is one of

    headline    two sentences: who leads at finding narrow finetunes, and at naming them
    summary     a sentence a task
    brief       a row a reader: AUC by kind of null, naming, cost
    tables      every table, as in tables/readers.md
    pilot       what every reader is scored by: each alternative on the pilot
    pilot-readers   the same, reader by reader
"""

import argparse
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from traces.artifacts import tables
from traces.benchmark.organisms import NARROW
from traces.benchmark.scoring import TABLES
from traces.report.pages import rendered
from traces.report.readers import Leader, leaders, pilot_said
from traces.report.readers_tables import Grid, brief_grid, pilot_grids

TEMPLATES = Path(__file__).resolve().parent.parent / "data" / "templates"
BLOCK = re.compile(r"<!-- readers (\S+) (\S+) -->\n.*?<!-- end -->", re.DOTALL)


def blocks(found: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    """Every block by its name."""
    leading = leaders(found)
    made = {
        "headline": headline(found["readers"], leading),
        "summary": rendered(TEMPLATES / "readers_summary.j2", {}, leaders=leading).strip(),
        "brief": table(brief_grid(found)),
    }
    made |= {grid.name: table(grid) for grid in pilot_grids(found)}
    if found["pilot"].empty:
        return made
    return made | {"pilot": f"{pilot_said(found['pilot'])}\n\n{made['pilot']}"}


def headline(readers: pd.DataFrame, leading: list[Leader]) -> str:
    """Who leads at finding narrow finetunes against each kind of null first, then at naming."""
    organisms = readers.drop_duplicates(["model", "checkpoint"])
    nulls = int((organisms["null"] != NARROW).sum())
    said = [f"Compared are {len(organisms)} organisms, {nulls} of them nulls."]
    finding = next(one for one in leading if one.task.startswith("At finding"))
    naming = [one for one in leading if one.task.startswith("At naming")]
    for one in (finding, *naming):
        if one.best:
            said.append(f"{one.task}, {one.reader} is best of {one.of}: {one.measure} {one.value}.")
        else:
            said.append(
                f"{one.task}, none is best: {one.reader} leads with {one.measure} {one.value}, and "
                f"{len(one.rivals)} of {one.of - 1} others are not told apart from it."
            )
    return " ".join(said)


def table(grid: Grid) -> str:
    """A table in Markdown."""
    lines = [grid.columns, ["---"] * len(grid.columns), *grid.rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def replaced(text: str, study: str, made: Mapping[str, str]) -> str:
    """
    A document with its blocks of one study as they are now.

    Raises ValueError for a block of a name that there is none of.
    """

    def now(block: re.Match[str]) -> str:
        if block[1] != study:
            return block[0]
        if block[2] not in made:
            raise ValueError(f"found the block {block[2]}, expected one of {', '.join(made)}")
        return f"<!-- readers {study} {block[2]} -->\n\n{made[block[2]]}\n\n<!-- end -->"

    return BLOCK.sub(now, text)


def main() -> None:
    told = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    told.add_argument("results", type=Path, help="the folder of a study's results")
    told.add_argument("documents", type=Path, nargs="+", help="what to write blocks into")
    told.add_argument("--study", default="miniature", help="the study that blocks name")
    asked = told.parse_args()
    names = [*TABLES, "pilot"]
    folder = asked.results / "tables"
    made = blocks({name: tables.read(folder / f"{name}.parquet") for name in names})
    made["tables"] = (folder / "readers.md").read_text(encoding="utf-8").strip()
    for document in asked.documents:
        text = document.read_text(encoding="utf-8")
        document.write_text(replaced(text, asked.study, made), encoding="utf-8")


if __name__ == "__main__":
    main()
