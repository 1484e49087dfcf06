"""
Does the difference steer, and is it needed? Effects beside those of other directions, with
verdicts.
"""

from typing import Any

import numpy as np
import pandas as pd

from traces.analysis import verdicts
from traces.analysis.positions import to_average
from traces.analysis.statistics import mean_interval, paired_difference

# What one comparison of steered text is about, what it is measured by, and what it is held against.
STEERED = ["model", "organism", "family", "recipe", "ratio", "corpus", "steered_model"]
STEERED_MEASURES = ("steering_margin", "own_words")
STEERING_CONTROLS = ("random", "none")
# What one effect is of, and the directions that the difference is held against.
TAKEN_OUT = ["model", "organism", "family", "recipe", "ratio", "corpus", "layer", "evaluated_on"]
OTHER_DIRECTIONS = ("random", "activation_difference")


def steering_margin(steering: pd.DataFrame) -> pd.Series:
    """
    How much closer a steered text is to the organism's own data than to unrelated text.

    A vector that makes any text likelier, or the same words wherever it is added, gains nothing.
    """
    return steering["similarity_own"] - steering["similarity_unrelated"]


def steering_seeds(steering: pd.DataFrame) -> pd.DataFrame:
    """
    The steering table as means over positions: columns of STEERED, seed, measure, vector, value.

    `measure` is one of STEERED_MEASURES.
    """
    used = to_average(steering)
    long = used.assign(steering_margin=steering_margin(used)).melt(
        id_vars=[*STEERED, "seed", "vector"],
        value_vars=list(STEERED_MEASURES),
        var_name="measure",
    )
    keys = [*STEERED, "seed", "measure", "vector"]
    return long.groupby(keys, dropna=False, as_index=False, sort=False)["value"].mean()


def steering_verdicts(seeds: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """
    Does the difference steer? One row a model, organism, recipe, corpus, steered model and measure.

    seeds   : what `steering_seeds` returns
    returns : the mean over seeds of `difference`, `random` and `none`, each with `_low` and
              `_high`; `strongest_control`, the larger of the last two by its mean; `gap` to it,
              paired by seed, with `gap_low` and `gap_high`; `seeds`; `verdict`

    The verdict: steers if the interval of the paired difference to the strongest control lies
    above 0; does not steer if it lies below 0; not shown if it holds 0; undecided with fewer than
    two seeds. The two measures have no smallest gap that would matter, so that the bound is 0.
    """
    rows = []
    for case, group in seeds.groupby([*STEERED, "measure"], dropna=False, sort=False):
        values = group.pivot(index="seed", columns="vector", values="value")
        row: dict[str, Any] = dict(zip([*STEERED, "measure"], case, strict=True))
        for vector in ("difference", *STEERING_CONTROLS):
            interval = mean_interval(values.get(vector, []), confidence)
            row |= {vector: interval.mean}
            row |= {f"{vector}_low": interval.low, f"{vector}_high": interval.high}
        present = [name for name in STEERING_CONTROLS if not np.isnan(row[name])]
        strongest = max(present, key=lambda name: row[name], default=None)
        ours = values.get("difference", pd.Series(np.nan, index=values.index))
        theirs = values[strongest] if strongest else np.full(len(values), np.nan)
        gap = paired_difference(ours, theirs, confidence)
        verdict = verdicts.of_gap(gap, yes=verdicts.STEERS, no=verdicts.DOES_NOT_STEER)
        rows.append(
            row
            | {
                "seeds": len(values),
                "strongest_control": strongest or "",
                **{"gap": gap.mean, "gap_low": gap.low, "gap_high": gap.high},
                "verdict": verdict,
            }
        )
    return pd.DataFrame(rows)


def causality_effects(causality: pd.DataFrame) -> pd.DataFrame:
    """
    One effect a seed and direction: the base's component in the tuned model, mean over positions.

    returns : columns of TAKEN_OUT, seed, direction, direction_id (0 for the difference, whose
              positions are one mean), delta_loss and n_tokens (mean predictions counted)

    The prediction made at a difference's own position is left out, for the controls as well.
    """
    used = to_average(causality)
    chosen = used[
        (used["intervention"] == "base_to_tuned") & (used["aggregation"] == "without_position")
    ]
    number = chosen["direction_id"].where(chosen["direction"] != "difference", 0)
    keys = [*TAKEN_OUT, "seed", "direction", "direction_id"]
    by_direction = chosen.assign(direction_id=number).groupby(keys, dropna=False, sort=False)
    return by_direction[["delta_loss", "n_tokens"]].mean().reset_index()


def causality_verdicts(effects: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """
    Does taking the difference out do more than taking out another direction?

    effects : what `causality_effects` returns
    returns : columns of TAKEN_OUT; `effect` (mean over seeds), `low`, `high` (t interval), `seeds`;
              for each of OTHER_DIRECTIONS the mean over directions and seeds of its effect, and of
              the effect's size (`_size`); `times_random`, the effect's size over that of random
              directions; `beyond`, the share of other directions whose effect falls short of the
              difference's on its side of 0, smallest of the seeds; `verdict`

    The verdict: raises or lowers the loss if the whole interval lies on one side of 0 and `beyond`
    is at least the confidence in each seed; else not shown; undecided with fewer than two seeds.
    No size of an effect is too small to matter, so that none is ever said to be absent.
    """
    rows = []
    for case, group in effects.groupby(TAKEN_OUT, dropna=False, sort=False):
        own = group[group["direction"] == "difference"]
        found = mean_interval(own["delta_loss"], confidence)
        row: dict[str, Any] = dict(zip(TAKEN_OUT, case, strict=True))
        row |= {"effect": found.mean, "low": found.low, "high": found.high, "seeds": found.n}
        for name in OTHER_DIRECTIONS:
            of_kind = group.loc[group["direction"] == name, "delta_loss"]
            row |= {name: of_kind.mean(), f"{name}_size": of_kind.abs().mean()}
        times = abs(found.mean) / row["random_size"] if row["random_size"] else np.nan
        beyond = _beyond(group, float(np.sign(found.mean)))
        clear = (found.low > 0 or found.high < 0) and beyond >= confidence
        side = verdicts.RAISES if found.mean > 0 else verdicts.LOWERS
        verdict = side if clear else verdicts.NOT_SHOWN
        verdict = verdict if found.n >= 2 else verdicts.UNDECIDED
        rows.append(row | {"times_random": times, "beyond": beyond, "verdict": verdict})
    return pd.DataFrame(rows)


def _beyond(effects: pd.DataFrame, side: float) -> float:
    """The share of other directions that the difference exceeds on its side of 0; worst seed's."""
    shares = []
    for _, group in effects.groupby("seed"):
        is_difference = group["direction"] == "difference"
        own = group.loc[is_difference, "delta_loss"].mean()
        others = group.loc[~is_difference, "delta_loss"]
        shares.append((side * others < side * own).mean())
    return float(min(shares, default=np.nan))
