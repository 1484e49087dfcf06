"""
Fix the score on the pilot: organisms that are made and read like the others, and counted nowhere.

A way is a statistic and an adjustment (traces/benchmark/evidence.py). **The rule**: by one reader a
way's merit is the mean of the AUC against each kind of null that the pilot has and of the share
that is named first. The way with the largest mean merit over all readers is every reader's score.
Of equal ones the simpler is taken, in the order of WAYS.

One way for all, since a pilot is small: the best of four ways of each reader would be its luck more
than its nature, and two readers would no longer be compared by one measure.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from traces.artifacts.tables import SCHEMAS
from traces.benchmark.detection import Beaten
from traces.benchmark.evidence import LESS_BENIGN, RAW, Way
from traces.benchmark.organisms import ALL, NARROW, kinds, of_kind, piloted, prepared
from traces.benchmark.resampling import interval
from traces.benchmark.scoring import Board
from traces.benchmark.strength import DETECT, NAME
from traces.config.schema import Scoring

WAYS = (("z", RAW), ("z", LESS_BENIGN), ("top20", RAW), ("top20", LESS_BENIGN))
"Statistic and adjustment, simpler ones first."
MERIT = "merit"
"Stands in the column `task` for the mean of the tasks, which decides."


class Measured(NamedTuple):
    """One task on the pilot's organisms, by one reader and way or the mean over readers."""

    value: float
    drawn: NDArray[np.float64]
    "[resample]"
    n_null: int


def pilot_rows(
    organisms: pd.DataFrame, domain_scores: pd.DataFrame, *, scoring: Scoring, seed: int
) -> pd.DataFrame:
    """
    Every way on the pilot: columns of pilot.parquet; `headline` marks the one that is fixed.

    scoring : what it fixes itself is kept, and what it leaves open is chosen
    seed    : of the bootstrap

    Raises ValueError if something is left open and there is no pilot to choose it on.
    """
    pilot = piloted(prepared(organisms, scoring))
    columns = list(SCHEMAS["pilot"])
    if pilot.empty:
        if scoring.statistic is None or scoring.adjustment is None:
            raise ValueError(
                "scoring: found statistic or adjustment null, and no pilot with narrow organisms "
                "and nulls on general text; expected one (ladder.pilot, scoring.pilot_models or "
                "scoring.pilot_seeds), or both keys"
            )
        return pd.DataFrame(columns=columns)
    # A detector is one number, with no other way to score it.
    nothing = pd.DataFrame(columns=list(SCHEMAS["detector_scores"]))
    board = Board.of(pilot, domain_scores, nothing, scoring.resamples, seed)
    by_reader = {way: _measured(board, way) for way in board.named}
    means = _means(by_reader)
    fixed = _best({way: one[MERIT, ""].value for way, one in means.items()}, scoring)
    narrow = of_kind(pilot, NARROW)
    units = board.draws.units_of(narrow)
    n_readers = len({way.reader for way in by_reader})
    rows = [
        {
            **{"reader": reader, "statistic": statistic, "adjustment": adjustment},
            **{"task": task, "null": null, "n_readers": n_readers if reader == ALL else 1},
            **{"n_narrow": len(narrow), "n_null": one.n_null},
            **interval(one.value, one.drawn, units)._asdict(),
            "headline": (statistic, adjustment) == fixed,
        }
        for (reader, statistic, adjustment), found in _in_order(means, by_reader)
        for (task, null), one in found.items()
    ]
    return pd.DataFrame(rows)[columns]


def fixed_way(pilot: pd.DataFrame, scoring: Scoring) -> Scoring:
    """The settings with the way that was fixed: as they are where the pilot has no row."""
    chosen = pilot[pilot["headline"].astype(bool)]
    if chosen.empty:
        return scoring
    first = chosen.iloc[0]
    way = {"statistic": str(first["statistic"]), "adjustment": str(first["adjustment"])}
    return scoring.model_copy(update=way)


Tasks = dict[tuple[str, str], Measured]
"By task and kind of null."


def _measured(board: Board, way: Way) -> Tasks:
    """Each task by one reader and way, and their mean."""
    organisms, draws = board.organisms, board.draws
    narrow = of_kind(organisms, NARROW)
    found: Tasks = {}
    # Kinds are never pooled: each counts alike, however many of it there are.
    for kind in kinds(organisms):
        nulls = of_kind(organisms, kind)
        beaten = Beaten(board.evidence[way], organisms, narrow, nulls)
        found[DETECT, kind] = Measured(beaten.auc, beaten.drawn(draws), len(beaten.nulls))
    named = board.named[way]
    places = named.of(narrow)
    first = named.first[places]
    found[NAME, ""] = Measured(float(first.mean()), draws.means(first, places), 0)
    return {(MERIT, ""): _mean(list(found.values()))} | found


def _mean(some: Sequence[Measured]) -> Measured:
    values, drawn = [one.value for one in some], [one.drawn for one in some]
    return Measured(float(np.mean(values)), np.mean(drawn, axis=0), max(one.n_null for one in some))


def _means(by_reader: Mapping[Way, Tasks]) -> dict[Way, Tasks]:
    """The mean over readers of each way that every one of them has."""
    readers = {way.reader for way in by_reader}
    found = {}
    for statistic, adjustment in WAYS:
        mine = [one for way, one in by_reader.items() if way[1:] == (statistic, adjustment)]
        # A way that one reader lacks cannot be every reader's.
        if len(mine) == len(readers):
            found[Way(ALL, statistic, adjustment)] = {
                task: _mean([one[task] for one in mine]) for task in mine[0]
            }
    return found


def _best(merits: Mapping[Way, float], scoring: Scoring) -> tuple[str, str]:
    """The statistic and adjustment of the largest merit, of those that the settings leave open."""
    allowed = {
        way: merit
        for way, merit in merits.items()
        if scoring.statistic in (None, way.statistic)
        and scoring.adjustment in (None, way.adjustment)
    }
    if not allowed:
        raise ValueError(
            f"scoring: found statistic {scoring.statistic} and adjustment {scoring.adjustment}, "
            "which some reader of the pilot does not have"
        )
    # Of equals the first, and WAYS begins with the simpler ones.
    best = max(allowed, key=lambda way: allowed[way])
    return best.statistic, best.adjustment


def _in_order(
    means: Mapping[Way, Tasks], by_reader: Mapping[Way, Tasks]
) -> Iterator[tuple[Way, Tasks]]:
    yield from means.items()
    yield from by_reader.items()
