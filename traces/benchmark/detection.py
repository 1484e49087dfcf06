"""
Detect: is a finetune narrow? AUC and ROC against each kind of null.

Organisms are compared with nulls of one kind and of their own base; kinds are never pooled. Several
bases are averaged over their narrow organisms.

**AUC** is the chance that a narrow organism scores higher than a null of its base, a tie counting
half (Mann and Whitney's U over the number of pairs).
"""

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from traces.benchmark.evidence import Evidence, Way
from traces.benchmark.organisms import ALL, NARROW, kinds, of_kind, slices
from traces.benchmark.resampling import Draws, Estimate, Units, divided, interval, share_gap

GRID = np.linspace(0, 1, 101)
"False-positive rates at which an ROC is written."
MATCHED = 1.05
"Two organisms are matched in a detector where neither's score exceeds the other's by this factor."


class Beaten:
    """The pairs of narrow organisms and nulls of one kind, base by base."""

    def __init__(
        self,
        evidence: Evidence,
        organisms: pd.DataFrame,
        narrow: NDArray[np.intp],
        nulls: NDArray[np.intp],
        pairs: NDArray[np.bool_] | None = None,
    ) -> None:
        """
        narrow, nulls : places in the rows
        pairs         : [row, row], which pairs count; all where not given
        """
        models = organisms["model"].to_numpy()
        self.by_base: list[tuple[NDArray, NDArray, NDArray]] = []
        for model in dict.fromkeys(models[narrow]):
            ours, theirs = narrow[models[narrow] == model], nulls[models[nulls] == model]
            found = evidence.between(str(model), ours, theirs)
            if pairs is not None:
                found = np.where(pairs[np.ix_(ours, theirs)], found, np.nan)
            ours, found = ours[~np.isnan(found).all(axis=1)], _rows(found)
            theirs, found = theirs[~np.isnan(found).all(axis=0)], _rows(found.T).T
            if found.size:
                self.by_base.append((ours, theirs, found))

    @property
    def narrow(self) -> NDArray[np.intp]:
        """The places of the narrow organisms that have a null to be compared with."""
        return _joined([ours for ours, _, _ in self.by_base])

    @property
    def nulls(self) -> NDArray[np.intp]:
        return _joined([theirs for _, theirs, _ in self.by_base])

    @property
    def placements(self) -> NDArray[np.float64]:
        """The share of nulls that each of `narrow` beats; ties count half."""
        if not self.by_base:
            return np.empty(0)
        return np.concatenate([np.nanmean(found, axis=1) for _, _, found in self.by_base])

    @property
    def auc(self) -> float:
        return float(self.placements.mean()) if self.by_base else np.nan

    def drawn_placements(self, draws: Draws) -> NDArray[np.float64]:
        """[resample, narrow]: the placements among the nulls that were drawn; NaN without any."""
        parts = []
        for _, theirs, found in self.by_base:
            there, nulls = ~np.isnan(found), draws.weights[:, theirs]
            beaten = np.where(there, found, 0.0)
            parts.append(divided(nulls @ beaten.T, nulls @ there.T.astype(float)))
        return np.concatenate(parts, axis=1)

    def drawn(self, draws: Draws) -> NDArray[np.float64]:
        """[resample]: the AUC in each."""
        shares = self.drawn_placements(draws)
        counted = np.where(np.isnan(shares), 0.0, draws.weights[:, self.narrow])
        return divided((counted * np.nan_to_num(shares)).sum(axis=1), counted.sum(axis=1))

    def units(self, draws: Draws) -> Units:
        return draws.units_of(self.narrow).or_fewer(draws.units_of(self.nulls))

    def estimate(self, draws: Draws) -> Estimate:
        if not self.by_base:
            return interval(np.nan, np.empty(0), Units(0))
        return interval(self.auc, self.drawn(draws), self.units(draws))

    def roc(self) -> NDArray[np.float64]:
        """
        The true-positive rate at each false-positive rate of GRID.

        A narrow organism is found once the rate has passed the share of nulls above it; ties are
        shared out evenly, so that a reader that ties everything runs along the diagonal. The area
        under the curve is the AUC.
        """
        curves = [_curve(row[~np.isnan(row)]) for *_, found in self.by_base for row in found]
        return np.mean(curves, axis=0) if curves else np.full(GRID.shape, np.nan)


def _curve(beaten: NDArray[np.float64]) -> NDArray[np.float64]:
    above, tied = np.mean(beaten == 0), np.mean(beaten == 0.5)
    # A share of nulls is a sum of floats; the grid's 0.1 must not fall short of it.
    if not tied:
        return (above - 1e-9 <= GRID).astype(float)
    return np.clip((GRID - above) / tied, 0.0, 1.0)


def _rows(found: NDArray[np.float64]) -> NDArray[np.float64]:
    return found[~np.isnan(found).all(axis=1)]


def _joined(parts: list[NDArray]) -> NDArray[np.intp]:
    return np.concatenate(parts).astype(np.intp) if parts else np.empty(0, dtype=np.intp)


# Tables -----------------------------------------------------------------------------------------


def detection_rows(evidence: Evidence, organisms: pd.DataFrame, draws: Draws) -> Iterator[dict]:
    """The AUC against each kind of null, over all narrow organisms and on each rung."""
    for kind in kinds(organisms):
        nulls = of_kind(organisms, kind)
        for name, narrow in slices(organisms):
            beaten = Beaten(evidence, organisms, narrow, nulls)
            yield _row(evidence, kind, name, "", beaten, draws)


def matched_rows(
    evidence: Evidence, organisms: pd.DataFrame, draws: Draws, measures: dict[str, NDArray]
) -> Iterator[dict]:
    """
    The AUC over pairs that are alike in a detector, so that hardly anything of it is left to find.

    measures : by detector, [organism], positive numbers
    """
    for kind in kinds(organisms):
        for name, values in measures.items():
            with np.errstate(divide="ignore", invalid="ignore"):
                logs = np.log(values)
                alike = np.abs(logs[:, None] - logs[None]) <= math.log(MATCHED)
            narrow, nulls = of_kind(organisms, NARROW), of_kind(organisms, kind)
            beaten = Beaten(evidence, organisms, narrow, nulls, alike)
            yield _row(evidence, kind, ALL, name, beaten, draws)


def _row(
    evidence: Evidence, kind: str, name: str, matched: str, beaten: Beaten, draws: Draws
) -> dict:
    return {
        **evidence.way._asdict(),
        **{"null": kind, "slice": name, "matched_on": matched},
        **{"n_narrow": len(beaten.narrow), "n_null": len(beaten.nulls)},
        "units": beaten.units(draws).n,
        **beaten.estimate(draws)._asdict(),
        "cost_s": evidence.cost_s,
    }


def roc_rows(evidence: Evidence, organisms: pd.DataFrame) -> pd.DataFrame:
    """The ROC against each kind of null, over all narrow organisms and on each rung."""
    parts = []
    for kind in kinds(organisms):
        for name, narrow in slices(organisms):
            beaten = Beaten(evidence, organisms, narrow, of_kind(organisms, kind))
            parts.append(
                pd.DataFrame(
                    {
                        **evidence.way._asdict(),
                        **{"null": kind, "slice": name, "false_positive_rate": GRID},
                        "true_positive_rate": beaten.roc(),
                    }
                )
            )
    return pd.concat(parts, ignore_index=True).dropna(subset=["true_positive_rate"])


def differences(
    of_way: dict[Way, Evidence], organisms: pd.DataFrame, draws: Draws
) -> Iterator[dict]:
    """Every two readers' AUC, ours less the other's, over the same organisms and resamples."""
    found = list(of_way.values())
    for kind in kinds(organisms):
        nulls = of_kind(organisms, kind)
        for name, narrow in slices(organisms):
            beaten = [Beaten(one, organisms, narrow, nulls) for one in found]
            drawn = [one.drawn(draws) for one in beaten]
            for ours, left in enumerate(beaten):
                for theirs, right in enumerate(beaten):
                    if ours == theirs or not _same(left, right):
                        continue
                    value = left.auc - right.auc
                    yield {
                        **{"task": "detect", "null": kind, "slice": name},
                        "reader": found[ours].way.reader,
                        "other": found[theirs].way.reader,
                        "n": len(left.narrow),
                        **share_gap(
                            value, drawn[ours] - drawn[theirs], left.units(draws)
                        )._asdict(),
                    }


def _same(left: Beaten, right: Beaten) -> bool:
    """Two readers are paired where both read the same organisms, of which there are some."""
    if not left.by_base:
        return False
    alike = np.array_equal(left.narrow, right.narrow)
    return alike and np.array_equal(left.nulls, right.nulls)
