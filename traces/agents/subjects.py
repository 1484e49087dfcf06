"""
Both models that an investigator examines: a prompt to each, or text steered by the difference.

They are asked through the same layer as every other model (traces/judges/chat): what they said is
kept, so that an investigation that was killed goes on where it was.

    Asked     both by the names that the layer knows: of a server, or of this process
    Loaded    weights of this process, with the adapter switched on and off
"""

import asyncio
import json
import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from traces.config.registries import Sampler
from traces.judges.chat.asking import Asking
from traces.judges.chat.models import Endpoint, NoAnswer, in_process
from traces.judges.chat.questions import Message, Question, Settings


class Subject(Protocol):
    """Two models, before and after a finetune, that an investigator may ask."""

    @property
    def positions(self) -> Sequence[int]:
        """Positions whose difference can be added; none where nothing can be steered."""
        ...

    async def ask(self, prompt: str) -> tuple[str, str]:
        """What the model before and the one after answer; raises `NoAnswer` if one does not."""
        ...

    async def steer(self, prompt: str, position: int, strength: float) -> str:
        """What the model after answers while the difference is added to its residual stream."""
        ...


@dataclass(frozen=True)
class Asked:
    """A subject by the names of its models, which `asking` knows."""

    asking: Asking
    before: str
    after: str
    settings: Settings
    seed: int
    steered: str | None = None
    "The model after with a difference added; None where that cannot be done."
    positions: Sequence[int] = ()
    same: bool = False
    "Whether both are one model: its second answer is drawn anew, or it would be the first again."
    weights: tuple[str | None, str | None] = (None, None)
    "What tells apart the weights behind both names, where the names do not."
    organism: str | None = None
    "Whose overview they stand behind, for the ledger."

    async def ask(self, prompt: str) -> tuple[str, str]:
        messages = (Message("user", prompt),)
        before, after = await asyncio.gather(
            self._said(self.before, messages, about=self.weights[0]),
            self._said(self.after, messages, about=self.weights[1], repeat=int(self.same)),
        )
        return before, after

    async def steer(self, prompt: str, position: int, strength: float) -> str:
        assert self.steered is not None
        # Where and how hard stands in the question, so that it is part of its key.
        how = json.dumps({"position": position, "strength": strength})
        messages = (Message("system", how), Message("user", prompt))
        return await self._said(self.steered, messages, repeat=int(self.same))

    async def _said(
        self,
        model: str,
        messages: tuple[Message, ...],
        *,
        about: str | None = None,
        repeat: int = 0,
    ) -> str:
        question = Question(
            model,
            messages,
            self.settings,
            as_it_comes=True,
            seed=self.seed,
            repeat=repeat,
            about=about,
            organism=self.organism,
        )
        answer = await self.asking.answer(question)
        if answer.reason is not None:
            raise NoAnswer(answer.reason)
        return answer.value


class Shelf:
    """The one pair of models that is loaded; the next one takes its place."""

    def __init__(self) -> None:
        self.free = threading.Lock()
        "Held by whoever uses the weights: both models are one set of them."
        self._name: Hashable = None
        self._pair: tuple[Any, Any] | None = None

    def pair(self, name: Hashable, load: Callable[[], tuple[Any, Any]]) -> tuple[Any, Any]:
        """The pair of this name and its tokenizer."""
        if self._pair is None or self._name != name:
            self._pair = None  # gone before the other comes
            self._name, self._pair = name, load()
        return self._pair


@dataclass(frozen=True)
class Loaded:
    """
    A pair of models in this process, loaded when one of them is first asked.

    load    : the pair (models.Pair) and its tokenizer
    vectors : what is added at strength 1, by position; empty where nothing is steered
    layer   : block whose output they are added to
    name    : of the pair, on the shelf
    """

    load: Callable[[], tuple[Any, Any]]
    sampler: Sampler
    vectors: Mapping[int, NDArray[np.float32]]
    layer: int | None
    shelf: Shelf
    name: Hashable
    SIDES = ("before", "after", "steered")

    def endpoints(self, name: str) -> dict[str, Endpoint]:
        """
        The models by the names that `Asked` takes.

        name : names the weights, since it stands in the keys of what they say
        """
        found = {side: in_process(f"{name}/{side}", self._writes(side)) for side in self.SIDES}
        return {f"in_process/{name}/{side}": one for side, one in found.items()}

    def _writes(self, side: str) -> Callable[..., tuple[str, int, int]]:
        def writes(
            messages: Sequence[Message], max_tokens: int, _temperature: float | None, seed: int
        ) -> tuple[str, int, int]:
            with self.shelf.free:
                return self._written(side, messages, max_tokens, seed)

        return writes

    def _written(
        self, side: str, messages: Sequence[Message], max_tokens: int, seed: int
    ) -> tuple[str, int, int]:
        from traces.corpora.tokens import tokenize_prompt
        from traces.models.draws import Draw
        from traces.models.generation import text_of, write

        pair, tokenizer = self.shelf.pair(self.name, self.load)
        prompt = tokenize_prompt(tokenizer, messages[-1].content)
        with pair.base() if side == "before" else pair.tuned() as model:
            during = self._pushed(model, messages[0]) if side == "steered" else _plain
            (written,) = write(
                model,
                tokenizer,
                [prompt],
                max_new_tokens=max_tokens,
                sampler=self.sampler,
                # Both models and all strengths share the noise of a prompt. Where both are one
                # model, the second has a seed of its own.
                draws=[Draw.named(seed, messages[-1].content)],
                during=during,
            )
        return text_of(tokenizer, written), len(prompt), len(written.ids)

    def _pushed(
        self, model: Any, how: Message
    ) -> Callable[[Sequence[int]], AbstractContextManager[Any]]:
        import torch

        from traces.models.hooks import added, decoder_layers

        assert self.layer is not None
        told = json.loads(how.content)
        block = decoder_layers(model)[self.layer]
        vector = told["strength"] * self.vectors[told["position"]]
        push = torch.from_numpy(vector[None]).to(next(block.parameters()).device)
        return lambda rows: added(block, push[list(rows)])


def _plain(_rows: Sequence[int]) -> AbstractContextManager[Any]:
    return nullcontext()
