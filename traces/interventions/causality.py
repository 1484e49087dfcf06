"""
What does a direction do? Take it out of every token's activation, and see how the loss changes.

At every token the component of a block's output along a direction is replaced by the one the other
model has there, on the same text, and the blocks above run on. The blocks below are run once for
each text and model, and not again for each direction; the head only where a prediction counts.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from traces import job
from traces.artifacts.arrays import Activations, Differences
from traces.corpora.rows import Kind
from traces.corpora.tokens import tokenize_chat, tokenize_text
from traces.models.hooks import capture, decoder_layers, starting_at, stop_after
from traces.models.weights import readout_of

Intervention = Literal["base_to_tuned", "tuned_to_base", "zero"]
Model = Literal["tuned", "base"]

RUN_ON: dict[Intervention, Model] = {
    "base_to_tuned": "tuned",
    "tuned_to_base": "base",
    "zero": "tuned",
}
"The model whose upper blocks run on; the other one, if any, gives the component."
MODELS: tuple[Model, ...] = ("tuned", "base")
LOGITS = 2**26
"Logits held at once: 256 MiB of float32."


# Texts ------------------------------------------------------------------------------------------


class Text(NamedTuple):
    """One row as the loss is measured on it."""

    ids: list[int]
    predicted: list[int]
    "Indices of the tokens whose prediction counts, all above 0: token t is predicted at t - 1."
    start: int | None
    "Index of position 0, as the differences count positions; none where the text has no such."


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
    The first `n` rows in which a prediction counts, or as many as there are, cut to `max_length`.

    Documents count with all their tokens, conversations with those that the assistant wrote.

    kind   : of the corpus that the differences were read on. Of documents, positions are counted
             from the first token of any text; of conversations, from the first reply's
    source : the file that a message names

    Raises ValueError if there is no such row.
    """
    found = (_text(tokenizer, row, max_length, kind) for row in rows)
    texts = list(islice((text for text in found if text.predicted), n))
    if not texts:
        raise ValueError(
            f"{source}: found no row with a token to predict among its first {max_length} tokens, "
            "expected at least one; raise causality.max_length"
        )
    return texts


def _text(tokenizer: Any, row: dict[str, Any], max_length: int, kind: Kind) -> Text:
    if "messages" in row:
        chat = tokenize_chat(tokenizer, row["messages"])
        ids, spans, reply = chat.ids, chat.spans, chat.spans[0][0]
    else:
        ids = tokenize_text(tokenizer, row["text"])
        spans, reply = [(0, len(ids))], None
    ids = ids[:max_length]
    predicted = [t for start, end in spans for t in range(max(start, 1), min(end, len(ids)))]
    return Text(ids, predicted, 0 if kind == "documents" else reply)


# Directions -------------------------------------------------------------------------------------


class Directions(NamedTuple):
    """What is taken out, and what each is."""

    rows: pd.DataFrame
    "direction, direction_id (from 0 for each direction), position (missing for the controls)."
    units: NDArray[np.float32]
    "Vectors of length 1, [direction, d_model]."


def directions(
    differences: Differences,
    base: Activations,
    *,
    index: int,
    positions: Sequence[int],
    random: int,
    activation_differences: int,
    seed: int,
    name: str,
) -> Directions:
    """
    The mean differences at `positions`, and as controls random and natural directions.

    base                   : the base's activations on the same text
    index                  : of the layer, among those of `differences`
    random                 : how many Gaussian directions
    activation_differences : how many differences of two of the base's activations, each of any
                             sample and position
    seed, name             : of the controls; a checkpoint's name gives it its own

    Raises ValueError for a position that was not read, a difference without a direction, and
    activations that are all the same.
    """
    rng = np.random.default_rng([seed, int(differences.layers[index]), *name.encode()])
    vectors = {
        "difference": _means(differences, index, positions, name),
        "random": rng.normal(size=(random, differences.mean.shape[-1])),
        "activation_difference": _natural(base, index, activation_differences, rng),
    }
    rows = [(kind, number) for kind, found in vectors.items() for number in range(len(found))]
    frame = pd.DataFrame(rows, columns=["direction", "direction_id"])
    frame["position"] = pd.array([*positions, *[None] * (len(rows) - len(positions))], "Int64")
    stacked = np.concatenate(list(vectors.values()))
    units = stacked / np.linalg.norm(stacked, axis=-1, keepdims=True)
    return Directions(frame, units.astype(np.float32))


def _means(
    differences: Differences, index: int, positions: Sequence[int], name: str
) -> NDArray[np.float64]:
    read = differences.positions.tolist()
    for position in positions:
        if position not in read:
            raise ValueError(
                f"causality.positions: found {position}, expected positions that were read ({read})"
            )
    means = differences.mean[index, [read.index(one) for one in positions]].astype(np.float64)
    for position, length in zip(positions, np.linalg.norm(means, axis=-1), strict=True):
        if not (length > 0 and np.isfinite(length)):
            raise ValueError(
                f"{name}, position {position}: a difference of length {length} has no direction "
                "to take out (was anything trained?)"
            )
    return means


def _natural(
    base: Activations, index: int, n: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Differences of two activations, [n, d_model]; two that are the same are drawn again."""
    _, n_samples, n_positions, _ = base.shape

    def drawn() -> NDArray[np.float64]:
        sample, position = int(rng.integers(n_samples)), int(rng.integers(n_positions))
        return base.rows(sample, sample + 1)[index, 0, position].astype(np.float64)

    found = []
    for _ in range(20 * n):
        first, second = drawn(), drawn()
        if np.linalg.norm(first - second) > 1e-6 * np.linalg.norm(first):
            found.append(first - second)
        if len(found) == n:
            return np.stack(found)
    raise ValueError(
        f"{base.path}: of {20 * n} pairs of activations {len(found)} differ, expected {n}; "
        "name a corpus of other texts in `corpora`"
    )


# Effects ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """What is tried on a pair of models, and how its losses are summed up."""

    directions: Directions
    layer: int
    "Block whose output is changed."
    interventions: Sequence[Intervention]
    controlled: Sequence[Intervention]
    "Those that the controls are tried with, too."
    positions: Sequence[int]
    after: int
    "`after_k` counts the predictions made at tokens from this one on."
    batch: int
    "Rows times directions in one forward pass; changes memory and time, not the result."

    def tried(self, model: Model) -> list[tuple[Intervention, int]]:
        """Intervention and row of `directions`, for every change that this model is run with."""
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
    Loss of every model on every text, with every direction replaced, and what that changes.

    pair    : models.Pair
    texts   : by what the loss is evaluated on (own, unrelated, chat)
    returns : layer, intervention, direction, direction_id, position, evaluated_on, aggregation,
              loss and delta_loss (against the same model untouched) in nats a token, n_tokens

    With d the unit vector, h the block's output and h' that of the other model on the same input,

        base_to_tuned, tuned_to_base    h + ((h' - h) . d) d   through the rest of tuned, of base
        zero                            h - (h . d) d          through the rest of tuned

    at every token, in float32, cast back. Aggregations are `all` predictions; `after_k`; and
    `without_position`, which leaves out the prediction made at position p itself, of token p + 1.
    A control has `without_position` for each p, so that it is compared on the very tokens; in its
    other rows the position is missing. Source: the paper's section on the causal effect, but its
    code leaves out the prediction made at p + 1 (of token p + 2), one column too late.
    """
    tables = []
    for model in MODELS:
        if not plan.tried(model):
            continue
        for name, some in texts.items():
            sums = np.sum(list(_summed(pair, model, some, plan, name)), axis=0)
            counts = np.concatenate([_weights(text, plan) for text in some]).sum(axis=0)
            tables.append(_table(model, sums, counts, plan).assign(evaluated_on=name))
    return pd.concat(tables, ignore_index=True).assign(layer=plan.layer)


def _summed(
    pair: Any, model: Model, texts: Sequence[Text], plan: Plan, name: str
) -> Iterator[NDArray[np.float64]]:
    """
    Sums of one model's loss for one group of texts after the other, [1 + change, aggregation].

    The first row is that of the model untouched.
    """
    tried = plan.tried(model)
    groups = _groups(texts, max(1, plan.batch // (1 + len(tried))))
    with pair.tuned(merged_above=plan.layer) if model == "tuned" else nullcontext():
        for group in job.progress(groups, f"{model} model, groups of {name} texts"):
            streams = {}
            for one in MODELS:
                with getattr(pair, one)() as loaded:
                    streams[one] = _stream(loaded, group, plan.layer)
            own, other = streams.pop(model), streams.popitem()[1]
            with getattr(pair, model)() as loaded:
                yield _losses(loaded, group, own, other, plan, tried)


def _groups(texts: Sequence[Text], size: int) -> list[list[Text]]:
    """Texts of about the same length, `size` together: little is filled up."""
    ordered = sorted(texts, key=lambda text: len(text.ids))
    return [list(ordered[start : start + size]) for start in range(0, len(ordered), size)]


@torch.inference_mode()
def _stream(model: Any, texts: Sequence[Text], layer: int) -> Tensor:
    """What block `layer` writes, [text, sequence, d_model]; nothing above it runs."""
    with capture(model, [layer]) as seen, stop_after(model, layer):
        model(input_ids=_inputs(model, texts), use_cache=False)
    return seen[layer]


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
    Sums of the loss, [1 + change, aggregation]: untouched, then after each change.

    own, other : what the block writes in this model and in the other, [text, sequence, d_model]
    """
    where = own.device
    numbers, kept = [number for _, number in tried], [kind != "zero" for kind, _ in tried]
    units = torch.tensor(plan.directions.units[numbers], device=where)
    # [change, text, sequence]: the component that is written, less the one that was there
    shift = torch.einsum("nd,bsd->nbs", units, -own.float())
    replaced = torch.einsum("nd,bsd->nbs", units, other.to(where).float())
    shift += replaced * torch.tensor(kept, device=where).view(-1, 1, 1)
    units = torch.cat([torch.zeros_like(units[:1]), units])
    shift = torch.cat([torch.zeros_like(shift[:1]), shift])

    weights = np.concatenate([_weights(text, plan) for text in texts])
    passes = -(-len(units) * len(texts) // plan.batch)
    size = -(-len(units) // passes)
    sums = []
    for u, s in zip(units.split(size), shift.split(size), strict=True):
        changed = own.float() + s.unsqueeze(-1) * u[:, None, None]
        sums.append(_nll(model, texts, changed.to(own.dtype), plan.layer) @ weights)
    return np.concatenate(sums)


def _nll(model: Any, texts: Sequence[Text], changed: Tensor, layer: int) -> NDArray[np.float64]:
    """
    Negative log-likelihood of every predicted token of every text, in their order, [change, token].

    changed : what block `layer` writes, [change, text, sequence, d_model]
    """
    n, top = len(changed), len(decoder_layers(model)) - 1
    ids = _inputs(model, texts).repeat(n, 1)
    with (
        starting_at(model, layer, changed.flatten(0, 1)),
        capture(model, [top]) as seen,
        stop_after(model, top),
    ):
        model(input_ids=ids, use_cache=False)
    row = [number for number, text in enumerate(texts) for _ in text.predicted]
    place = [t - 1 for text in texts for t in text.predicted]
    hidden = seen[top].view(n, len(texts), *seen[top].shape[1:])[:, row, place]

    readout = readout_of(model)
    targets = torch.tensor([text.ids[t] for text in texts for t in text.predicted]).repeat(n)
    size = max(1, LOGITS // model.config.get_text_config(decoder=True).vocab_size)
    found = []
    pieces = zip(hidden.flatten(0, 1).split(size), targets.split(size), strict=True)
    for some, expected in pieces:
        logits = readout(some)
        logits -= logits.amax(dim=-1, keepdim=True)  # in place: another tensor of them costs more
        there = logits.gather(-1, expected.to(logits.device)[:, None])[:, 0]
        found.append((logits.exp_().sum(dim=-1).log() - there).cpu())
    return torch.cat(found).view(n, -1).double().numpy()


def _inputs(model: Any, texts: Sequence[Text]) -> Tensor:
    """Token ids without each text's last, filled up on the right, where no model looks."""
    width = max(len(text.ids) for text in texts) - 1
    rows = [text.ids[:-1] + [0] * (width - len(text.ids) + 1) for text in texts]
    return torch.tensor(rows, device=model.get_input_embeddings().weight.device)


# Aggregations -----------------------------------------------------------------------------------


def _aggregations(plan: Plan) -> list[tuple[str, int | None]]:
    """Name and, for `without_position`, the position that is left out."""
    return [("all", None), ("after_k", None), *(("without_position", p) for p in plan.positions)]


def _weights(text: Text, plan: Plan) -> NDArray[np.float64]:
    """Which predictions of a text count in which aggregation, 0 or 1: [token, aggregation]."""
    at = np.array(text.predicted) - 1
    left_out = [None if text.start is None else text.start + p for p in plan.positions]
    columns = [at >= 0, at >= plan.after, *(at != place for place in left_out)]
    return np.stack([np.broadcast_to(one, at.shape) for one in columns], axis=1).astype(float)


def _table(
    model: Model, sums: NDArray[np.float64], counts: NDArray[np.float64], plan: Plan
) -> pd.DataFrame:
    """sums [1 + change, aggregation], counts [aggregation] as tidy rows."""
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
