"""
Score all readers: the tables of the benchmark from what was read of the organisms.

In   organisms, domain_scores, detector_scores, token_lists (their schemas: traces/artifacts/tables)
Out  TABLES, by name; no organism of the pilot is in one of them

The headline of every task is one way a reader: `scoring.statistic` and `scoring.adjustment`, fixed
beforehand, on the pilot (traces/benchmark/pilot.py). Other ways stand in the tables; who picks the
best of them picks luck.

ASSUME a larger score speaks for a narrow finetune, of a detector too. Who collects one for which
smaller does, such as the effective rank of the weight change, turns its sign.
ASSUME every organism of a base that a reader read has a score of each candidate of that base.
An organism whose null is `unknown` is placed (traces/benchmark/placing.py) and counts nowhere else.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from traces.artifacts.tables import SCHEMAS
from traces.benchmark import agreement, detection, naming, placing, strength, thresholds, twins
from traces.benchmark.evidence import SILENT, VALUE, Evidence, Way, of_detectors, of_readers
from traces.benchmark.naming import Named
from traces.benchmark.organisms import prepared, scored
from traces.benchmark.resampling import Draws
from traces.config.schema import Scoring
from traces.config.vocabularies import FEWEST_BENIGN

ALIKE_IN = ("kl", "weight_norm", "relative_norm")
"Detectors in which organisms and nulls are matched, where they were measured."
TABLES = (
    *("readers", "detection", "rates", "roc", "naming", "coverage", "confusion", "half_strength"),
    *("twins", "matched", "agreement", "reader_differences", "placed"),
)
Rows = Iterator[dict]


@dataclass(frozen=True)
class Board:
    """The organisms that count, and by way what was read of them and what is named."""

    organisms: pd.DataFrame
    evidence: Mapping[Way, Evidence]
    named: Mapping[Way, Named]
    draws: Draws

    @classmethod
    def of(
        cls,
        organisms: pd.DataFrame,
        domain_scores: pd.DataFrame,
        detector_scores: pd.DataFrame,
        resamples: int,
        seed: int,
    ) -> "Board":
        """organisms : as `prepared` returns them, those that count"""
        found = [
            *of_readers(organisms, domain_scores),
            *of_detectors(organisms, detector_scores),
        ]
        evidence = {one.way: one for one in found}
        named = {way: Named(one, organisms) for way, one in evidence.items() if way.names}
        return cls(organisms, evidence, named, Draws.of(organisms, resamples, seed))

    def headline(self, scoring: Scoring) -> dict[Way, Evidence]:
        """The evidence of the ways that were fixed beforehand."""
        return {way: one for way, one in self.evidence.items() if way.headline(scoring)}


def score_readers(
    organisms: pd.DataFrame,
    domain_scores: pd.DataFrame,
    detector_scores: pd.DataFrame,
    token_lists: pd.DataFrame,
    *,
    scoring: Scoring,
    seed: int,
) -> dict[str, pd.DataFrame]:
    """
    Make every table of TABLES.

    scoring : with the way fixed
    seed    : of the bootstrap

    Raises ValueError for tables that cannot be scored, naming table and row.
    """
    rows = scored(prepared(organisms, scoring))
    board = Board.of(rows, domain_scores, detector_scores, scoring.resamples, seed)
    _require_fixed_way(board, scoring)
    found = {
        "readers": _reader_rows(board, _costs(domain_scores, detector_scores)),
        **_of_every_way(board, scoring),
        **_of_headlines(board, token_lists, scoring),
    }
    found["detection"] = pd.concat([found["detection"], found.pop("alike")], ignore_index=True)
    return {name: _whole(found[name], name, scoring) for name in TABLES}


def _require_fixed_way(board: Board, scoring: Scoring) -> None:
    """Refuse a headline that some reader cannot have: it would be missing without a word."""
    fixed = {way.reader for way in board.headline(scoring)}
    lacking = sorted({way.reader for way in board.evidence} - fixed)
    if lacking:
        raise ValueError(
            f"scoring: found {scoring.statistic} and {scoring.adjustment}, which {lacking[0]} does "
            "not have; expected a statistic that domain_scores has of every reader, and for "
            f"less_benign {FEWEST_BENIGN} or more benign finetunes on general text on each base"
        )


def _of_every_way(board: Board, scoring: Scoring) -> dict[str, pd.DataFrame]:
    organisms, draws = board.organisms, board.draws
    makers: dict[str, Callable[[Evidence, Named | None], Rows]] = {
        "detection": lambda one, _: detection.detection_rows(one, organisms, draws),
        "rates": lambda one, _: thresholds.rate_rows(one, organisms, draws, scoring.levels),
        "naming": lambda _, named: (
            naming.naming_rows(named, organisms, draws) if named else iter(())
        ),
        "twins": lambda one, _: twins.twin_rows(one, organisms, draws),
        "placed": lambda one, named: placing.placed_rows(one, named, organisms),
    }
    return {
        name: pd.DataFrame(
            row for way, one in board.evidence.items() for row in make(one, board.named.get(way))
        )
        for name, make in makers.items()
    }


def _of_headlines(
    board: Board, token_lists: pd.DataFrame, scoring: Scoring
) -> dict[str, pd.DataFrame]:
    """What is too much to say of every way, or needs one way a reader."""
    organisms, draws = board.organisms, board.draws
    fixed = board.headline(scoring)
    named = {way: board.named[way] for way in fixed if way in board.named}
    rocs = [detection.roc_rows(one, organisms) for one in fixed.values()]
    differences = [
        *detection.differences(fixed, organisms, draws),
        *naming.naming_differences(named, organisms, draws),
        *twins.twin_differences(fixed, organisms, draws),
    ]
    by_reader = {way.reader: one for way, one in named.items()}
    agreeing = agreement.agreement_rows(
        token_lists, organisms, draws, by_reader, scoring.persistence
    )
    level = max(scoring.levels)
    return {
        "roc": pd.concat(rocs, ignore_index=True) if rocs else pd.DataFrame(),
        "coverage": pd.DataFrame(
            row
            for way, one in named.items()
            for row in naming.coverage_rows(fixed[way], one, organisms, draws)
        ),
        "confusion": pd.DataFrame(
            row
            for way, one in named.items()
            for row in naming.confusion_rows(fixed[way], one, organisms, level)
        ),
        "half_strength": pd.DataFrame(
            row
            for way, one in fixed.items()
            for row in strength.half_rows(one, named.get(way), organisms, draws)
        ),
        "matched": pd.DataFrame(
            row
            for way, one in fixed.items()
            for row in strength.recipe_rows(one, named.get(way), organisms, draws)
        ),
        "reader_differences": pd.DataFrame(differences),
        "agreement": pd.DataFrame(agreeing),
        "alike": pd.DataFrame(_alike_rows(board, fixed)),
    }


def _alike_rows(board: Board, fixed: Mapping[Way, Evidence]) -> Rows:
    measures = _measures(board)
    for one in fixed.values():
        yield from detection.matched_rows(one, board.organisms, board.draws, measures)


def _measures(board: Board) -> dict[str, NDArray[np.float64]]:
    """The detectors in which organisms and nulls are matched: [organism], all that is positive."""
    found = {}
    for way, one in board.evidence.items():
        if way.reader in ALIKE_IN and not way.names:
            found[way.reader] = np.where(one.scores > 0, one.scores, np.nan)
    return found


def _reader_rows(board: Board, costs: pd.DataFrame) -> pd.DataFrame:
    """One row an organism and way: columns of readers.parquet; no score of who says nothing."""
    parts = []
    kept = ["model", "checkpoint", "organism", "domain", "null", "recipe", "dose", "steps", "seed"]
    kept += ["strength", "damage", "slice"]
    for way, one in board.evidence.items():
        named = board.named.get(way)
        places = range(len(board.organisms))
        part = board.organisms[kept].assign(
            **way._asdict(),
            score=one.scores,
            favourite=[named.favourite(place) if named else "" for place in places],
            own_rank=named.rank if named else np.nan,
        )
        parts.append(part.dropna(subset=["score"]))
    rows = pd.concat(parts, ignore_index=True).replace({"score": {SILENT: np.nan}})
    return rows.merge(costs, on=["model", "checkpoint", "reader"], how="left")


def _costs(domain_scores: pd.DataFrame, detector_scores: pd.DataFrame) -> pd.DataFrame:
    both = [domain_scores, detector_scores.rename(columns={"detector": "reader"})]
    columns = ["model", "checkpoint", "reader", "cost_s"]
    rows = pd.concat([one[columns] for one in both], ignore_index=True)
    return rows.drop_duplicates(columns[:3])


def _whole(frame: pd.DataFrame, name: str, scoring: Scoring) -> pd.DataFrame:
    """A table with all its columns, though it may have no row; `headline` where it has ways."""
    schema = SCHEMAS[name]
    if frame.empty:
        return pd.DataFrame(columns=list(schema))
    if "headline" not in schema:
        return frame
    fixed = (frame["statistic"] == scoring.statistic) & (frame["adjustment"] == scoring.adjustment)
    return frame.assign(headline=fixed | (frame["statistic"] == VALUE))
