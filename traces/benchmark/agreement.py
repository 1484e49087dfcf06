"""
Cross-seed agreement: do two seeds of an organism read alike, more than two organisms do?

Lists are compared by rank-biased overlap, extrapolated beyond the depth that was seen: Webber,
Moffat and Zobel, "A similarity measure for indefinite rankings" (ACM TOIS 28, 2010), equation 32.
With X_d the number of tokens that the first d of both share, s and l the lengths of the shorter and
the longer list, and p the persistence:

    RBO = (1 - p) / p * (sum over d = 1..l of X_d / d * p^d
                         + sum over d = s+1..l of X_s (d - s) / (s d) * p^d)
          + ((X_l - X_s) / l + X_s / s) * p^l

**A bound on error without truth.** Where two seeds of an organism are named differently, at least
one of the two names is wrong. So a reader is wrong at least half as often as two seeds disagree.
That they agree shows nothing: they may be wrong alike.
"""

import itertools
from collections.abc import Hashable, Iterator, Sequence

import numpy as np
import pandas as pd

from traces.benchmark.evidence import compared
from traces.benchmark.naming import Named
from traces.benchmark.organisms import NARROW
from traces.benchmark.resampling import NO_BOUND, Draws, Estimate, interval

SEEDS, BASES = "seeds", "bases"
"Two checkpoints that differ in the seed on one base, or in the base."
MADE = ["recipe", "dose", "steps"]


def rank_biased_overlap(
    ours: Sequence[Hashable], theirs: Sequence[Hashable], persistence: float
) -> float:
    """
    Extrapolated rank-biased overlap of two lists without ties, 0 to 1.

    persistence : p, above 0 and below 1; the first k ranks weigh more the smaller it is
    returns     : NaN where a list is empty

    Raises ValueError for a token that is twice in a list, and for a persistence out of range.
    """
    if not 0 < persistence < 1:
        raise ValueError(f"found the persistence {persistence}, expected one between 0 and 1")
    for one in (ours, theirs):
        if len(set(one)) < len(one):
            raise ValueError(f"found a token twice in a list of {len(one)}, expected each once")
    short, long = sorted((list(ours), list(theirs)), key=len)
    if not short:
        return float("nan")
    s, l_, p = len(short), len(long), persistence
    shared = _shared(short, long)
    depths = np.arange(1, l_ + 1)
    weights = p**depths
    seen = (shared / depths * weights).sum()
    beyond = (shared[s - 1] * (depths[s:] - s) / (s * depths[s:]) * weights[s:]).sum()
    rest = ((shared[-1] - shared[s - 1]) / l_ + shared[s - 1] / s) * p**l_
    return float((1 - p) / p * (seen + beyond) + rest)


def _shared(short: Sequence[Hashable], long: Sequence[Hashable]) -> np.ndarray:
    """How many tokens the first d of both share, for d from 1 to the longer one's length."""
    counts, left, right = [], set(), set()
    for mine, other in itertools.zip_longest(short, long):
        left |= {mine} if len(left) < len(short) else set()
        right.add(other)
        counts.append(len(left & right))
    return np.array(counts, dtype=float)


def agreement_rows(
    lists: pd.DataFrame,
    organisms: pd.DataFrame,
    draws: Draws,
    named: dict[str, Named],
    persistence: float,
) -> Iterator[dict]:
    """
    How alike two lists of one organism are, how alike those of two organisms, by reader and rung.

    lists : columns of token_lists.parquet
    named : by reader, what it names: for the bound on error, and for whom it has read

    A checkpoint that was read and of which nothing is listed agrees with nobody.

    Both lists of a pair are of narrow organisms made alike, of two seeds or of two bases.
    A pair of two organisms differs in the domain as well. `value` is the chance that a pair of one
    organism is more alike than a pair of two.
    """
    narrow = organisms[organisms["null"] == NARROW]
    at = {
        (model, checkpoint): place
        for place, model, checkpoint in zip(
            narrow.index, narrow["model"], narrow["checkpoint"], strict=True
        )
    }
    for reader, rows in lists.groupby("reader", sort=False):
        ranked = {
            # Pieces of a character have one text, and the first of them counts.
            at[key]: list(dict.fromkeys(group.sort_values("rank")["token"]))
            for key, group in rows.groupby(["model", "checkpoint"], sort=False)
            if key in at
        }
        if str(reader) in named:
            said = named[str(reader)].said
            ranked |= {at[key]: [] for key in at if said[at[key]] and at[key] not in ranked}
        for across in (SEEDS, BASES):
            for _, group in narrow[narrow.index.isin(list(ranked))].groupby(MADE, sort=False):
                same, other = _pairs(group, across)
                if same:
                    yield {
                        **{"reader": reader, "across": across, "slice": group["slice"].iloc[0]},
                        **_compared(ranked, same, other, draws, persistence),
                        "error_at_least": _bound(named.get(str(reader)), same),
                    }


def _pairs(group: pd.DataFrame, across: str) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Pairs of places: of one organism, and of two whose domains differ."""
    same, other = [], []
    rows = list(
        zip(group.index, group["model"], group["organism"], group["unit"], group["seed"],
            strict=True)
    )  # fmt: skip
    for (a, base, organism, unit, seed), (
        b,
        base_b,
        organism_b,
        unit_b,
        seed_b,
    ) in itertools.combinations(rows, 2):
        # Two of one seed began with the same weights, which is no agreement on what was learned.
        if (base == base_b) != (across == SEEDS) or (across == SEEDS and seed == seed_b):
            continue
        if organism == organism_b:
            same.append((a, b))
        elif unit != unit_b:
            other.append((a, b))
    return same, other


def _compared(
    ranked: dict[int, list[str]],
    same: list[tuple[int, int]],
    other: list[tuple[int, int]],
    draws: Draws,
    persistence: float,
) -> dict:
    def overlaps(pairs: list[tuple[int, int]]) -> np.ndarray:
        found = [rank_biased_overlap(ranked[a], ranked[b], persistence) for a, b in pairs]
        return np.nan_to_num(np.array(found, dtype=float))

    ours, theirs = overlaps(same), overlaps(other)
    first = np.array([a for a, _ in same])
    units = draws.units_of(first)
    alike = interval(float(ours.mean()), draws.means(ours, first), units)
    found = Estimate(np.nan, np.nan, np.nan, NO_BOUND)
    if len(theirs):
        wins = compared(ours[:, None], theirs[None]).mean(axis=1)
        found = interval(float(wins.mean()), draws.means(wins, first), units)
    return {
        **{"n_same": len(same), "n_other": len(other)},
        **{"same": alike.value, "same_low": alike.low, "same_high": alike.high},
        "other": float(theirs.mean()) if len(theirs) else np.nan,
        **found._asdict(),
    }


def _bound(named: Named | None, same: list[tuple[int, int]]) -> float:
    """Half of the share of pairs that are named differently; ties agree by their expectation."""
    if named is None:
        return float("nan")
    known = [(named.said[a], named.said[b]) for a, b in same if named.said[a] and named.said[b]]
    if not known:
        return float("nan")
    agree = [sum(share * b.get(name, 0.0) for name, share in a.items()) for a, b in known]
    return 0.5 * (1 - float(np.mean(agree)))
