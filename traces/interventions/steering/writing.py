"""
Steer with a difference: which texts to write, how to write them, and which strength to choose.

A difference, made as long as the residual stream and times a strength, is added to what one block
writes, at every token that is read or written. Too strong, and the text falls apart; so texts are
tried at many strengths, judged, and the largest strength is taken at which most hold together.

All positions, strengths, prompts and samples are rows of one batch. What a row says depends on no
other: its randomness is named by checkpoint, prompt and sample, so that it shares its draws with
the unsteered text and with every other strength and vector (common random numbers).
"""

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from traces.artifacts.arrays import Differences
from traces.corpora.tokens import tokenize_prompt

log = logging.getLogger(__name__)

SteeredModel = Literal["tuned", "base"]
Vector = Literal["difference", "random", "none"]
Row = dict[str, Any]
Vectors = Mapping[tuple[str, int], NDArray[np.float32]]

MODELS: tuple[SteeredModel, ...] = ("tuned", "base")
REFERENCES = 4
"Unsteered trial texts are at least so many times those of a position: judges compare with them."
LEVELS = 3
"Halvings whose midpoints are all tried at once in a round of the bisection."
SCORED_TOKENS = 4096
"Tokens in a forward pass that measures texts: its logits are tokens x vocabulary numbers."


# What is written --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Request:
    """One text to write: by which model, pushed where and how hard, in answer to what."""

    steered_model: SteeredModel
    vector: Vector
    position: int | None
    "Token position whose difference steers; none for an unsteered text."
    strength: float
    "In units of the residual stream's norm; 0 for an unsteered text."
    prompt: str
    sample: int


def unsteered(model: SteeredModel, prompts: Sequence[str], samples: int) -> list[Request]:
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


def final(chosen: Sequence["Choice"], prompts: Sequence[str], samples: int) -> list[Request]:
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


def batches(requests: Sequence[Request], size: int) -> Iterator[tuple[SteeredModel, list[Request]]]:
    """The requests of each model in as few batches as there must be, all about equally large."""
    for model in MODELS:
        mine = [one for one in requests if one.steered_model == model]
        n = -(-len(mine) // size)
        for i in range(n):
            yield model, mine[len(mine) * i // n : len(mine) * (i + 1) // n]


def decode_steps(requests: Sequence[Request], size: int, max_new_tokens: int) -> int:
    """Forward passes, one after another, that writing takes at most; the prompts' among them."""
    return sum(max_new_tokens for _ in batches(requests, size))


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
        random = np.random.default_rng(_seed(seed, name, position)).normal(size=mean.shape)
        for vector, direction in (("difference", mean), ("random", random)):
            length = np.linalg.norm(direction)
            if not (length > 0 and np.isfinite(length)):
                raise ValueError(
                    f"{name}, position {position}: a difference of length {length} has no "
                    "direction to steer in (was anything trained?)"
                )
            found[vector, position] = (direction / length * norm).astype(np.float32)
    return found


# Writing ----------------------------------------------------------------------------------------


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
        self.seeds = [_seed(seed, name, *stream) for stream in streams]
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


def _seed(seed: int, *name: str | int) -> int:
    """A seed of 63 bits that depends on `seed` and on a name."""
    text = "/".join(map(str, (seed, *name)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


# Choosing ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Choice:
    """The strength chosen for one model and position."""

    steered_model: SteeredModel
    position: int
    strength: float
    coherence: float
    "Share of the judged texts at that strength that are coherent, 0 to 1."
    coherent: bool
    "Whether that suffices; where no strength's share does, the smallest tried is taken."
    n: int
    "Texts that the share is of."


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
    known: dict[tuple[SteeredModel, int], dict[tuple[str, float], bool]]
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
    key: tuple[SteeredModel, int], shares: pd.DataFrame, strength: Any, *, coherent: bool
) -> Choice:
    coherence, n = shares.loc[strength, ["mean", "count"]]
    return Choice(*key, float(strength), float(coherence), coherent, int(n))


def _by_place(grades: pd.DataFrame) -> Iterator[tuple[tuple[SteeredModel, int], pd.DataFrame]]:
    """The texts steered by a difference, by model and position."""
    steered = grades[grades["vector"] == "difference"]
    for (model, position), group in steered.groupby(["steered_model", "position"], sort=False):
        yield (cast(SteeredModel, model), int(position)), group


def _shares(grades: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Share of coherent texts (`mean`) among those with an answer (`count`); 0 without any."""
    answers = grades["coherent"].astype("boolean").astype("Float64")
    return answers.groupby([grades[name] for name in by]).agg(["mean", "count"]).fillna(0.0)
