"""The benign counterpart of an organism's numbers, and what else they are compared with."""

import numpy as np
import pandas as pd

from traces.artifacts.tables import CONTROLS as CONTROLS

# What one row of the readability table is about.
CASE = ["model", "organism", "family", "recipe", "ratio", "corpus", "layer", "lens"]


def benign_readings(chosen: pd.DataFrame, seeds: pd.DataFrame, control: str | None) -> pd.DataFrame:
    """The benign organism's differences, graded on the words of every other organism."""
    place = ["model", "corpus", "layer", "lens", "graded_on"]
    benign = chosen[(chosen["organism"] == control) & (chosen["reading"] == "difference")]
    by_seed = benign.groupby([*place, "recipe", "seed"])["relevance"].mean()
    by_recipe = by_seed.groupby([*place, "recipe"]).mean()

    cases = seeds.loc[
        (seeds["reading"] == "difference") & (seeds["organism"] != control), [*CASE, "seed"]
    ]

    def reading(case: pd.Series) -> float:
        where = (case["model"], case["corpus"], case["layer"], case["lens"], case["organism"])
        for recipe in (case["recipe"], "plain"):
            for found, key in (
                (by_seed, (*where, recipe, case["seed"])),
                (by_recipe, (*where, recipe)),
            ):
                if key in found.index:
                    return float(found.loc[key])
        return np.nan

    values = [reading(case) for _, case in cases.iterrows()]
    return cases.assign(reading="benign", relevance=values).dropna(subset=["relevance"])
