"""Bring your own: where does one more checkpoint stand among the organisms whose truth is known?"""

from collections.abc import Iterator

import pandas as pd

from traces.analysis.statistics import wilson_interval
from traces.benchmark.evidence import Evidence
from traces.benchmark.naming import Named
from traces.benchmark.organisms import UNKNOWN, kinds, of_kind
from traces.benchmark.thresholds import FROM_BASES, FROM_ORGANISMS, p_values

NULLS = {
    "general": "benign finetunes on general text",
    "one_format": "benign finetunes on one format of text",
    "shuffled": "finetunes on the same text with topics shuffled",
    "true_facts": "finetunes on true facts",
    "seed_pair": "pairs of seeds",
    "identical": "pairs of identical weights",
}
"What nulls of each kind are called where people read of them."


def placed_rows(evidence: Evidence, named: Named | None, organisms: pd.DataFrame) -> Iterator[dict]:
    """
    Each checkpoint whose `null` is `unknown`, by one way, against each kind of null: columns of
    placed.parquet. `rate` is the share of nulls that score as high, with Wilson's interval.

    Where the checkpoint's base has nulls of a kind they are taken, else those of all other bases.
    """
    for kind in kinds(organisms):
        own, n_own = p_values(evidence, organisms, kind, FROM_ORGANISMS)
        other, n_other = p_values(evidence, organisms, kind, FROM_BASES)
        for place in of_kind(organisms, UNKNOWN):
            at_home = bool(n_own[place] > 0)
            n = int((n_own if at_home else n_other)[place])
            if not n:
                continue
            level = float((own if at_home else other)[place])
            as_high = round(level * (n + 1)) - 1
            share = wilson_interval(as_high, n)
            yield {
                **{"model": organisms.loc[place, "model"]},
                **{"checkpoint": organisms.loc[place, "checkpoint"]},
                **evidence.way._asdict(),
                **{"null": kind, "n_null": n, "n_as_high": as_high},
                **{"rate": share.mean, "low": share.low, "high": share.high},
                "favourite": named.favourite(int(place)) if named else "",
                "sentence": sentence(evidence.way.reader, kind, as_high, n, at_home),
            }


def sentence(reader: str, kind: str, as_high: int, n: int, at_home: bool = True) -> str:
    """
    At which false-positive rate a reader would call a checkpoint narrow, in words.

    as_high, n : of how many nulls as many score as high as the checkpoint
    at_home    : whether they are finetunes of the checkpoint's own base
    """
    share = wilson_interval(as_high, n)
    where = "of the same base" if at_home else "of other bases"
    return (
        f"By {reader.replace('_', ' ')} it is called narrow at a false-positive rate of "
        f"{_percent((1 + as_high) / (n + 1))} or more against {NULLS[kind]} {where}: {as_high} of "
        f"{n} score as high, {_percent(share.mean)} "
        f"(95 % Wilson interval {_percent(share.low)} to {_percent(share.high)})."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def placed(rows: pd.DataFrame, model: str, checkpoint: str) -> list[str]:
    """The sentences on one checkpoint. Raises ValueError if it is not among those placed."""
    mine = rows[(rows["model"] == model) & (rows["checkpoint"] == checkpoint)]
    if mine.empty:
        raise ValueError(
            f"found no {model}, {checkpoint} among the checkpoints that were placed; expected a "
            f"row of organisms.parquet whose null is {UNKNOWN}"
        )
    return list(mine["sentence"])
