"""
Grades of hypotheses: how many there are, what factors they are of, and how far graders agree.

A row is one grade, as in the agents table: of an organism on a model, by an agent, a prompt form,
interactions and a run, by a grader and a repeat. A row without a grade is an abstention, or missing
with a reason. Both are counted here, and neither is a grade.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

# What an investigation is: the same hypothesis, whoever grades it.
RUN = ["model", "checkpoint", "null", "agent", "prompt", "agent_model", "interactions", "run"]
# What grades are counted by, and what of them is varied.
COUNTED_BY = ["null", "agent", "prompt", "agent_model", "interactions", "grader_model"]
FACTORS = ("agent", "interactions", "prompt", "family", "model", "agent_model", "grader_model")
GRADES = (1, 2, 3, 4, 5)


def grade_counts(agents: pd.DataFrame) -> pd.DataFrame:
    """
    Count every planned row by what came of it.

    returns : COUNTED_BY, outcome (`graded`, `abstained`, or the reason why it is missing) and n;
              the sum over outcomes is what was planned

    Raises ValueError for a row that has neither a grade, nor an abstention, nor a reason.
    """
    outcome = pd.Series("graded", index=agents.index)
    outcome = outcome.mask(agents["abstained"].fillna(False).astype(bool), "abstained")
    outcome = outcome.mask(agents["reason_missing"].notna(), agents["reason_missing"])
    nothing = (outcome == "graded") & agents["grade"].isna()
    if nothing.any():
        row = agents.loc[nothing.idxmax(), RUN].to_dict()
        raise ValueError(
            f"the agents table: found nothing of {row}, expected a grade, an abstention or a reason"
        )
    found = agents.assign(outcome=outcome).groupby([*COUNTED_BY, "outcome"], dropna=False)
    return found.size().rename("n").reset_index()


def of_organisms(agents: pd.DataFrame, families: Mapping[str, str]) -> pd.DataFrame:
    """
    The grades of real organisms, each with its family and the number of its investigation.

    families : of every organism
    returns  : the rows with a grade whose null is `none`, with family and investigation

    Raises ValueError for an organism without a family.
    """
    found = agents[(agents["null"] == "none") & agents["grade"].notna()]
    unknown = sorted(set(found["organism"]) - set(families))
    if unknown:
        raise ValueError(f"the agents table: found the organism {unknown[0]}, which has no family")
    return found.assign(
        grade=found["grade"].astype(int),
        family=found["organism"].map(dict(families)),
        investigation=found.groupby(RUN, dropna=False).ngroup(),
    )


# Effect coding ----------------------------------------------------------------------------------


class Design(NamedTuple):
    """Factors as columns: each factor's effects sum to 0 over its levels."""

    matrix: NDArray[np.float64]
    "[row, column], a standard normal prior on each column's weight."
    levels: dict[str, list]
    "The levels of each factor that varies."
    bases: dict[str, NDArray[np.float64]]
    "What makes a factor's effects of its weights, [level, column]."
    columns: dict[str, slice]
    estimable: dict[str, bool]
    "Whether the data alone tell a factor's effects, or it coincides with others."


def design(frame: pd.DataFrame, factors: Sequence[str] = FACTORS) -> Design:
    """
    Code factors by effects.

    The weights of a factor with k levels are k - 1 numbers. Its effects are made of them so that
    all levels have the same prior, with a standard deviation of 1. One level alone has none.
    """
    levels = {name: sorted(frame[name].unique()) for name in factors}
    levels = {name: found for name, found in levels.items() if len(found) > 1}
    parts, columns, bases, start = [], {}, {}, 0
    for name, found in levels.items():
        bases[name] = zero_sum_basis(len(found))
        places = frame[name].map({level: place for place, level in enumerate(found)})
        parts.append(bases[name][places.to_numpy(dtype=int)])
        columns[name] = slice(start, start + len(found) - 1)
        start += len(found) - 1
    matrix = np.concatenate(parts, axis=1) if parts else np.zeros((len(frame), 0))
    return Design(matrix, levels, bases, columns, _estimable(matrix, columns))


def zero_sum_basis(k: int) -> NDArray[np.float64]:
    """
    A matrix [k, k - 1] whose columns sum to 0 and are orthogonal, each row of length 1.

    Standard normal weights then give k effects with a sum of 0 and a standard deviation of 1 each.
    """
    full = np.linalg.qr(np.column_stack([np.ones(k), np.eye(k)[:, : k - 1]]))[0]
    return full[:, 1:] * np.sqrt(k / (k - 1))


def _estimable(matrix: NDArray[np.float64], columns: Mapping[str, slice]) -> dict[str, bool]:
    def rank(without: slice | None = None) -> int:
        kept = matrix if without is None else np.delete(matrix, without, axis=1)
        return int(np.linalg.matrix_rank(np.column_stack([np.ones(len(matrix)), kept])))

    whole = rank()
    return {name: whole - rank(own) == own.stop - own.start for name, own in columns.items()}


# Agreement --------------------------------------------------------------------------------------


class Alpha(NamedTuple):
    """Krippendorff's alpha with its interval; NaN where all values are the same, or none meet."""

    alpha: float
    low: float
    high: float
    n_units: int
    n_values: int


def ordinal_alpha(
    values: NDArray[np.float64],
    *,
    seed: int,
    drawn_with: NDArray[np.int64] | None = None,
    resamples: int = 2000,
    confidence: float = 0.95,
) -> Alpha:
    """
    Krippendorff's alpha for ordinal values, with a percentile bootstrap over units.

    values     : [unit, coder], NaN where a coder has none
    drawn_with : [unit], units of one number are drawn together; each by itself where not given
    returns    : of units with two values or more: 1 for full agreement, 0 for that of chance

    Two categories are ordinal in the same way as they are nominal. Our own, since the bootstrap
    needs the coincidences unit by unit. Source: Krippendorff 2011, checked against its example.
    """
    meets = (~np.isnan(values)).sum(axis=1) > 1
    units = values[meets]
    categories = np.unique(units[~np.isnan(units)])
    # How often each category is in each unit.
    counts = (units[:, :, None] == categories).sum(axis=1).astype(np.float64)
    pairs = counts[:, :, None] * counts[:, None, :]
    pairs -= counts[:, :, None] * np.eye(len(categories))
    pairs /= np.maximum(counts.sum(axis=1) - 1, 1)[:, None, None]
    found = _alpha(pairs.sum(axis=0))
    n_values = int(counts.sum())
    every = np.arange(len(values)) if drawn_with is None else drawn_with
    names, group = np.unique(every[meets], return_inverse=True)
    if len(names) < 2:
        return Alpha(found, np.nan, np.nan, len(units), n_values)
    drawn = np.random.default_rng(seed).multinomial(
        len(names), np.full(len(names), 1 / len(names)), size=resamples
    )
    weights = drawn[:, group].astype(np.float64)
    again = [_alpha(one) for one in np.tensordot(weights, pairs, axes=1)]
    tail = (1 - confidence) / 2
    # A resample whose values are all the same has no alpha.
    known = [one for one in again if not np.isnan(one)]
    low, high = np.quantile(known, [tail, 1 - tail]) if known else (np.nan, np.nan)
    return Alpha(found, float(low), float(high), len(units), n_values)


def _alpha(coincidences: NDArray[np.float64]) -> float:
    """Alpha of a matrix of coincidences, [category, category], in the categories' order."""
    totals = coincidences.sum(axis=1)
    up_to = np.cumsum(totals) - totals / 2
    distances = (up_to[:, None] - up_to[None, :]) ** 2
    expected = (np.outer(totals, totals) * distances).sum()
    if expected == 0:
        return float("nan")
    return float(1 - (totals.sum() - 1) * (coincidences * distances).sum() / expected)


def agreement(agents: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """
    How far graders agree with one another, and each with itself.

    returns : between (`graders`, or `repeats` of the one named in grader_model), of (`grade`, or
              `abstention`: whether it is one), alpha, alpha_low, alpha_high, n_units, n_values

    A unit is a hypothesis; between graders, one repeat of it. The bootstrap draws hypotheses, each
    with all its repeats. A missing row has no value, and an abstention no grade.
    """
    frame = agents.assign(
        abstention=agents["abstained"].astype("Float64"), grade=agents["grade"].astype("Float64")
    )
    rows = []
    for of in ("grade", "abstention"):
        rows.append(
            {"between": "graders", "grader_model": None, "of": of}
            | _between(frame, [*RUN, "repeat"], "grader_model", of, seed)
        )
        for grader, own in frame.groupby("grader_model", sort=False):
            rows.append(
                {"between": "repeats", "grader_model": grader, "of": of}
                | _between(own, RUN, "repeat", of, seed)
            )
    return pd.DataFrame(rows)


def _between(
    frame: pd.DataFrame, units: list[str], coder: str, of: str, seed: int
) -> dict[str, float]:
    numbered = frame.assign(
        unit=frame.groupby(units, dropna=False).ngroup(),
        hypothesis=frame.groupby(RUN, dropna=False).ngroup(),
    )
    wide = numbered.pivot(index="unit", columns=coder, values=of)
    found = ordinal_alpha(
        wide.to_numpy(dtype=np.float64, na_value=np.nan),
        seed=seed,
        drawn_with=numbered.groupby("unit")["hypothesis"].first().to_numpy(),
    )
    ends = {"alpha_low": found.low, "alpha_high": found.high}
    return {"alpha": found.alpha, **ends, "n_units": found.n_units, "n_values": found.n_values}
