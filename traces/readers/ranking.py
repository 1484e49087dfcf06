"""
Rank tokens: the highest scores of each vector among the tokens that may be read, as a tidy table.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from traces.artifacts.scores import Scores

Vectors = NDArray[np.float32] | Tensor


class Tokens(NamedTuple):
    """The tokens read from each vector, most probable first; probability 0 where there is none."""

    ids: NDArray[np.int64]
    probabilities: NDArray[np.float32]


class Scored(NamedTuple):
    """The tokens read from each vector, and the scores of all tokens that may be read."""

    ids: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    "Both as in `Tokens`."
    scores: NDArray[np.float32]
    "Log-probabilities in nats of each vector as it is, then of each null direction, [n, token]."

    @property
    def tokens(self) -> Tokens:
        return Tokens(self.ids, self.probabilities)


def table(
    tokens: Tokens, tokenizer: Any, rows: pd.DataFrame, **axes: Sequence[Any]
) -> pd.DataFrame:
    """
    A tidy table of what was read, one row a token, in the order of rank.

    rows    : one row a vector, such as reading, layer and position
    axes    : the axes of `tokens` between vector and rank, in their order, such as sign=(1, -1)
    returns : the columns of `rows`, one for each axis, and rank, token_id, token, probability;
              places without a token (probability 0) are left out
    """
    shape = (len(rows), *(len(values) for values in axes.values()), tokens.ids.shape[-1])
    if tokens.ids.shape != shape:
        raise ValueError(f"tokens have shape {tokens.ids.shape}, the table's axes {shape}")

    # NaN is not above 0 either: such a reading would be left out without a word.
    if np.isnan(tokens.probabilities).any():
        vector = int(np.argwhere(np.isnan(tokens.probabilities))[0][0])
        which = ", ".join(f"{name} {value}" for name, value in rows.iloc[vector].items())
        raise ValueError(f"{which}: found tokens whose probability is no number")
    kept = np.nonzero(tokens.probabilities > 0)
    frame = rows.iloc[kept[0]].reset_index(drop=True)
    for (name, values), index in zip(axes.items(), kept[1:-1], strict=True):
        frame[name] = np.asarray(values)[index]
    ids = tokens.ids[kept]
    unique, inverse = np.unique(ids, return_inverse=True)
    texts = np.array([tokenizer.decode([int(one)]) for one in unique], dtype=object)
    return frame.assign(
        rank=kept[-1],
        token_id=ids,
        token=texts[inverse],
        probability=tokens.probabilities[kept],
    )


def named(
    rows: pd.DataFrame,
    scores: NDArray[np.float32],
    probabilities: NDArray[np.float32],
    tokenizer: Any,
    token_id: Sequence[int] | NDArray[np.int64] | None,
    top_k: int,
    floor: float,
) -> pd.DataFrame:
    """
    A tidy table of the tokens of highest score among the probable ones, one row a token.

    rows          : one row a list
    scores        : [list, token]
    probabilities : [list, token]; a token is probable from `floor` on
    token_id      : of the tokens, [token]; None where they are all of the vocabulary, in order
    returns       : the columns of `rows`, rank, token_id, token, probability and score

    Where all tokens have one score, or none has any, nothing is ranked and the list is empty.
    """
    probable = np.where(probabilities >= floor, probabilities, 0)
    # Ties would be listed in the order of the ids, as if that meant something.
    if scores.shape[1] > 1:
        probable[~(scores.max(axis=1) > scores.min(axis=1))] = 0
    best = np.zeros((len(scores), top_k), dtype=np.int64)
    chances = np.zeros((len(scores), top_k), dtype=probable.dtype)
    for row, (own, chance) in enumerate(zip(scores, probable, strict=True)):
        # Only the probable ones are sorted, which are few of a large vocabulary.
        some = np.flatnonzero(chance > 0)
        # Among equals the first id, as on any machine.
        some = some[np.argsort(-own[some], kind="stable")[:top_k]]
        best[row, : len(some)], chances[row, : len(some)] = some, chance[some]
    ids = best if token_id is None else np.asarray(token_id)[best]
    frame = table(Tokens(ids, chances), tokenizer, rows)
    kept = np.take_along_axis(scores, best, axis=1)[chances > 0]
    return frame.assign(score=kept.astype(np.float64))


def probabilities(lists: pd.DataFrame, plain: Scores) -> NDArray[np.float32]:
    """
    Each token's probability under the direction of each list, [list, token].

    plain : log-probabilities by the reader that says them, whose lists have fewer axes
    """
    on = list(plain.lists)
    at = lists.merge(plain.lists.reset_index(names="at"), on=on, how="left")["at"]
    return np.exp(plain.score[at.astype(int)])


def top(scores: Tensor, k: int, allowed: Tensor | None) -> Tokens:
    """The `k` highest scores of each row among the allowed ids."""
    available = scores.shape[-1] if allowed is None else len(allowed)
    if k > available:
        raise ValueError(f"top_k is {k}, but only {available} tokens may be read")
    values, ids = (scores if allowed is None else scores[:, allowed]).topk(k, dim=-1)
    ids = ids if allowed is None else allowed[ids]
    return Tokens(ids.cpu().numpy(), values.float().cpu().numpy())


def log_probabilities(logits: Tensor, rows: Tensor, allowed: Tensor | None) -> NDArray[np.float32]:
    """
    Log-probabilities of the allowed tokens, in nats, mean over the prompts: [chosen row, token].

    logits : [prompt, batch, vocabulary]
    rows   : which of the batch, [batch]
    """
    total = torch.zeros(())
    # A prompt at a time: nothing as large as the logits is made.
    for prompt in logits:
        some = prompt[rows.to(prompt.device)]
        named = some if allowed is None else some[:, allowed]
        total = total.to(named.device) + (named - some.logsumexp(dim=-1, keepdim=True))
    return (total / len(logits)).float().cpu().numpy()


def allowed_ids(vocabulary: Sequence[int] | None, scores: Tensor) -> Tensor | None:
    if vocabulary is None:
        return None
    return torch.tensor(np.asarray(vocabulary), dtype=torch.long, device=scores.device)


def stacked(parts: Sequence[Tokens], shape: tuple[int, ...]) -> Tokens:
    # Not -1: where no vector is read, no size follows from the others.
    joined = [np.concatenate(part) for part in zip(*parts, strict=True)]
    return Tokens(*(one.reshape(*shape, one.shape[-1]) for one in joined))


def signed(vectors: Vectors, signs: Sequence[int]) -> Tensor:
    """[n, d_model] -> [n, sign, d_model]"""
    rows = torch.as_tensor(vectors, dtype=torch.float32)
    return rows.unsqueeze(1) * torch.tensor(signs, dtype=rows.dtype, device=rows.device).view(-1, 1)
