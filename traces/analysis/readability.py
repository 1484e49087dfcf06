"""
Is an organism's finetuning readable? Relevance of its words, beside every control on the same
words.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from traces.analysis import verdicts
from traces.analysis.controls import CASE, CONTROLS, benign_readings
from traces.analysis.positions import to_average
from traces.analysis.selection import at_headline
from traces.analysis.statistics import mean_interval, paired_difference
from traces.config.words import plain_word


def seed_table(
    relevance: pd.DataFrame, control: str | None = None, *, position: int | None = None
) -> pd.DataFrame:
    """
    The headline relevance of every seed: as each reader's entry says, sign +1, mean over positions.

    relevance : the relevance table
    position  : this position alone; by default the mean over those that are averaged
    control   : name of the benign organism, None for a study without one
    returns   : columns of CASE, `seed`, `reading`, `relevance`; `reading` is `difference` or one
                of CONTROLS, all graded on the organism's own words except `other_words`, which is
                the difference graded on each other organism's words, averaged

    The benign control is read in the same model, corpus, layer and lens, and in the same recipe
    (else `plain`) and seed (else the mean of its seeds). The benign organism itself has none. Where
    a judge failed there is no relevance: it is missing from the mean, not counted as 0.
    """
    return _by_seed(at_headline(_averaged(relevance, position)), control)


def place_table(relevance: pd.DataFrame) -> pd.DataFrame:
    """
    The headline relevance by layer and position, sign +1, on the organism's own words.

    relevance : the relevance table
    returns   : columns of CASE, `position`, `seed`, `relevance`, of the difference alone
    """
    chosen = at_headline(_plus_side(relevance))
    own = chosen[(chosen["reading"] == "difference") & (chosen["graded_on"] == chosen["organism"])]
    return own[[*CASE, "position", "seed", "relevance"]]


def oracle_table(relevance: pd.DataFrame, control: str | None = None) -> pd.DataFrame:
    """
    The seed table again, where each position reads at its best scale.

    The scale is chosen by the relevance it is then credited with, so this is an upper bound (an
    oracle), for the controls as much as for the difference. Never a headline.
    """
    chosen = at_headline(_averaged(relevance), free=["scale"])
    keys = [
        name for name in chosen.columns if name not in ("scale", "relevance", "n", "candidates")
    ]
    best = chosen.groupby(keys, dropna=False, as_index=False, sort=False)["relevance"].max()
    return _by_seed(best, control)


def readability_table(
    relevance: pd.DataFrame,
    chance: pd.DataFrame | None = None,
    control: str | None = None,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """
    Is an organism's training readable? One row a model, organism, recipe, corpus, layer and lens.

    relevance : the relevance table
    chance    : model, organism, chance: share of the readable vocabulary that is among the words
    returns   : `n` and `candidates` (tokens graded in a list of the difference and tokens promised,
                means over lists); `relevance` (mean over seeds of the difference on its own words)
                with `_low` and `_high`; the same for each of CONTROLS (NaN where it was not read);
                `strongest_control` by its mean; `gap` to it, paired by seed; `chance`;
                `oracle_relevance` and `oracle_strongest_control` (best of scales); `verdict`

    The verdict: readable if the interval of the paired difference to the strongest control lies
    above 0, however little; not readable if it lies below `verdicts.EQUIVALENCE_BOUND` and holds 0
    or less; not shown if it holds both; undecided with fewer than two seeds or without a control.
    It is one test an organism: nothing is corrected for the number of organisms.
    """
    headline = seed_table(relevance, control)
    oracle = oracle_table(relevance, control)
    both = pd.concat([headline.assign(oracle=False), oracle.assign(oracle=True)])

    rows = []
    for case, group in both.groupby(CASE, dropna=False, sort=False):
        plain, best = (
            group[group["oracle"] == kind].pivot(
                index="seed", columns="reading", values="relevance"
            )
            for kind in (False, True)
        )
        rows.append(
            dict(zip(CASE, case, strict=True)) | _compared(plain, confidence) | _oracle(best)
        )
    table = pd.DataFrame(rows).merge(_graded(relevance), on=CASE, how="left")
    if chance is None:
        return table.assign(chance=np.nan)
    return table.merge(chance, on=["model", "organism"], how="left", validate="many_to_one")


def chance_table(
    words: Iterable[tuple[Mapping[str, Any], pd.DataFrame]],
    vocabularies: Mapping[str, pd.DataFrame],
) -> pd.DataFrame:
    """
    The relevance of a token drawn blindly from the readable vocabulary.

    words        : ({"model", "organism"}, distinctive words with a column `word`), one an organism
    vocabularies : by model, frames with a column `token` (decoded)
    returns      : model, organism, chance (0-1)
    """
    rows = []
    for subject, frame in words:
        vocabulary = vocabularies[subject["model"]]["token"].map(plain_word)
        share = vocabulary.isin({plain_word(word) for word in frame["word"]}).mean()
        rows.append({"model": subject["model"], "organism": subject["organism"], "chance": share})
    return pd.DataFrame(rows, columns=["model", "organism", "chance"])


def _graded(relevance: pd.DataFrame) -> pd.DataFrame:
    """How many tokens of the headline's lists were graded, and of how many, a row a case."""
    chosen = at_headline(_averaged(relevance))
    own = chosen[(chosen["reading"] == "difference") & (chosen["graded_on"] == chosen["organism"])]
    counts = own.groupby(CASE, dropna=False, sort=False)[["n", "candidates"]].mean()
    return counts.reset_index()


def _plus_side(relevance: pd.DataFrame) -> pd.DataFrame:
    """The promoted tokens (sign +1)."""
    return relevance[relevance["sign"] > 0]


def _averaged(relevance: pd.DataFrame, position: int | None = None) -> pd.DataFrame:
    """The promoted tokens at the positions that means are taken over, or at one position."""
    chosen = _plus_side(relevance)
    return to_average(chosen) if position is None else chosen[chosen["position"] == position]


def _by_seed(chosen: pd.DataFrame, control: str | None) -> pd.DataFrame:
    own = chosen[chosen["graded_on"] == chosen["organism"]]
    other = chosen[
        (chosen["graded_on"] != chosen["organism"]) & (chosen["reading"] == "difference")
    ].assign(reading="other_words")
    keys = [*CASE, "seed", "reading"]
    means = pd.concat([own, other]).groupby(keys, dropna=False, sort=False)["relevance"].mean()
    seeds = means.reset_index()
    benign = benign_readings(chosen, seeds, control)
    return pd.concat([seeds, benign], ignore_index=True)[[*keys, "relevance"]]


def _compared(values: pd.DataFrame, confidence: float) -> dict[str, Any]:
    """Means, intervals and the verdict of one case; `values` is [seed, reading]."""
    row: dict[str, Any] = {"seeds": len(values)}
    for name in ("difference", *CONTROLS):
        interval = mean_interval(values.get(name, []), confidence)
        column = "relevance" if name == "difference" else name
        row[column] = interval.mean
        row |= {f"{column}_low": interval.low, f"{column}_high": interval.high}

    ours = values.get("difference", pd.Series(np.nan, index=values.index))
    present = [name for name in CONTROLS if not np.isnan(row[name])]
    strongest = max(present, key=lambda name: row[name], default=None)
    theirs = values[strongest] if strongest else np.full(len(values), np.nan)
    gap = paired_difference(ours, theirs, confidence)
    return row | {
        "strongest_control": strongest or "",
        "gap": gap.mean,
        "gap_low": gap.low,
        "gap_high": gap.high,
        "gap_p": gap.p,
        "verdict": verdicts.of_gap(
            gap,
            yes=verdicts.READABLE,
            no=verdicts.NOT_READABLE,
            bound=verdicts.EQUIVALENCE_BOUND,
        ),
    }


def _oracle(values: pd.DataFrame) -> dict[str, float]:
    means = values.mean()
    controls = means[means.index.isin(CONTROLS)]
    return {
        "oracle_relevance": float(means.get("difference", np.nan)),
        "oracle_strongest_control": float(controls.max()),
    }
