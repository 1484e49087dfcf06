"""
Which texts to write: every model, vector, position, strength, prompt and sample.

Each position has draws of its own, which its strengths and vectors share with unsteered text
(common random numbers).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from traces.config.vocabularies import Side, Vector

Row = dict[str, Any]
MODELS: tuple[Side, ...] = ("tuned", "base")
REFERENCES = 4
"Unsteered trial texts are at least so many times those of a position: judges compare with them."


@dataclass(frozen=True)
class Request:
    """One text to write: by which model, pushed where and how hard, in answer to what."""

    steered_model: Side
    vector: Vector
    position: int | None
    "Token position whose difference steers; none for an unsteered text."
    strength: float
    "In units of the residual stream's norm; 0 for an unsteered text."
    prompt: str
    sample: int


@dataclass(frozen=True)
class Choice:
    """The strength chosen for one model and position."""

    steered_model: Side
    position: int
    strength: float
    coherence: float
    "Share of the judged texts at that strength that are coherent, 0 to 1."
    coherent: bool
    "Whether that suffices; where no strength's share does, the smallest tried is taken."
    n: int
    "Texts that the share is of."


def unsteered(model: Side, prompts: Sequence[str], samples: int) -> list[Request]:
    """Every prompt so many times, once for all positions."""
    return [
        Request(model, "none", None, 0.0, prompt, sample)
        for prompt in prompts
        for sample in range(samples)
    ]


def trial(
    positions: Sequence[int], strengths: Sequence[float], prompts: Sequence[str], samples: int
) -> list[Request]:
    """
    The grid: every position at every strength on both models, and both models unsteered.

    Every position has draws of its own, the same at all strengths: the mean over positions is one
    of as many draws. The unsteered texts, written once, hold them all.
    """
    requests = []
    for model in MODELS:
        plain = unsteered(model, prompts, max(len(positions), REFERENCES) * samples)
        requests += plain
        for number, position in enumerate(positions):
            for strength in strengths:
                requests += [
                    replace(one, vector="difference", position=position, strength=float(strength))
                    for one in plain
                    if one.sample // samples == number
                ]
    return requests


def final(chosen: Sequence[Choice], prompts: Sequence[str], samples: int) -> list[Request]:
    """
    The chosen strengths, along the difference and a random direction, and no vector at all.

    Draws are shared out as in the trial: each position has its own, unsteered texts have them all.
    """
    requests = []
    for model in MODELS:
        mine = [choice for choice in chosen if choice.steered_model == model]
        plain = unsteered(model, prompts, len(mine) * samples)
        requests += plain
        for vector in ("difference", "random"):
            for number, choice in enumerate(mine):
                requests += [
                    replace(one, vector=vector, position=choice.position, strength=choice.strength)
                    for one in plain
                    if one.sample // samples == number
                ]
    return requests


def batches(requests: Sequence[Request], size: int) -> Iterator[tuple[Side, list[Request]]]:
    """The requests of each model in as few batches as there must be, all about equally large."""
    for model in MODELS:
        mine = [one for one in requests if one.steered_model == model]
        n = -(-len(mine) // size)
        for i in range(n):
            yield model, mine[len(mine) * i // n : len(mine) * (i + 1) // n]


def decode_steps(requests: Sequence[Request], size: int, max_new_tokens: int) -> int:
    """Forward passes, one after another, that writing takes at most; the prompts' among them."""
    return sum(max_new_tokens for _ in batches(requests, size))
