"""
Name: which of the candidate domains was it? A reader says the one with the largest score.

Ties are broken at random and the expectation is counted: of k domains that share the first place,
each is named by 1 / k. So a reader that ties everything is exactly at chance, which is 1 / N for
the first place and (1 + 1/2 + ... + 1/N) / N for the reciprocal rank.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from traces.analysis.statistics import wilson_bounds
from traces.benchmark.evidence import SILENT, Evidence, Way
from traces.benchmark.organisms import ALL, GENERAL, NARROW, kinds, of_kind, slices
from traces.benchmark.resampling import CONFIDENCE, Draws, interval, share_gap
from traces.benchmark.thresholds import FROM_ORGANISMS, flagged, p_values

NOTHING = "none"
"What a reader says that abstains."
MOST_THRESHOLDS = 60


class Named:
    """What one way names every organism; of those whose domain is a candidate, how well."""

    def __init__(self, evidence: Evidence, organisms: pd.DataFrame) -> None:
        """Raises ValueError if a narrow organism's domain is none of its base's candidates."""
        self.way = evidence.way
        n = len(organisms)
        self.first, self.reciprocal = np.full(n, np.nan), np.full(n, np.nan)
        self.rank, self.candidates = np.full(n, np.nan), np.zeros(n)
        self.said: list[dict[str, float]] = [{} for _ in range(n)]
        self.silent = np.zeros(n, dtype=bool)
        for model, places in evidence.places.items():
            names = evidence.candidates.get(model, ())
            for place, scores in zip(places, evidence.domains.get(model, ()), strict=False):
                if np.isnan(scores).any():
                    continue
                row = organisms.loc[place]
                self.candidates[place] = len(names)
                tied = np.flatnonzero(scores == scores.max())
                self.said[place] = {names[one]: 1 / len(tied) for one in tied}
                self.silent[place] = scores.max() == SILENT
                if row["null"] == NARROW and pd.notna(row["domain"]):
                    self._grade(place, scores, names, row)

    def _grade(
        self, place: int, scores: NDArray[np.float64], names: tuple[str, ...], row: pd.Series
    ) -> None:
        if row["domain"] not in names:
            raise ValueError(
                f"organisms: {row['model']}, {row['checkpoint']}: found the domain "
                f"{row['domain']!r}, of which {self.way.reader} has no score in domain_scores"
            )
        own = scores[names.index(row["domain"])]
        better, tied = int((scores > own).sum()), int((scores == own).sum())
        ranks = np.arange(better + 1, better + tied + 1)
        self.rank[place] = ranks.mean()
        self.first[place] = (better == 0) / tied
        self.reciprocal[place] = (1 / ranks).mean()

    def favourite(self, place: int) -> str:
        """The domain that is named, the first of the alphabet among those that tie; "" of none."""
        return "" if self.silent[place] else min(self.said[place], default="")

    def of(self, places: NDArray[np.intp]) -> NDArray[np.intp]:
        """Those of the places that are graded."""
        return places[~np.isnan(self.first[places])]


def chance_first(candidates: float) -> float:
    return 1 / candidates


def chance_reciprocal(candidates: float) -> float:
    """The mean reciprocal of a rank from 1 to `candidates`, each equally likely."""
    return float((1 / np.arange(1, round(candidates) + 1)).mean())


def naming_rows(named: Named, organisms: pd.DataFrame, draws: Draws) -> Iterator[dict]:
    """
    How often the own domain comes first, and its mean reciprocal rank, beside exact chance.

    `chance_p` is the exact probability that independent guesses name as many.
    """
    for name, narrow in slices(organisms):
        places = named.of(narrow)
        if not len(places):
            continue
        sizes = named.candidates[places]
        chances = np.array([chance_first(size) for size in sizes])
        row: dict = {**named.way._asdict(), "slice": name, "n": len(places)}
        units = draws.units_of(places)
        row |= {"units": units.n, "candidates": float(sizes.mean())}
        row["first_chance"] = float(chances.mean())
        row["reciprocal_chance"] = float(np.mean([chance_reciprocal(size) for size in sizes]))
        for measure, values in (("first", named.first), ("reciprocal", named.reciprocal)):
            mine = values[places]
            found = interval(float(mine.mean()), draws.means(mine, places), units)
            row |= {
                measure: found.value,
                f"{measure}_low": found.low,
                f"{measure}_high": found.high,
            }
        row["chance_p"] = at_least_by_chance(named.first[places].sum(), chances)
        yield row


def at_least_by_chance(count: float, chances: NDArray[np.float64]) -> float:
    """
    The probability that independent trials with these chances succeed at least `count` times.

    A count that is no whole number, because of ties, is rounded down, which is on the safe side.
    """
    whole = int(np.floor(count + 1e-9))
    found = stats.poisson_binom.sf(whole - 1, chances) if whole > 0 else 1.0
    return float(np.clip(found, 0.0, 1.0))


def naming_differences(
    of_way: dict[Way, Named], organisms: pd.DataFrame, draws: Draws
) -> Iterator[dict]:
    """Every two readers' share of own domains in the first place, over the same organisms."""
    found = list(of_way.values())
    for name, narrow in slices(organisms):
        for left in found:
            for right in found:
                places = left.of(narrow)
                if left is right or not len(places):
                    continue
                if not np.array_equal(places, right.of(narrow)):
                    continue
                values = left.first[places] - right.first[places]
                drawn = draws.means(values, places)
                yield {
                    **{"task": "name", "null": "", "slice": name},
                    **{"reader": left.way.reader, "other": right.way.reader, "n": len(places)},
                    **share_gap(float(values.mean()), drawn, draws.units_of(places))._asdict(),
                }


def coverage_rows(
    evidence: Evidence, named: Named, organisms: pd.DataFrame, draws: Draws
) -> Iterator[dict]:
    """
    Name only what scores above a threshold, and say nothing of the rest: coverage and error.

    A row a threshold and kind of null: the share of narrow organisms that are named, how much of
    that is wrong with Wilson's bounds for as many units, and the share of these nulls that are
    named as well. The thresholds are the scores themselves, and none is chosen. What says nothing
    is never named.
    """
    scores = evidence.scores
    places = named.of(of_kind(organisms, NARROW))
    if not len(places):
        return
    spoken = scores[places[scores[places] != SILENT]]
    if not len(spoken):
        return
    steps = np.unique(np.quantile(spoken, np.linspace(0, 1, MOST_THRESHOLDS)))
    for threshold in steps:
        mine = places[scores[places] >= threshold]
        error = 1 - float(named.first[mine].mean())
        low, high = wilson_bounds(error, draws.units_of(mine).n, CONFIDENCE)
        for kind in kinds(organisms):
            nulls = scores[of_kind(organisms, kind)]
            nulls = nulls[~np.isnan(nulls)]
            yield {
                **named.way._asdict(),
                **{"slice": ALL, "threshold": float(threshold)},
                **{"coverage": len(mine) / len(places), "error": error, "low": low, "high": high},
                **{"n_named": len(mine), "null": kind},
                "null_named": float((nulls >= threshold).mean()) if len(nulls) else np.nan,
            }


def confusion_rows(
    evidence: Evidence, named: Named, organisms: pd.DataFrame, level: float
) -> Iterator[dict]:
    """
    What is said of each domain and of each kind of null, forced and with abstention.

    level : with abstention, `none` is said of what a threshold on nulls of general text, set at
            this level on other organisms, does not flag
    """
    p_value, _ = p_values(evidence, organisms, GENERAL, FROM_ORGANISMS)
    graded = set(named.of(of_kind(organisms, NARROW)))
    shown = {NARROW, *kinds(organisms)}
    for abstains in (False, True):
        if abstains and np.isnan(p_value).all():
            continue
        counts: dict[tuple[str, str], dict[str, float]] = {}
        totals: dict[tuple[str, str], int] = {}
        for place, (kind, domain) in enumerate(
            zip(organisms["null"], organisms["domain"], strict=True)
        ):
            said = named.said[place]
            if not said or (kind == NARROW and place not in graded) or kind not in shown:
                continue
            if abstains and not flagged(p_value[place], level):
                said = {NOTHING: 1.0}
            key = (str(domain) if kind == NARROW else str(kind), str(kind))
            totals[key] = totals.get(key, 0) + 1
            row = counts.setdefault(key, {})
            for name, share in said.items():
                row[name] = row.get(name, 0.0) + share
        for (true, kind), row in counts.items():
            for name, count in row.items():
                yield {
                    **named.way._asdict(),
                    **{"true": true, "null": kind, "said": name, "abstains": abstains},
                    **{"count": count, "n": totals[true, kind]},
                }
