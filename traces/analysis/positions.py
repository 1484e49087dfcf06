"""
Over which positions do tables and pictures take means? One rule for all of them.

The norms table holds the answer in its column `averaged`, since it counts the attention sinks. The
other tables take it from there.
"""

import numpy as np
import pandas as pd

from traces.artifacts.arrays import MOST, Differences

FIRST = 5
"Positions from 0 that means are taken over where they are read, as in the paper."
PLACE = ["model", "corpus", "position"]


def averaged(norms: pd.DataFrame, *, sinks: bool) -> pd.Series:
    """
    Tell for every row of the norms table whether means over positions include its position.

    sinks   : also those where the base has an attention sink in more than half of the texts, at any
              layer that is read. Without them they are left out, as position 0 of most pretrained
              models is
    returns : parallel to `norms`, boolean

    Means are over the first five positions of a text, as far as they are read. Where a corpus is
    read at none of these they are over all that are read, and where sinks are at each of the chosen
    positions they stay. Every layer and checkpoint of a model has the same positions.
    """
    share = norms["sinks_base"] / norms["n_samples"]
    places = norms[PLACE].assign(sunk=share > MOST).groupby(PLACE, sort=False)["sunk"].any()
    places = places.reset_index()
    of_corpus = [places["model"], places["corpus"]]

    def unless_none(kept: pd.Series, otherwise: pd.Series) -> pd.Series:
        return kept.where(kept.groupby(of_corpus).transform("any"), otherwise)

    every = pd.Series(True, index=places.index)
    first = unless_none(places["position"].isin(range(FIRST)), every)
    kept = first if sinks else unless_none(first & ~places["sunk"], first)
    return norms[PLACE].merge(places.assign(kept=kept), on=PLACE, how="left")["kept"]


def counted(found: Differences, *, sinks: bool) -> list[int]:
    """List the positions of one difference that means include: those of `averaged`."""
    norms = pd.DataFrame(
        {
            **dict.fromkeys(("model", "corpus"), ""),
            "position": np.tile(found.positions, len(found.layers)),
            "sinks_base": found.sinks_base.ravel(),
            "n_samples": int(found.n_samples),
        }
    )
    kept = averaged(norms, sinks=sinks)
    return sorted(set(norms.loc[kept, "position"].tolist()))


def marked(table: pd.DataFrame, norms: pd.DataFrame) -> pd.DataFrame:
    """
    Add the column `averaged` of the norms table, by model, corpus and position.

    A row without a position, such as unsteered text, counts. Raises ValueError for a position that
    the norms table has not.
    """
    places = norms[[*PLACE, "averaged"]].drop_duplicates()
    # A position may be missing, which is another type of column.
    places = places.astype({"position": table["position"].dtype})
    found = table.merge(places, on=PLACE, how="left", validate="many_to_one")["averaged"]
    unknown = (found.isna() & table["position"].notna().to_numpy()).to_numpy()
    if unknown.any():
        where = table.loc[unknown, PLACE].iloc[0]
        raise ValueError(f"the norms table has no row of {', '.join(map(str, where))}")
    return table.assign(averaged=found.fillna(True).astype(bool).to_numpy())


def to_average(table: pd.DataFrame) -> pd.DataFrame:
    """Select the rows that means over positions include."""
    return table[table["averaged"].astype(bool)]
