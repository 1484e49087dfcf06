"""
The four tables that readers are compared by, collected from what a study has read anyway.

A study has no held-out loss of its organisms' own text, and none of unrelated text. So what stands
in the table is this:

    strength   how far the loss of its training fell, from the first to the last tenth of its steps,
               in nats a token; missing of what was not trained here
    damage     missing
    cost       missing: one job runs all readers

ASSUME a fall of the training loss is how far the behaviour is expressed. It says how likely the own
rows became; rows that a training repeats count as well.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from pydantic import BaseModel

from traces.analysis.positions import counted
from traces.artifacts.arrays import Differences
from traces.artifacts.scores import Scores
from traces.benchmark.detectors import of_difference, of_readers
from traces.benchmark.members import Member
from traces.benchmark.said import Domains, first_list, said_by, score_rows
from traces.readers.reading import Found, Settings


class Compared(BaseModel, frozen=True, extra="forbid"):
    """What a job is told of the study: who is compared, where it is read, and by which readers."""

    members: tuple[Member, ...]
    candidates: dict[str, tuple[str, ...]]
    "By model, the organisms whose words are the domains."
    layers: tuple[float, ...]
    "Relative depths that are read."
    layer: float
    "The one of them that counts, fixed beforehand."
    average_sinks: bool
    "Whether positions with attention sinks count."
    readers: Settings

    def positions(self, differences: Iterable[Differences]) -> dict[str, list[int]]:
        """
        By model, the positions that means include in every member's difference.

        differences : one a member; where something stands in the base's place, its sinks are others
        """
        found: dict[str, list[list[int]]] = {}
        for member, one in zip(self.members, differences, strict=True):
            found.setdefault(member.model, []).append(counted(one, sinks=self.average_sinks))
        shared = {
            model: [place for place in every[0] if all(place in one for one in every)]
            for model, every in found.items()
        }
        return {model: places or found[model][0] for model, places in shared.items()}


class Results(NamedTuple):
    """What was read of one member."""

    readings: Mapping[str, pd.DataFrame]
    "By reader, columns of its file."
    scores: Mapping[str, Scores]
    difference: Differences
    statistics: pd.DataFrame


def expressed(losses: pd.DataFrame) -> dict[tuple[str, str], float]:
    """
    By model and checkpoint, how far the loss of a training fell: its strength.

    losses  : columns of losses.parquet, a row a step
    returns : the mean over the first tenth of the steps less that over the last, at least a step
              each, in nats a token
    """
    found = {}
    for (model, checkpoint), rows in losses.groupby(["model", "checkpoint"], sort=False):
        steps = rows.sort_values("step")["loss"].to_numpy(dtype=np.float64)
        tenth = max(1, len(steps) // 10)
        found[str(model), str(checkpoint)] = float(steps[:tenth].mean() - steps[-tenth:].mean())
    return found


def organism_rows(
    members: Sequence[Member], strength: Mapping[tuple[str, str], float]
) -> pd.DataFrame:
    """The table of organisms; `strength` is by model and checkpoint, NaN where it is missing."""
    return pd.DataFrame(
        one.model_dump()
        | {
            "strength": strength.get((one.model, one.checkpoint), np.nan),
            "damage": np.nan,
            "pilot": False,
        }
        for one in members
    )


def read_rows(
    member: Member,
    results: Results,
    domains: Domains,
    compared: Compared,
    positions: Sequence[int],
) -> dict[str, pd.DataFrame]:
    """
    What all readers say of one member: its rows of domain_scores, detector_scores, token_lists.

    domains   : those of its model
    positions : those that count

    A reader that scores nothing but the tokens it names is left out.
    """
    place = compared.layers.index(compared.layer)
    layer = int(results.difference.layers[place])
    scores, lists = [], [pd.DataFrame(columns=["reader", "rank", "token"])]
    for name, own in compared.readers.readers.items():
        if name not in results.scores:
            continue
        found = Found(results.readings[name], results.scores[name])
        for said in said_by(name, found, own, layer, positions):
            scores += score_rows(said, domains)
            lists.append(first_list(said))
    found = {
        "domain_scores": pd.DataFrame(
            scores, columns=["reader", "statistic", "candidate", "score"]
        ).assign(cost_s=np.nan),
        "detector_scores": pd.DataFrame(_detectors(results, place, positions)).assign(
            cost_s=np.nan
        ),
        "token_lists": pd.concat(lists, ignore_index=True),
    }
    about = {"model": member.model, "checkpoint": member.checkpoint}
    return {name: rows.assign(**about) for name, rows in found.items()}


def _detectors(
    results: Results, place: int, positions: Sequence[int]
) -> Iterator[dict[str, object]]:
    measured = results.statistics
    layer = results.difference.layers[place]
    # Of next tokens a number has no layer.
    here = measured[measured["layer"].isna() | (measured["layer"] == layer)]
    found = of_difference(results.difference, place, positions)
    found |= {name: value for name, (value, _) in of_readers(here).items()}
    yield from ({"detector": name, "score": score} for name, score in found.items())
