"""
Write texts while a difference is added to the residual stream, and measure them under the base.

A difference, made as long as the residual stream and times a strength, is added to what one block
writes, at every token that is read or written. All positions, strengths, prompts and samples are
rows of one batch.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from traces.artifacts.arrays import Differences
from traces.config.registries import Sampler
from traces.config.schema import Draws, Sampling, SteeredText
from traces.corpora.tokens import tokenize_prompt
from traces.interventions.steering.requests import Request, Row, Side, batches
from traces.models.draws import Draw
from traces.models.generation import Written, text_of, write
from traces.models.likelihood import mean_nlls
from traces.models.room import Room
from traces.seeding import named_seed

Vectors = Mapping[tuple[str, int], NDArray[np.float32]]


def vectors(differences: Differences, positions: Sequence[int], *, seed: int, name: str) -> Vectors:
    """
    What is added at strength 1, [d_model], by vector and position; of the first layer read.

    differences : of a checkpoint
    seed, name  : of the random directions, one a position; a checkpoint's name gives it its own
    returns     : unit vectors times the tuned model's stream norm at that layer

    Raises ValueError for a position that was not read or whose difference has no direction.
    Source: the paper's section on steering; the random directions are our control.
    """
    read, norm = differences.positions.tolist(), differences.stream_norm_tuned[0]
    found: dict[tuple[str, int], NDArray[np.float32]] = {}
    for position in positions:
        if position not in read:
            raise ValueError(
                f"steering.positions: found {position}, expected positions that were read ({read})"
            )
        mean = differences.mean[0, read.index(position)].astype(np.float64)
        random = np.random.default_rng(named_seed(seed, name, position)).normal(size=mean.shape)
        for vector, direction in (("difference", mean), ("random", random)):
            length = np.linalg.norm(direction)
            if not (length > 0 and np.isfinite(length)):
                raise ValueError(
                    f"{name}, position {position}: a difference of length {length} has no "
                    "direction to steer in (was anything trained?)"
                )
            found[vector, position] = (direction / length * norm).astype(np.float32)
    return found


@dataclass(frozen=True)
class Writer:
    """
    Writes texts with a pair of models and measures each under the unsteered base.

    Called with requests it gives one row a request, in their order: the request's own fields and

        text        the answer, without special tokens
        n_tokens    its tokens, the one that ends it among them
        nll         mean negative log-likelihood of those tokens under the base, nats; missing for
                    an answer of no tokens
        repetition  share of its token pairs that stood in it before
    """

    pair: Any
    "models.Pair"
    tokenizer: Any
    vectors: Vectors
    layer: int
    "Block whose output the vectors are added to."
    max_new_tokens: int
    sampler: Sampler
    seed: int
    name: str
    "With the seed it names the draws: checkpoints have each their own."
    batch: int
    "Texts written at once at most, as far as there is room; in float32 it changes no text."
    room: Room = field(default_factory=Room)
    "What the job has learned about memory."
    progress: Callable[[Iterable[Any], str], Iterable[Any]] = lambda items, _label: items

    @classmethod
    def of(
        cls,
        pair: Any,
        tokenizer: Any,
        differences: Differences,
        *,
        sampling: Sampling,
        steered: SteeredText,
        draws: Draws,
        progress: Callable[[Iterable[Any], str], Iterable[Any]],
    ) -> "Writer":
        """A writer that steers with the differences of the first layer read, as configured."""
        return cls(
            pair,
            tokenizer,
            vectors(differences, steered.positions, seed=draws.seed, name=draws.name),
            layer=int(differences.layers[0]),
            max_new_tokens=sampling.max_new_tokens,
            sampler=sampling,
            seed=draws.seed,
            name=draws.name,
            batch=steered.batch,
            progress=progress,
        )

    def __call__(self, requests: Sequence[Request]) -> list[Row]:
        written: dict[Request, Written] = {}
        for model, some in self.progress(list(batches(requests, self.batch)), "batches of texts"):
            with self._model(model) as found:
                written |= zip(some, self._written(found, some), strict=True)
        with self.pair.base() as base:
            nlls = self._nlls(base, [(one.prompt, written[one].ids) for one in requests])
        return [
            asdict(one)
            | {
                "text": text_of(self.tokenizer, written[one]),
                "n_tokens": len(written[one].ids),
                "nll": nll,
                "repetition": repetition(written[one].ids),
            }
            for one, nll in zip(requests, nlls, strict=True)
        ]

    def _model(self, model: Side) -> AbstractContextManager[Any]:
        return self.pair.tuned() if model == "tuned" else self.pair.base()

    def _written(self, model: Any, requests: Sequence[Request]) -> list[Written]:
        """What the model writes for every request, with its vector added."""
        import torch

        from traces.models.hooks import added, decoder_layers

        block = decoder_layers(model)[self.layer]
        push = torch.from_numpy(np.stack([self._push(one) for one in requests]))
        push = push.to(next(block.parameters()).device)  # once, and not at every token
        return write(
            model,
            self.tokenizer,
            [tokenize_prompt(self.tokenizer, one.prompt) for one in requests],
            max_new_tokens=self.max_new_tokens,
            sampler=self.sampler,
            # rows of the same prompt and sample share their noise
            draws=[Draw.named(self.seed, self.name, one.prompt, one.sample) for one in requests],
            during=lambda rows: added(block, push[rows]),
            room=self.room,
        )

    def _push(self, request: Request) -> NDArray[np.float32]:
        if request.position is None:
            return np.zeros_like(next(iter(self.vectors.values())))
        return request.strength * self.vectors[request.vector, request.position]

    def _nlls(self, base: Any, texts: Sequence[tuple[str, list[int]]]) -> list[float | None]:
        """Mean negative log-likelihood of each answer given its prompt, in nats a token."""
        prompts = {one: tokenize_prompt(self.tokenizer, one) for one, _ in texts}
        rows = [(len(prompts[prompt]), [*prompts[prompt], *ids]) for prompt, ids in texts]
        return mean_nlls(base, rows)


def repetition(tokens: Sequence[int]) -> float:
    """Share of neighbouring pairs that stood in the text before; 0 for fewer than two pairs."""
    pairs = list(zip(tokens, tokens[1:], strict=False))
    return 1 - len(set(pairs)) / len(pairs) if pairs else 0.0
