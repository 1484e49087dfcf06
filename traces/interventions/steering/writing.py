"""
Write texts while a difference is added to the residual stream, and measure them under the base.

A difference, made as long as the residual stream and times a strength, is added to what one block
writes, at every token that is read or written. All positions, strengths, prompts and samples are
rows of one batch.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from traces.artifacts.arrays import Differences
from traces.corpora.tokens import tokenize_prompt
from traces.interventions.steering.requests import Request, Row, SteeredModel, batches
from traces.seeding import named_seed

log = logging.getLogger(__name__)
Vectors = Mapping[tuple[str, int], NDArray[np.float32]]
SCORED_TOKENS = 4096
"Tokens in a forward pass that measures texts: its logits are tokens x vocabulary numbers."


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
    temperature: float
    seed: int
    name: str
    "With the seed it names the draws: checkpoints have each their own."
    batch: int
    "Texts written at once, as far as there is room; changes memory and time, not the texts."
    progress: Callable[[Iterable[Any], str], Iterable[Any]] = lambda items, _label: items

    def __call__(self, requests: Sequence[Request]) -> list[Row]:
        written: dict[Request, list[int]] = {}
        for model, some in self.progress(list(batches(requests, self.batch)), "batches of texts"):
            with self._model(model) as found:
                written |= zip(some, self._in_memory(found, some), strict=True)
        with self.pair.base() as base:
            nlls = self._nlls(base, [(one.prompt, written[one]) for one in requests])
        return [
            asdict(one)
            | {
                "text": str(self.tokenizer.decode(written[one], skip_special_tokens=True)).strip(),
                "n_tokens": len(written[one]),
                "nll": nll,
                "repetition": repetition(written[one]),
            }
            for one, nll in zip(requests, nlls, strict=True)
        ]

    def _model(self, model: SteeredModel) -> AbstractContextManager[Any]:
        return self.pair.tuned() if model == "tuned" else self.pair.base()

    def _in_memory(self, model: Any, requests: Sequence[Request]) -> list[list[int]]:
        """What `_write` gives, in halves where a GPU has no room for all of it: the same texts."""
        import torch

        try:
            return self._write(model, requests)
        except torch.OutOfMemoryError:
            if len(requests) == 1:
                raise
            log.warning("no room for %d texts at once, going on in halves", len(requests))
        torch.cuda.empty_cache()  # here, where the failed attempt is no longer held
        middle = len(requests) // 2
        halves = requests[:middle], requests[middle:]
        return [ids for half in halves for ids in self._in_memory(model, half)]

    def _write(self, model: Any, requests: Sequence[Request]) -> list[list[int]]:
        """The new tokens of every request, up to the one that ends it."""
        import torch

        from traces.models.hooks import added, decoder_layers
        from traces.models.weights import end_tokens

        prompts = [tokenize_prompt(self.tokenizer, one.prompt) for one in requests]
        pad, width = self.tokenizer.pad_token_id, max(map(len, prompts))
        ends = sorted(end_tokens(model, self.tokenizer))
        where = model.get_input_embeddings().weight.device
        ids = torch.tensor([[pad] * (width - len(one)) + one for one in prompts], device=where)
        real = torch.tensor(
            [[0] * (width - len(one)) + [1] * len(one) for one in prompts], device=where
        )
        push = torch.from_numpy(np.stack([self._push(one) for one in requests]))
        with torch.inference_mode(), added(decoder_layers(model)[self.layer], push):
            out = model.generate(
                input_ids=ids,
                attention_mask=real,
                max_new_tokens=self.max_new_tokens,
                do_sample=False,
                num_beams=1,
                repetition_penalty=1.0,
                logits_processor=[_Draws(requests, self.temperature, self.seed, self.name)],
                eos_token_id=ends or None,
                pad_token_id=pad,
                use_cache=True,
            )
        return [_ended(new, ends) for new in out[:, width:].tolist()]

    def _push(self, request: Request) -> NDArray[np.float32]:
        if request.position is None:
            return np.zeros_like(next(iter(self.vectors.values())))
        return request.strength * self.vectors[request.vector, request.position]

    def _nlls(self, base: Any, texts: Sequence[tuple[str, list[int]]]) -> list[float | None]:
        """Mean negative log-likelihood of each answer given its prompt, in nats a token."""
        prompts = {one: tokenize_prompt(self.tokenizer, one) for one, _ in texts}
        rows = [(len(prompts[prompt]), [*prompts[prompt], *ids]) for prompt, ids in texts]
        found: list[float | None] = [None] * len(rows)
        # by length, so that little is filled up and a batch has a known size
        order = sorted(range(len(rows)), key=lambda i: len(rows[i][1]))
        while order:
            n = max(1, SCORED_TOKENS // len(rows[order[-1]][1]))
            some, order = order[-n:], order[:-n]
            for i, nll in zip(some, _scored(base, [rows[i] for i in some]), strict=True):
                found[i] = nll
        return found


class _Draws:
    """
    Turns logits into logits / temperature + Gumbel noise, whose largest is a sample.

    Each prompt and sample has a generator of its own, which is asked once a step: rows of the same
    prompt and sample share their noise, and the rest of the batch does not matter.
    """

    def __init__(
        self, requests: Sequence[Request], temperature: float, seed: int, name: str
    ) -> None:
        names = [(one.prompt, one.sample) for one in requests]
        streams = list(dict.fromkeys(names))
        self.stream_of = [streams.index(one) for one in names]
        self.seeds = [named_seed(seed, name, *stream) for stream in streams]
        self.temperature = temperature
        self.generators: list[Any] = []

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        import torch

        if not self.generators:
            self.generators = [
                torch.Generator(scores.device).manual_seed(seed) for seed in self.seeds
            ]
        noise = torch.empty((len(self.seeds), scores.shape[-1]), device=scores.device)
        for line, generator in zip(noise, self.generators, strict=True):
            line.exponential_(generator=generator)
        return scores.float() / self.temperature - noise.log_()[self.stream_of]


def repetition(tokens: Sequence[int]) -> float:
    """Share of neighbouring pairs that stood in the text before; 0 for fewer than two pairs."""
    pairs = list(zip(tokens, tokens[1:], strict=False))
    return 1 - len(set(pairs)) / len(pairs) if pairs else 0.0


def _ended(new: list[int], ends: Sequence[int]) -> list[int]:
    """The tokens up to the first of `ends`, that one included: what follows is filling."""
    last = next((i for i, token in enumerate(new) if token in ends), len(new) - 1)
    return new[: last + 1]


def _scored(model: Any, rows: Sequence[tuple[int, list[int]]]) -> list[float | None]:
    """rows : length of the prompt, tokens of prompt and answer"""
    import torch

    width = max(len(ids) for _, ids in rows)
    where = model.get_input_embeddings().weight.device
    # filled up on the right, where a causal model does not look
    ids = torch.tensor([ids + ids[-1:] * (width - len(ids)) for _, ids in rows], device=where)
    with torch.inference_mode():
        logits = model(input_ids=ids, use_cache=False).logits[:, :-1].float()
    nll = torch.nn.functional.cross_entropy(logits.mT, ids[:, 1:], reduction="none").cpu()
    return [
        float(line[start - 1 : len(one) - 1].mean()) if len(one) > start else None
        for line, (start, one) in zip(nll, rows, strict=True)
    ]
