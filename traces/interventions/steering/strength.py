"""
Which strength to steer with: the largest at which most texts still hold together.

Too strong, and the text falls apart; so texts are tried at many strengths and judged.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd

from traces.interventions.steering.requests import MODELS, Choice, Request, Row, Side, trial

LEVELS = 3
"Halvings whose midpoints are all tried at once in a round of the bisection."


def on_grid(grades: pd.DataFrame, coherent_share: float) -> list[Choice]:
    """
    For each model and position the largest strength at which enough texts are coherent.

    grades : steered_model, vector, position, strength, prompt, coherent (missing for an empty text
             and where the judge failed: that counts neither way; without any answer a share is 0)
    """
    choices = []
    for key, group in _by_place(grades):
        shares = _shares(group, ["strength"])
        good = shares.index[shares["mean"] >= coherent_share]
        strength = max(good, default=shares.index.min())
        choices.append(_choice(key, shares, strength, coherent=len(good) > 0))
    return choices


def by_bisection(
    grades: pd.DataFrame,
    prompts: Sequence[str],
    *,
    highest: float,
    steps: Sequence[int],
    coherent_share: float,
) -> list[Choice]:
    """
    For each model and position the mean of the strengths that the bisection found for its prompts.

    grades : as above, of the texts that `searched` wrote, by the judge that guided it; coherence is
             that at the strengths found, prompt by prompt, and none was tried at their mean
    """
    choices = []
    for key, group in _by_place(grades):
        shares = _shares(group, ["prompt", "strength"])
        enough = {name: share >= coherent_share for name, share in shares["mean"].items()}
        found, _ = bisected(enough, prompts, highest, steps)
        if not found[0]:
            tried = _shares(group, ["strength"])
            choices.append(_choice(key, tried, tried.index.min(), coherent=False))
            continue
        here = shares.loc[[one for one in zip(prompts, found, strict=True) if one[1] > 0]]
        coherence, n = float(here["mean"].mean()), int(here["count"].sum())
        choices.append(Choice(*key, float(np.mean(found)), coherence, True, n))
    return choices


def bisected(
    coherent: Mapping[tuple[str, float], bool],
    prompts: Sequence[str],
    highest: float,
    steps: Sequence[int],
) -> tuple[list[float], list[tuple[str, float]]]:
    """
    The paper's search for the largest coherent strength, prompt after prompt, as far as is known.

    coherent : whether a prompt's texts at a strength are
    highest  : upper end for the first prompt; for the others it is twice what the first one found
    steps    : halvings for each prompt
    returns  : the strengths found, and what must be known next: the midpoints of three halvings
               (1 + 2 + 4) for one prompt; nothing when the search is over. A first strength of 0
               ends it there, where the paper's code fails.
    """
    found: list[float] = []
    for prompt, left in zip(prompts, steps, strict=True):
        low, high, best = 0.0, 2 * found[0] if found else highest, 0.0
        while left > 0 and high > 0:
            levels = min(LEVELS, left)
            asked = [(prompt, strength) for strength in _midpoints(low, high, levels)]
            unknown = [one for one in asked if one not in coherent]
            if unknown:
                return found, unknown
            for _ in range(levels):
                middle = (low + high) / 2
                if coherent[prompt, middle]:
                    low = best = middle
                else:
                    high = middle
            left -= levels
        found.append(best)
    return found, []


def searched(
    write: Callable[[Sequence[Request]], list[Row]],
    grade: Callable[[pd.DataFrame], pd.DataFrame],
    positions: Sequence[int],
    prompts: Sequence[str],
    samples: int,
    *,
    highest: float,
    steps: Sequence[int],
    coherent_share: float,
) -> list[Row]:
    """
    The texts of the paper's bisection, both models and all positions in every round.

    write : a Writer
    grade : texts with a column `coherent`; a text's must not depend on other steered texts

    Raises ValueError unless there are as many prompts as numbers of steps.
    """
    if len(prompts) != len(steps):
        raise ValueError(
            f"steering.bisection.steps: found {len(steps)} numbers, expected one for each of the "
            f"{len(prompts)} prompts of steering.trial.prompts"
        )
    plain = write(trial(positions, [], prompts, samples))
    rows = list(plain)
    known: dict[tuple[Side, int], dict[tuple[str, float], bool]]
    known = {(model, position): {} for model in MODELS for position in positions}
    while asked := {
        key: unknown
        for key, coherent in known.items()
        if (unknown := bisected(coherent, prompts, highest, steps)[1])
    }:
        new = write(
            [
                Request(model, "difference", position, strength, prompt, first + sample)
                for (model, position), questions in asked.items()
                for first in (positions.index(position) * samples,)
                for prompt, strength in questions
                for sample in range(samples)
            ]
        )
        rows += new
        for key, group in _by_place(grade(pd.DataFrame([*plain, *new]))):
            shares = _shares(group, ["prompt", "strength"])["mean"]
            known[key] |= {name: share >= coherent_share for name, share in shares.items()}
    return rows


def _midpoints(low: float, high: float, levels: int) -> list[float]:
    """The middles of the next halvings of an interval, whichever halves are taken, in order."""
    if levels == 0:
        return []
    middle = (low + high) / 2
    below, above = (_midpoints(*ends, levels - 1) for ends in ((low, middle), (middle, high)))
    return [*below, middle, *above]


def _choice(
    key: tuple[Side, int], shares: pd.DataFrame, strength: Any, *, coherent: bool
) -> Choice:
    coherence, n = shares.loc[strength, ["mean", "count"]]
    return Choice(*key, float(strength), float(coherence), coherent, int(n))


def _by_place(grades: pd.DataFrame) -> Iterator[tuple[tuple[Side, int], pd.DataFrame]]:
    """The texts steered by a difference, by model and position."""
    steered = grades[grades["vector"] == "difference"]
    for (model, position), group in steered.groupby(["steered_model", "position"], sort=False):
        yield (cast(Side, model), int(position)), group


def _shares(grades: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Share of coherent texts (`mean`) among those with an answer (`count`); 0 without any."""
    answers = grades["coherent"].astype("boolean").astype("Float64")
    return answers.groupby([grades[name] for name in by]).agg(["mean", "count"]).fillna(0.0)
