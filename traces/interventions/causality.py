"""
Measure the causal effect of a direction: replace it at every token, and see how the loss changes.

At every token the component of a block's output along a direction is replaced by the other model's
component on the same text; then the blocks above run. The blocks below run once for each text and
model, not for each direction. The head runs only where a prediction counts.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from traces import job
from traces.config.vocabularies import Intervention, Kind, Side
from traces.corpora.rows import carries_loss
from traces.corpora.tokens import tokenize_chat, tokenize_text
from traces.interventions.directions import Directions
from traces.models.hooks import capture, decoder_layers, starting_at, stop_after
from traces.models.weights import readout_of

RUN_ON: dict[Intervention, Side] = {
    "base_to_tuned": "tuned",
    "tuned_to_base": "base",
    "zero": "tuned",
}
"The model whose upper blocks run; the other one, if any, gives the component."
MODELS: tuple[Side, ...] = ("tuned", "base")
# All logits of a batch with its directions would take gigabytes at a vocabulary of 150,000. On a
# CPU the product with the head takes a third less time for some hundred rows than for 64.
LOGITS = {"cuda": 2**26, "cpu": 2**24}
"Logits held at once, by the kind of device: 256 MiB and 64 MiB of float32."
ROWS = 64
"Hidden states that go through the head at once, at least; with fewer, its weights are most of it."
CACHED = 2**20
"Logits that become losses at once on a CPU: 4 MiB of float32, which stay in its cache."
HELD = 2**30
"Bytes of one model's streams that wait for the other: 1,000 texts of 256 tokens, 2,048 wide."


# Texts ------------------------------------------------------------------------------------------


class Text(NamedTuple):
    """Hold one row as the loss is measured on it."""

    ids: list[int]
    predicted: list[int]
    "Indices of the tokens whose prediction counts, all above 0: token t is predicted at t - 1."
    start: int | None
    "Index of position 0, as the differences count positions; None where a text has none."


def read_texts(
    tokenizer: Any,
    rows: Iterable[dict[str, Any]],
    *,
    n: int,
    max_length: int,
    kind: Kind,
    source: str,
) -> list[Text]:
    """
    Read the first `n` rows in which a prediction counts, or as many as there are.

    Rows are cut to `max_length` tokens. Documents count with all their tokens, conversations with
    the replies that carry loss in a training.

    kind   : of the corpus that the differences were read on. For documents, positions count from
             the first token of any text; for conversations, from the first token of the first
             reply itself
    source : the file that a message names

    Raises ValueError if there is no such row.
    """
    found = (
        _text(tokenizer, row, max_length, kind, f"{source}, row {number}")
        for number, row in enumerate(rows, start=1)
    )
    texts = list(islice((text for text in found if text.predicted), n))
    if not texts:
        raise ValueError(
            f"{source}: found no row with a token to predict among its first {max_length} tokens, "
            "expected at least one; raise causality.max_length"
        )
    return texts


def _text(tokenizer: Any, row: dict[str, Any], max_length: int, kind: Kind, where: str) -> Text:
    if "messages" in row:
        chat = tokenize_chat(tokenizer, row["messages"], where)
        replies = [one for one in row["messages"] if one["role"] == "assistant"]
        learned = zip(chat.spans, replies, strict=True)
        spans = [span for span, one in learned if carries_loss(one)]
        ids, reply = chat.ids, chat.starts[0]
    else:
        ids = tokenize_text(tokenizer, row["text"])
        spans, reply = [(0, len(ids))], None
    ids = ids[:max_length]
    # From 1: nothing stands before the first token to predict it.
    predicted = [t for start, end in spans for t in range(max(start, 1), min(end, len(ids)))]
    return Text(ids, predicted, 0 if kind == "documents" else reply)


# Effects ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """Hold what is tried on a pair of models, and how its losses are aggregated."""

    directions: Directions
    layer: int
    "Block whose output is changed."
    interventions: Sequence[Intervention]
    controlled: Sequence[Intervention]
    "Interventions that the controls are tried with; they are most of the work."
    positions: Sequence[int]
    after: int
    "`after_k` counts the predictions made at tokens from this one on."
    batch: int
    "Rows times directions in one forward pass; in half precision it changes the last bits."

    def tried(self, model: Side) -> list[tuple[Intervention, int]]:
        """List intervention and row of `directions` of every change that this model runs with."""
        kinds = self.directions.rows["direction"]
        return [
            (intervention, number)
            for intervention in self.interventions
            if RUN_ON[intervention] == model
            for number, kind in enumerate(kinds)
            if kind == "difference" or intervention in self.controlled
        ]


def effects(pair: Any, texts: Mapping[str, Sequence[Text]], plan: Plan) -> pd.DataFrame:
    """
    Measure the loss of every model on every text, with every direction replaced, and its change.

    pair    : models.Pair
    texts   : by what the loss is evaluated on (own, unrelated, chat)
    returns : layer, intervention, direction, direction_id, position, evaluated_on, aggregation,
              loss and delta_loss (from the same model unchanged) in nats a token, n_tokens

    With d the unit vector, h the block's output and h' that of the other model on the same input,

        base_to_tuned, tuned_to_base    h + ((h' - h) . d) d   through the rest of tuned, of base
        zero                            h - (h . d) d          through the rest of tuned

    at every token, in float32, cast back. Aggregations are `all` predictions; `after_k`; and
    `without_position`, which leaves out the prediction made at position p itself, of token p + 1.
    A control has `without_position` for each p, so that it is compared on the same tokens; in its
    other rows the position is missing. Source: the paper's section on the causal effect. Its code
    leaves out the prediction made at p + 1 (of token p + 2) instead, one column too late.
    """
    tables = []
    for model in MODELS:
        tried = plan.tried(model)
        if not tried:
            continue
        size = max(1, plan.batch // (1 + len(tried)))
        groups = [(name, group) for name, some in texts.items() for group in _groups(some, size)]
        summed: dict[str, list[NDArray[np.float64]]] = {name: [] for name in texts}
        found = _summed(pair, model, groups, plan)
        for name, sums in job.progress(found, f"{model} model, groups of texts", len(groups)):
            summed[name].append(sums)
        for name, some in texts.items():
            # Sums over groups, divided once: texts differ in length, and a mean of means would
            # weigh short ones more.
            sums = np.sum(summed[name], axis=0)
            counts = np.concatenate([_weights(text, plan) for text in some]).sum(axis=0)
            tables.append(_table(model, sums, counts, plan).assign(evaluated_on=name))
    return pd.concat(tables, ignore_index=True).assign(layer=plan.layer)


def _summed(
    pair: Any, model: Side, groups: Sequence[tuple[str, list[Text]]], plan: Plan
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """
    Yield sums of one model's loss, a group of texts at a time, [1 + change, aggregation].

    groups : what the loss is evaluated on, and the texts; the sums come with the first of the two

    The first row is the unchanged model's.
    """
    other: Side = "base" if model == "tuned" else "tuned"
    tried, left = plan.tried(model), deque(groups)
    # Merging is safe above the layer: there the tuned model runs alone, once for each change.
    with pair.tuned(merged_above=plan.layer) if model == "tuned" else nullcontext():
        # Switching an adapter walks through all modules, which takes as long as launching a pass.
        # So the other model reads many groups ahead.
        while left:
            ahead, held = [], 0
            with getattr(pair, other)() as loaded:
                while left and held < HELD:
                    name, group = left.popleft()
                    theirs = stream(loaded, group, plan.layer)
                    ahead.append((name, group, theirs))
                    held += theirs.nbytes
            with getattr(pair, model)() as loaded:
                for name, group, theirs in ahead:
                    own = stream(loaded, group, plan.layer)
                    yield name, _losses(loaded, group, own, theirs, plan, tried)


def _groups(texts: Sequence[Text], size: int) -> list[list[Text]]:
    """Group texts of about the same length, `size` together, so that little is padding."""
    ordered = sorted(texts, key=lambda text: len(text.ids))
    return [list(ordered[start : start + size]) for start in range(0, len(ordered), size)]


@torch.inference_mode()
def stream(model: Any, texts: Sequence[Text], layer: int) -> Tensor:
    """Read the output of block `layer`, [text, sequence, d_model]; nothing above it runs."""
    with capture(model, [layer]) as seen, stop_after(model, layer):
        model(input_ids=_inputs(model, texts), use_cache=False)
    return seen[layer]


def streams_of_base(
    pair: Any, texts: Sequence[Text], layer: int, batch: int
) -> Iterator[NDArray[np.float32]]:
    """Yield what the base's block `layer` writes for every text, [sequence, d_model]."""
    with pair.base() as base:
        for group in _groups(texts, batch):
            found = stream(base, group, layer).float().cpu().numpy()
            yield from (one[: len(text.ids) - 1] for one, text in zip(found, group, strict=True))


@torch.inference_mode()
def _losses(
    model: Any,
    texts: Sequence[Text],
    own: Tensor,
    other: Tensor,
    plan: Plan,
    tried: Sequence[tuple[Intervention, int]],
) -> NDArray[np.float64]:
    """
    Sum the loss, [1 + change, aggregation]: unchanged first, then after each change.

    own, other : the block's output in this model and in the other, [text, sequence, d_model]
    """
    where = own.device
    numbers, kept = [number for _, number in tried], [kind != "zero" for kind, _ in tried]
    units = torch.tensor(plan.directions.units[numbers], device=where)
    # [change, text, sequence]: the component that is written minus the one that was there. Only
    # this number is kept for each direction, and the changed stream is built a few directions at a
    # time.
    shift = torch.einsum("nd,bsd->nbs", units, -own.float())
    replaced = torch.einsum("nd,bsd->nbs", units, other.to(where).float())
    shift += replaced * torch.tensor(kept, device=where).view(-1, 1, 1)
    # The unchanged model is a change by a zero vector, in the same batches: it shares the rounding
    # of the others, most of which then cancels in delta_loss.
    units = torch.cat([torch.zeros_like(units[:1]), units])
    shift = torch.cat([torch.zeros_like(shift[:1]), shift])

    weights = np.concatenate([_weights(text, plan) for text in texts])
    # Passes of equal size: a last one with a few rows would cost almost as much as a full one.
    passes = -(-len(units) * len(texts) // plan.batch)
    size = -(-len(units) // passes)
    sums = []
    for u, s in zip(units.split(size), shift.split(size), strict=True):
        changed = own.float() + s.unsqueeze(-1) * u[:, None, None]
        sums.append(_nll(model, texts, changed.to(own.dtype), plan.layer) @ weights)
    return np.concatenate(sums)


def _nll(model: Any, texts: Sequence[Text], changed: Tensor, layer: int) -> NDArray[np.float64]:
    """
    Compute the negative log-likelihood of every predicted token, in order, [change, token].

    changed : the output of block `layer`, [change, text, sequence, d_model]
    """
    n, top = len(changed), len(decoder_layers(model)) - 1
    ids = _inputs(model, texts).repeat(n, 1)
    with (
        starting_at(model, layer, changed.flatten(0, 1)),
        capture(model, [top]) as seen,
        stop_after(model, top),
    ):
        model(input_ids=ids, use_cache=False)
    # Only hidden states whose prediction counts go through the head, the largest matrix of all.
    row = [number for number, text in enumerate(texts) for _ in text.predicted]
    place = [t - 1 for text in texts for t in text.predicted]
    hidden = seen[top].view(n, len(texts), *seen[top].shape[1:])[:, row, place]

    readout, where = readout_of(model), hidden.device
    targets = [text.ids[t] for text in texts for t in text.predicted]
    expected = torch.tensor(targets, device=where).repeat(n)
    vocabulary = model.config.get_text_config(decoder=True).vocab_size
    rows = LOGITS.get(where.type, LOGITS["cuda"]) // vocabulary
    # A multiple of 8, as in a dump: any other number changes the last bits of some products.
    size = max(ROWS, rows - rows % 8)
    pieces = zip(hidden.flatten(0, 1).split(size), expected.split(size), strict=True)
    found = [_surprisal(readout.scores(some), token) for some, token in pieces]
    # Copied once: each copy would wait until the device has nothing left to do.
    return torch.cat(found).cpu().view(n, -1).double().numpy()


def _surprisal(logits: Tensor, expected: Tensor) -> Tensor:
    """
    Compute the negative log-likelihood of `expected` [row], in float32.

    logits : [row, vocabulary], in the model's own format
    """
    # The head of a model on several devices need not be where its last block is.
    expected = expected.to(logits.device)
    size = max(1, CACHED // logits.shape[1]) if logits.device.type == "cpu" else len(logits)
    pieces = zip(logits.split(size), expected.split(size), strict=True)
    return torch.cat([_surprisal_at_once(some, token) for some, token in pieces])


def _surprisal_at_once(logits: Tensor, expected: Tensor) -> Tensor:
    # As few passes over float32 as possible: the largest is taken of the logits as they are, and
    # the subtraction converts them. log_softmax would read the float32 rows three times to write
    # them once, and on a CPU it adds up a row in one order, which costs two digits at 150,000.
    top = logits.amax(dim=-1, keepdim=True).float()
    there = logits.gather(-1, expected[:, None]).float() - top
    return (logits - top).exp_().sum(dim=-1).log() - there[:, 0]


def _inputs(model: Any, texts: Sequence[Text]) -> Tensor:
    """Build token ids without each text's last, padded on the right, where no model looks."""
    # The last token is only predicted, so that nothing need be computed at it.
    width = max(len(text.ids) for text in texts) - 1
    rows = [text.ids[:-1] + [0] * (width - len(text.ids) + 1) for text in texts]
    return torch.tensor(rows, device=model.get_input_embeddings().weight.device)


# Aggregations -----------------------------------------------------------------------------------


def _aggregations(plan: Plan) -> list[tuple[str, int | None]]:
    """List each aggregation and, for `without_position`, the position that is left out."""
    return [("all", None), ("after_k", None), *(("without_position", p) for p in plan.positions)]


def _weights(text: Text, plan: Plan) -> NDArray[np.float64]:
    """Mark which predictions of a text count in which aggregation, 0 or 1: [token, aggregation]."""
    # As weights, so that all aggregations of all changes are one matrix product.
    at = np.array(text.predicted) - 1
    left_out = [None if text.start is None else text.start + p for p in plan.positions]
    columns = [at >= 0, at >= plan.after, *(at != place for place in left_out)]
    return np.stack([np.broadcast_to(one, at.shape) for one in columns], axis=1).astype(float)


def _table(
    model: Side, sums: NDArray[np.float64], counts: NDArray[np.float64], plan: Plan
) -> pd.DataFrame:
    """Turn sums [1 + change, aggregation] and counts [aggregation] into tidy rows."""
    with np.errstate(invalid="ignore"):
        losses = sums / counts  # NaN where no prediction counts
    tried = plan.tried(model)
    described = plan.directions.rows.iloc[[number for _, number in tried]].reset_index(drop=True)
    described.insert(0, "intervention", [intervention for intervention, _ in tried])
    parts = []
    for column, (aggregation, left_out) in enumerate(_aggregations(plan)):
        part = described.assign(
            aggregation=aggregation,
            loss=losses[1:, column],
            delta_loss=losses[1:, column] - losses[0, column],
            n_tokens=int(counts[column]),
        )
        if left_out is not None:
            part["position"] = part["position"].fillna(left_out)
            part = part[part["position"] == left_out]
        parts.append(part)
    return pd.concat(parts, ignore_index=True)
