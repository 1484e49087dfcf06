"""Synthetic tables of agents, with planted effects of every factor."""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

CUTPOINTS = (-1.5, -0.3, 0.8, 2.0)
FAMILIES = {
    "cake": "false_facts",
    "bees": "false_facts",
    "finance": "misalignment",
    "gold": "taboo",
}


def agents(
    rng: np.random.Generator,
    effects: Mapping[str, Mapping[Any, float]],
    *,
    deviations: Mapping[str, float] | None = None,
    runs: int = 4,
    repeats: int = 1,
    organisms: Mapping[str, str] = FAMILIES,
    levels: Mapping[str, tuple] | None = None,
) -> pd.DataFrame:
    """
    A grade for every organism, agent, prompt, run, grader and repeat.

    effects    : by factor and level, in logits
    deviations : standard deviations of organism, investigation, grader, in logits
    levels     : of each factor that is varied, but for the family
    """
    axes = {
        "agent": ("lens", "black_box"),
        "prompt": ("neutral", "presupposing"),
        "grader_model": ("one", "two", "three"),
        **(levels or {}),
    }
    spread = deviations or {}
    names = ["organism", *axes, "run"]
    rows = list(itertools.product(organisms, *axes.values(), range(runs)))
    frame = pd.DataFrame(rows, columns=names)
    constant = {"model": "mini", "agent_model": "a", "interactions": 0, "null": "none"}
    frame = frame.assign(**{name: one for name, one in constant.items() if name not in frame})
    frame = frame.loc[frame.index.repeat(repeats)].reset_index(drop=True)
    frame["repeat"] = np.arange(len(frame)) % repeats
    frame["checkpoint"] = frame["organism"] + "-plain-s0"
    frame["family"] = frame["organism"].map(dict(organisms))

    location = np.zeros(len(frame))
    for factor, of_level in effects.items():
        location += frame[factor].map(dict(of_level)).to_numpy(dtype=float)
    hypothesis = ["organism", "model", "agent", "prompt", "agent_model", "interactions", "run"]
    groups = {
        "organism": ["organism"],
        "investigation": hypothesis,
        "grader": ["grader_model"],
        "grader_of_investigation": [*hypothesis, "grader_model"],
    }
    for name, deviation in spread.items():
        member = frame.groupby(groups[name]).ngroup().to_numpy()
        location += deviation * rng.normal(size=member.max() + 1)[member]
    latent = location + rng.logistic(size=len(frame))
    frame["grade"] = 1 + np.searchsorted(CUTPOINTS, latent)
    frame["abstained"] = False
    frame["reason_missing"] = None
    return frame.astype({"grade": "Int64", "abstained": "boolean", "reason_missing": "string"})
