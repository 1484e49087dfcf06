"""What a card says of the forced choice: the rank of the secret, and what comes first."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from traces.analysis.forced_choice import Way, organism_ranks
from traces.report.names import CHOICE_WAYS, reader_way

FIRST = 3


def secret_ranks(table: pd.DataFrame, secret: str, ways: Sequence[Way]) -> list[dict[str, Any]]:
    """
    One entry a recipe and way: rank of the secret, number of candidates, and the first of them.

    table : rows of the choice table of one model, organism and corpus
    ways  : the first is the one that was fixed beforehand
    """
    ranks = organism_ranks(table[table["reading"] == "difference"])
    found = [
        (recipe, way, way.of(rows))
        for recipe, rows in ranks.groupby("recipe", sort=False)
        for way in dict.fromkeys(ways)
    ]
    return [
        _choice(rows, secret, way) | {"recipe": recipe, "fixed": way == ways[0]}
        for recipe, way, rows in found
        if len(rows)
    ]


def _choice(rows: pd.DataFrame, secret: str, way: Way) -> dict[str, Any]:
    ranked = rows.dropna(subset=["rank"]).sort_values("rank", kind="stable")
    mine = ranked.loc[ranked["candidate"] == secret, "rank"]
    return {
        "way": f"{reader_way(way.reader, way.head, way.null)}, {CHOICE_WAYS[way.adjustment]}",
        "rank": float(mine.iloc[0]) if len(mine) else np.nan,
        "of": len(ranked),
        "first": list(ranked["candidate"][:FIRST]),
    }
