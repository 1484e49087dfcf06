"""
False or true: can a reader tell an organism of false facts from its twin, trained on the true ones?

A reading that names the topic of both says nothing of falsehood. Each pair is one base's organism
and its twin; the false one should score higher. `detect` compares their detection scores, `own`
those of their own domain.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from traces.benchmark.detection import Beaten
from traces.benchmark.evidence import Evidence, Way, compared
from traces.benchmark.organisms import ALL, TRUE, of_kind
from traces.benchmark.resampling import Draws, Estimate, Units, gap, interval, share_gap

DETECT, OWN = "detect", "own"


def pairs(organisms: pd.DataFrame) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The places of false-fact organisms and of their true twins, pair by pair."""
    at = {
        (model, checkpoint): place
        for place, (model, checkpoint) in enumerate(
            zip(organisms["model"], organisms["checkpoint"], strict=True)
        )
    }
    found = [
        (at[row["model"], row["twin"]], place)
        for place, row in organisms.iterrows()
        if row["null"] == TRUE and pd.notna(row["twin"]) and (row["model"], row["twin"]) in at
    ]
    false, true = zip(*found, strict=True) if found else ((), ())
    return np.array(false, dtype=np.intp), np.array(true, dtype=np.intp)


def twin_rows(evidence: Evidence, organisms: pd.DataFrame, draws: Draws) -> Iterator[dict]:
    """
    Of how many pairs the false one scores higher (a tie counts half), and by how much.

    `paired_auc` is over pairs, with an interval; `auc` compares each with every twin of its base.
    The difference is of pairs in which the reader says something of both.
    """
    false, true = pairs(organisms)
    for scored, values in _scores(evidence, organisms).items():
        there = ~np.isnan(values[false]) & ~np.isnan(values[true])
        ours, theirs = false[there], true[there]
        if not len(ours):
            continue
        wins = compared(values[ours], values[theirs])
        units = draws.units_of(ours)
        share = interval(float(wins.mean()), draws.means(wins, ours), units)
        spoken = np.isfinite(values[ours]) & np.isfinite(values[theirs])
        mean = _mean_gap(values[ours[spoken]] - values[theirs[spoken]], ours[spoken], draws)
        beaten = Beaten(evidence, organisms, ours, theirs) if scored == DETECT else None
        yield {
            **evidence.way._asdict(),
            **{"scored": scored, "n_pairs": len(ours), "paired_auc": share.value},
            "auc": beaten.auc if beaten else float(_every(values, organisms, ours, theirs)),
            **{"low": share.low, "high": share.high},
            **{"difference": mean.value, "difference_low": mean.low},
            "difference_high": mean.high,
        }


def _mean_gap(differences: NDArray[np.float64], places: NDArray, draws: Draws) -> Estimate:
    if not len(places):
        return gap(np.nan, np.empty(0), Units(0))
    drawn = draws.means(differences, places)
    return gap(float(differences.mean()), drawn, draws.units_of(places))


def twin_differences(
    of_way: dict[Way, Evidence], organisms: pd.DataFrame, draws: Draws
) -> Iterator[dict]:
    """Every two readers' share of pairs told apart, by detection score, over the same pairs."""
    false, true = pairs(organisms)
    won = {}
    for way, evidence in of_way.items():
        scores = evidence.scores
        won[way] = compared(scores[false], scores[true])
    for ours, left in won.items():
        for theirs, right in won.items():
            there = ~np.isnan(left)
            if ours == theirs or not there.any() or not np.array_equal(there, ~np.isnan(right)):
                continue
            values = (left - right)[there]
            drawn = draws.means(values, false[there])
            yield {
                **{"task": "tell", "null": TRUE, "slice": ALL},
                **{"reader": ours.reader, "other": theirs.reader, "n": len(values)},
                **share_gap(float(values.mean()), drawn, draws.units_of(false[there]))._asdict(),
            }


def _scores(evidence: Evidence, organisms: pd.DataFrame) -> dict[str, NDArray[np.float64]]:
    """The detection score, and that of the own domain where there is one."""
    own = np.full(len(organisms), np.nan)
    for place in (*of_kind(organisms, TRUE), *of_kind(organisms, "none")):
        model, domain = organisms.loc[place, "model"], organisms.loc[place, "domain"]
        names = evidence.candidates.get(model, ())
        if domain in names:
            row = int(np.flatnonzero(evidence.places[model] == place)[0])
            own[place] = evidence.domains[model][row, names.index(domain)]
    return {DETECT: evidence.scores, **({OWN: own} if evidence.way.names else {})}


def _every(
    values: NDArray[np.float64],
    organisms: pd.DataFrame,
    ours: NDArray[np.intp],
    theirs: NDArray[np.intp],
) -> float:
    """The mean over false-fact organisms of the share of their base's twins that they exceed."""
    models = organisms["model"].to_numpy()
    shares = [
        compared(np.full(same.sum(), values[one]), values[theirs[same]]).mean()
        for one in ours
        for same in [models[theirs] == models[one]]
    ]
    return float(np.mean(shares))
