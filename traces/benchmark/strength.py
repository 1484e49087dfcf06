"""
Readability against strength: the strength at which a reader is half of the way to perfect.

The curve is a logistic one that begins at chance c and ends at 1: p(s) = c + (1 - c) / (1 + exp(-b
(s - h))) with b above 0. It is fitted to one number an organism between 0 and 1: the share of nulls
that it beats (whose mean is the AUC), or whether its domain is named. The likelihood is that of
Papke and Wooldridge (1996) for shares. Its maximum is looked for on a grid, so that a reader which
separates weak from strong without error has a steep curve and no failed fit. It is fitted to
organisms of one recipe.

h is the one number of a reader: the strength at which it is at (1 + c) / 2. Outside of what was
measured it is not given: the reader is "not reached", or is past its half at the weakest already.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from traces.benchmark.detection import Beaten
from traces.benchmark.evidence import Evidence
from traces.benchmark.naming import Named, chance_first
from traces.benchmark.organisms import NARROW, kinds, of_kind
from traces.benchmark.resampling import BOOTSTRAP, NO_BOUND, Draws, Estimate, ends, share_gap

DETECT, NAME = "detect", "name"
AT, NOT_REACHED, PASSED = "at", "not reached", "past it at the weakest"
NO_STRENGTHS = "too few strengths"
# Of what the strengths span: how far the grid goes beyond, its steps, and slopes an inverse span.
BEYOND, STEPS, SLOPES = 0.5, 201, np.geomspace(2, 400, 22)
# Strengths are matched within this share of what the two recipes span.
CALIPER = 0.05


class Curve(NamedTuple):
    """A fitted curve: chance, half-way strength and slope an inverse nat."""

    chance: float
    half: float
    slope: float

    def at(self, strength: NDArray[np.float64]) -> NDArray[np.float64]:
        return _curve(strength, self.half, self.slope, self.chance)


def _curve(strength: NDArray, half: NDArray | float, slope: NDArray | float, chance: float):
    # tanh does not overflow where exp would.
    return chance + (1 - chance) * 0.5 * (1 + np.tanh(0.5 * slope * (strength - half)))


def fitted(
    strengths: NDArray[np.float64],
    values: NDArray[np.float64],
    chance: float,
    weights: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """
    The half-way strength and slope of the likeliest curve, one of each row of weights.

    strengths : [organism], in nats
    values    : [organism] or [fit, organism], between 0 and 1
    weights   : [fit, organism], how often each counts; a row of ones is the plain fit
    returns   : half and slope, [fit]; an end of the grid stands for "beyond the grid"
    """
    low, high = strengths.min(), strengths.max()
    span = high - low
    inner = np.unique(strengths)
    halves = np.union1d(
        np.linspace(low - BEYOND * span, high + BEYOND * span, STEPS),
        (inner[1:] + inner[:-1]) / 2,
    )
    half, slope = (one.ravel() for one in np.meshgrid(halves, SLOPES / span, indexing="ij"))
    curves = _curve(strengths, half[:, None], slope[:, None], chance)
    curves = np.clip(curves, 1e-9, 1 - 1e-9)
    likely = (weights * values) @ np.log(curves).T + (weights * (1 - values)) @ np.log1p(-curves).T
    best = likely.argmax(axis=1)
    return half[best], slope[best]


def half_strength(
    strengths: NDArray[np.float64],
    values: NDArray[np.float64],
    chance: float,
    draws: Draws,
    places: NDArray[np.intp],
    drawn: NDArray[np.float64] | None = None,
) -> dict:
    """
    A reader's one number with its bootstrap interval, and what is said of it.

    drawn   : [resample, organism], the values in each resample, where they depend on what nulls
              were drawn; NaN where none was
    returns : value, low, high, bound, half, slope, chance, weakest, strongest, said. `half` is
              that of the fitted curve; `value` is the same where it lies among the strengths that
              were measured (`said` is AT), else missing, as is an end of the interval that does not
    """
    there = ~np.isnan(values) & ~np.isnan(strengths)
    strengths, values, places = strengths[there], values[there], places[there]
    again = values if drawn is None else drawn[:, there]
    nothing = Estimate(np.nan, np.nan, np.nan, NO_BOUND)._asdict()
    row = {"n": len(values), **nothing, "half": np.nan, "slope": np.nan}
    row |= {"chance": chance, "said": NO_STRENGTHS}
    if len(np.unique(strengths)) < 3 or draws.units_of(places).n < 3:
        return row | {"weakest": np.nan, "strongest": np.nan}
    low, high = float(strengths.min()), float(strengths.max())
    row |= {"weakest": low, "strongest": high}
    half, slope = fitted(strengths, values, chance, np.ones((1, len(values))))
    weights = np.where(np.isnan(again), 0.0, draws.weights[:, places])
    halves, _ = fitted(strengths, np.nan_to_num(again), chance, weights)
    first, last = ends(halves)
    said = NOT_REACHED if half[0] > high else PASSED if half[0] < low else AT
    return row | {
        "value": float(half[0]) if said == AT else np.nan,
        "low": first if low <= first <= high else np.nan,
        "high": last if low <= last <= high else np.nan,
        "bound": BOOTSTRAP,
        **{"half": float(half[0]), "slope": float(slope[0])},
        "said": said,
    }


class Readable(NamedTuple):
    """What a curve is fitted to: how well one task succeeds, organism by organism."""

    task: str
    null: str
    "The kind of null; empty of NAME."
    chance: float
    values: NDArray[np.float64]
    """[organism], 0 to 1. Of DETECT the share of nulls that a narrow organism beats, of NAME
    whether its domain comes first; NaN for what is no narrow organism or was not read."""
    drawn: NDArray[np.float64] | None
    "[resample, organism], the same among the nulls that were drawn; of DETECT alone."


def readabilities(
    evidence: Evidence, named: Named | None, organisms: pd.DataFrame, draws: Draws
) -> Iterator[Readable]:
    """A way's success at each task and against each kind of null."""
    narrow = of_kind(organisms, NARROW)
    for kind in kinds(organisms):
        beaten = Beaten(evidence, organisms, narrow, of_kind(organisms, kind))
        if not beaten.by_base:
            continue
        values = np.full(len(organisms), np.nan)
        drawn = np.full(draws.weights.shape, np.nan)
        values[beaten.narrow] = beaten.placements
        drawn[:, beaten.narrow] = beaten.drawn_placements(draws)
        yield Readable(DETECT, kind, 0.5, values, drawn)
    if named is not None:
        graded = named.of(narrow)
        if len(graded):
            chance = chance_first(float(named.candidates[graded].mean()))
            yield Readable(NAME, "", chance, named.first, None)


def of_main_recipe(organisms: pd.DataFrame) -> NDArray[np.intp]:
    """The places of narrow organisms of the recipe that has the most units, the first of equals."""
    places = of_kind(organisms, NARROW)
    units = organisms.loc[places].groupby("recipe", sort=False)["unit"].nunique()
    return places[(organisms.loc[places, "recipe"] == units.idxmax()).to_numpy()]


def half_rows(
    evidence: Evidence, named: Named | None, organisms: pd.DataFrame, draws: Draws
) -> Iterator[dict]:
    """
    The strength at half for each task and kind of null, over organisms of one recipe.

    Strengths of texts of different kinds, such as false facts and a topic's documents, are on no
    one scale: a curve over both would be one of neither.
    """
    narrow = of_main_recipe(organisms)
    strengths = organisms["strength"].to_numpy(dtype=np.float64)[narrow]
    for one in readabilities(evidence, named, organisms, draws):
        drawn = None if one.drawn is None else one.drawn[:, narrow]
        found = half_strength(strengths, one.values[narrow], one.chance, draws, narrow, drawn)
        yield {**evidence.way._asdict(), "task": one.task, "null": one.null, **found}


# At matched strength ----------------------------------------------------------------------------


def arms(organisms: pd.DataFrame) -> pd.Series:
    """How each was made, as far as it is compared at matched strength: recipe, and mixed or not."""
    mixed = organisms["dose"] < 1
    return organisms["recipe"].where(~mixed, organisms["recipe"] + ", mixed")


def matched_pairs(
    organisms: pd.DataFrame, ours: NDArray[np.intp], theirs: NDArray[np.intp], caliper: float
) -> list[tuple[int, int]]:
    """
    Pair organisms of one base whose strengths differ by at most `caliper` nats, each at most once.

    As many pairs as can be, and among those the ones with the smallest gaps in all.
    """
    strength, model = organisms["strength"].to_numpy(float), organisms["model"].to_numpy()
    pairs = []
    for base in dict.fromkeys(model[ours]):
        left, right = ours[model[ours] == base], theirs[model[theirs] == base]
        gaps = np.abs(strength[left][:, None] - strength[right][None])
        # A pair that is too far apart costs more than all others together.
        dear = 1.0 + 2 * caliper * (min(gaps.shape) + 1)
        rows, columns = linear_sum_assignment(np.where(gaps <= caliper, gaps, dear))
        kept = gaps[rows, columns] <= caliper
        pairs += list(zip(left[rows[kept]].tolist(), right[columns[kept]].tolist(), strict=True))
    return pairs


def recipe_rows(
    evidence: Evidence, named: Named | None, organisms: pd.DataFrame, draws: Draws
) -> Iterator[dict]:
    """
    Readability of one recipe less that of another over organisms of matched strength.

    The interval is over pairs, each counted as often as its first organism's unit was drawn.
    """
    arm = arms(organisms).to_numpy()
    strength = organisms["strength"].to_numpy(float)
    damage = organisms["damage"].to_numpy(float)
    narrow = of_kind(organisms, NARROW)
    names = list(dict.fromkeys(arm[narrow]))
    of_arm = {name: narrow[arm[narrow] == name] for name in names}
    matched = {
        (first, second): matched_pairs(
            *(organisms, of_arm[first], of_arm[second]),
            CALIPER * float(np.ptp(strength[np.concatenate([of_arm[first], of_arm[second]])])),
        )
        for place, first in enumerate(names)
        for second in names[place + 1 :]
    }
    for one in readabilities(evidence, named, organisms, draws):
        values = one.values
        for (first, second), pairs in matched.items():
            used = [(a, b) for a, b in pairs if not np.isnan(values[a] - values[b])]
            if not used:
                continue
            left, right = (np.array(side) for side in zip(*used, strict=True))
            gaps = values[left] - values[right]
            found = share_gap(float(gaps.mean()), draws.means(gaps, left), draws.units_of(left))
            yield {
                **evidence.way._asdict(),
                **{"task": one.task, "null": one.null, "recipe": first, "other": second},
                "n_pairs": len(used),
                "strength_gap": float((strength[left] - strength[right]).mean()),
                "damage_gap": float((damage[left] - damage[right]).mean()),
                **found._asdict(),
            }
