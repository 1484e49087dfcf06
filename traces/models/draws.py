"""
How the next tokens are chosen from logits: what a sampler keeps, and the noise of every text.

Each text names its noise. So what it says does not depend on the batch it is written in, but for
how logits are rounded there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from traces.config.registries import Sampler
from traces.seeding import named_seed

STEPS_AHEAD = 4
"Steps whose noise a generator fills at once: on a GPU a call costs more than its numbers."


@dataclass(frozen=True)
class Draw:
    """
    Which noise a text is sampled with.

    A generator with this seed fills a block of `lines` rows at every step, and the text takes one
    of them. Texts with the same draw share their noise, and no other text of a batch matters.
    """

    seed: int
    line: int = 0
    "Row of the block, counted from 0."
    lines: int = 1

    @classmethod
    def named(cls, seed: int, *names: str | int) -> "Draw":
        """A draw with a generator of its own."""
        return cls(named_seed(seed, *names))


class Chooser:
    """
    The next token of every text of a batch, from its logits.

    sampler : how tokens are drawn; None takes the likeliest token
    draws   : one a text, for a sampler
    """

    def __init__(self, sampler: Sampler | None, draws: Sequence[Draw]) -> None:
        self.steps = [] if sampler is None else _kept(sampler)
        self.noise = None if sampler is None else Noise(draws)

    def __call__(self, logits: Any) -> Any:
        """logits : [text, vocabulary]; returns [text]"""
        scores = logits.float()
        for step in self.steps:
            scores = step(None, scores)
        if self.noise is not None:
            scores = self.noise(scores)
        return scores.argmax(dim=-1)

    def keep(self, places: Sequence[int]) -> None:
        """Go on with the texts that had these places, in this order."""
        if self.noise is not None:
            self.noise.keep(places)


class Noise:
    """
    Turns logits into logits + Gumbel noise, whose largest is a sample.

    The noise is minus the logarithm of exponential noise, which `torch.multinomial` divides by: a
    block of many lines draws what sampling that many texts with it would draw. Some steps are drawn
    ahead, for which a generator of the CPU gives the numbers that it gives step by step.
    """

    def __init__(self, draws: Sequence[Draw]) -> None:
        self.draws = list(draws)
        self.generators: dict[tuple[int, int], Any] = {}
        self.step = 0

    def __call__(self, scores: Any) -> Any:
        if self.step == 0:
            self._draw(scores)
        noise = self.ahead[self.first + self.step * self.lines]
        self.step = (self.step + 1) % STEPS_AHEAD
        return scores - noise

    def keep(self, places: Sequence[int]) -> None:
        """Go on with the texts that had these places; a block without any is drawn no more."""
        self.draws = [self.draws[place] for place in places]
        if self.step > 0:
            self.first, self.lines = self.first[places], self.lines[places]

    def _draw(self, scores: Any) -> None:
        """
        Fill `ahead` [rows, vocabulary] with the noise of the next steps, block after block.

        A block has its `lines` of the first step, then those of the second, and so on. `first` and
        `lines` [text] say where a text's row of the first step is, and how far on the next ones.
        """
        import torch

        where = scores.device
        blocks = list(dict.fromkeys((one.seed, one.lines) for one in self.draws))
        sizes = [STEPS_AHEAD * lines for _, lines in blocks]
        starts = dict(zip(blocks, accumulate(sizes, initial=0), strict=False))
        rows = [starts[one.seed, one.lines] + one.line for one in self.draws]
        self.first = torch.tensor(rows, device=where)
        self.lines = torch.tensor([one.lines for one in self.draws], device=where)
        self.ahead = torch.empty((sum(sizes), scores.shape[-1]), device=where)
        for block, noise in zip(blocks, self.ahead.split(sizes), strict=True):
            if block not in self.generators:
                self.generators[block] = torch.Generator(where).manual_seed(block[0])
            noise.exponential_(generator=self.generators[block])
        self.ahead.log_()


def _kept(sampler: Sampler) -> list[Any]:
    """The steps from a model's logits to those that are drawn from, in transformers' order."""
    from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    steps: list[Any] = [TemperatureLogitsWarper(float(sampler.temperature))]
    if sampler.top_k is not None:
        steps.append(TopKLogitsWarper(sampler.top_k))
    if sampler.top_p is not None:
        steps.append(TopPLogitsWarper(float(sampler.top_p)))
    return steps
