"""
The straightforward way to every result: whole forward passes, nothing shared, nothing skipped.

It is what a first script would do, and so the truth that the library is compared with: in CPU time
by `tools/bench.py`, on a GPU by `tools/gpucheck`. Everything runs where the model is.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from traces.interventions.causality import Directions, Plan
from traces.models.hooks import capture, decoder_layers, projected_out, replaced
from traces.readers.patchscope import identity_prompt

TOP_K = 20
TIE = 1e-5
"Probabilities this close, as a share, are a tie: either order is right in float32."


# The ways ---------------------------------------------------------------------------------------


@torch.no_grad()
def difference(pair: Any, texts: Sequence[Sequence[int]], layer: int) -> np.ndarray:
    """Compute tuned minus base after block `layer`, [position, d_model], by full passes."""
    with pair.base() as model:
        base = stream(model, texts, layer)
    with pair.tuned() as model:
        tuned = stream(model, texts, layer)
    return (tuned.double() - base.double()).mean(dim=0).cpu().numpy()


@torch.no_grad()
def stream(model: Any, texts: Sequence[Sequence[int]], layer: int) -> Tensor:
    """Compute the output of block `layer`, [text, position, d_model]; not that of the last one."""
    found = model(input_ids=ids_of(model, texts), output_hidden_states=True).hidden_states
    # Index 0 is the embedding. The last one has gone through the final norm.
    assert layer + 2 < len(found), "the last block's output is not among the hidden states"
    return found[layer + 1]


@torch.no_grad()
def logit_lens(readout: Any, vectors: np.ndarray) -> Tensor:
    """Compute probabilities of each vector and its opposite one by one: [n x sign, vocabulary]."""
    found, where = [], next(readout.parameters())
    for vector in torch.from_numpy(vectors).to(where):
        for sign in (1, -1):
            logits = readout.head(readout.norm(sign * vector.unsqueeze(0))).float()
            if readout.softcap is not None:
                logits = torch.tanh(logits / readout.softcap) * readout.softcap
            probabilities = logits.softmax(dim=-1)
            # Computed for its time: the straightforward way ranks every vector, too.
            probabilities.topk(TOP_K)
            found.append(probabilities)
    return torch.cat(found)


@torch.no_grad()
def patchscope(
    model: Any,
    tokenizer: Any,
    vectors: np.ndarray,
    *,
    layer: int,
    norm: float,
    prompts: Sequence[Sequence[str]],
    scales: Sequence[float],
    intersection_top_k: int,
) -> Tensor:
    """
    Compute scores [n x sign x scale, vocabulary]: mean probability, 0 if a prompt ranks it too low.

    One forward pass of the whole prompt a vector, with all its scales and signs as rows.
    """
    block, found = decoder_layers(model)[layer], []
    factors = torch.tensor([sign * scale for sign in (1, -1) for scale in scales]).unsqueeze(1)
    for vector in torch.from_numpy(vectors):
        rows = factors * vector / vector.norm() * norm
        score, kept = torch.zeros(()), torch.ones((), dtype=torch.bool)
        for words in prompts:
            ids = ids_of(model, [tokenizer(identity_prompt(words))["input_ids"]] * len(rows))
            with replaced(block, rows, slice(-1, None)):
                logits = model(input_ids=ids).logits[:, -1].float()
            first = torch.zeros_like(logits, dtype=torch.bool)
            first.scatter_(1, logits.topk(intersection_top_k).indices, True)
            score = score.to(logits) + logits.softmax(dim=-1)
            kept = kept.to(first) & first
        score = score / len(prompts) * kept
        score.topk(TOP_K)
        found.append(score)
    return torch.cat(found)


@torch.no_grad()
def losses(pair: Any, texts: Sequence[Sequence[int]], plan: Plan) -> np.ndarray:
    """
    Compute the tuned model's loss, [1 + direction], nats a token: one full pass for each direction.

    The first is of the unchanged model. Texts are of one length.
    """
    found = []
    with pair.base() as model, capture(model, [plan.layer]) as seen:
        model(input_ids=ids_of(model, texts))
    with pair.tuned() as model:
        ids = ids_of(model, texts)
        found.append(_loss(model, ids))
        block = decoder_layers(model)[plan.layer]
        for unit in torch.from_numpy(plan.directions.units).to(ids.device):
            with projected_out(block, unit, seen[plan.layer].float() @ unit):
                found.append(_loss(model, ids))
    return np.array(found)


def _loss(model: Any, ids: Tensor) -> float:
    logits = model(input_ids=ids).logits[:, :-1].flatten(0, 1).float()
    return torch.nn.functional.cross_entropy(logits, ids[:, 1:].flatten()).item()


def ids_of(model: Any, texts: Sequence[Sequence[int]]) -> Tensor:
    """Put token ids of one length, [text, token], where the model reads them."""
    where = model.get_input_embeddings().weight.device
    return torch.tensor([list(one) for one in texts], device=where)


def plan_of(vectors: np.ndarray, layer: int, batch: int = 8) -> Plan:
    """Plan every vector [n, d_model] as a direction of its own, replaced after block `layer`."""
    rows = pd.DataFrame({"direction": "random", "direction_id": range(len(vectors))})
    rows["position"] = pd.array([None] * len(vectors), "Int64")
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    change: list[Any] = ["base_to_tuned"]
    return Plan(Directions(rows, units), layer, change, change, [], 0, batch=batch)


# When two ways agree ----------------------------------------------------------------------------


def cosine_error(found: np.ndarray, truth: np.ndarray) -> float:
    """Return the largest 1 - cosine over all but the last axis; both are [..., d_model]."""
    a, b = found.astype(np.float64), truth.astype(np.float64)
    lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return float(np.max(1 - (a * b).sum(axis=-1) / lengths))


def relative_error(found: np.ndarray, truth: np.ndarray) -> float:
    """Return the norm of the difference as a share of the truth's norm, over all numbers."""
    a, b = found.astype(np.float64), truth.astype(np.float64)
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def disagreeing(found: Any, truth: Tensor) -> float:
    """
    Return the share of readings whose ordered tokens differ from `truth` [reading, vocabulary].

    Two tokens whose scores differ by less than one part in 100,000 may be in either order.
    """
    ids = torch.from_numpy(found.ids).flatten(0, -2).to(truth.device)
    best = truth.topk(ids.shape[-1])
    there = truth.gather(1, ids)
    same = (ids == best.indices) | ((there - best.values).abs() <= TIE * best.values)
    return 1 - same.all(dim=1).float().mean().item()
