"""The benign counterpart of an organism's numbers, and what else they are compared with."""

import numpy as np
import pandas as pd

from traces.config.vocabularies import CONTROLS as CONTROLS

# What one row of the readability table is about.
CASE = ["model", "organism", "family", "recipe", "ratio", "corpus", "layer", "lens"]


def benign_readings(chosen: pd.DataFrame, seeds: pd.DataFrame, control: str | None) -> pd.DataFrame:
    """Grade the benign organism's differences on the words of every other organism."""
    pool = chosen[chosen["reading"] == "difference"].rename(columns={"relevance": "value"})
    cases = seeds.loc[
        (seeds["reading"] == "difference") & (seeds["organism"] != control), [*CASE, "seed"]
    ]
    # The benign organism has no words of its own: it is graded on those of the case.
    asked = cases.assign(graded_on=cases["organism"])
    values = counterpart(asked, pool, ["model", "corpus", "layer", "lens", "graded_on"], control)
    return cases.assign(reading="benign", relevance=values).dropna(subset=["relevance"])


def counterpart(
    cases: pd.DataFrame, pool: pd.DataFrame, place: list[str], control: str | None
) -> list[float]:
    """
    Find the benign organism's `value` in `pool` at the same `place`, for each of `cases`.

    It is the one of the same recipe and seed, or else the mean of its seeds, or else the same two
    of its recipe `plain`. The benign organism itself has none.
    """
    # The same seed first: both adapters began with the same weights, which the pair then cancels.
    of_benign = pool[pool["organism"] == control]
    by_seed = of_benign.groupby([*place, "recipe", "seed"])["value"].mean()
    by_recipe = by_seed.groupby([*place, "recipe"]).mean()

    def value(case: pd.Series) -> float:
        if case["organism"] == control:
            return np.nan
        where = tuple(case[name] for name in place)
        for recipe in (case["recipe"], "plain"):
            for found, key in (
                (by_seed, (*where, recipe, case["seed"])),
                (by_recipe, (*where, recipe)),
            ):
                if key in found.index:
                    return float(found.loc[key])
        return np.nan

    return [value(case) for _, case in cases.iterrows()]
