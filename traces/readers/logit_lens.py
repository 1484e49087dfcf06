"""The logit lens: a vector sent straight into the readout (final norm and unembedding)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel

from traces.config.readers import SIGNS
from traces.config.vocabularies import Side
from traces.readers import directions
from traces.readers.nulls import compared
from traces.readers.ranking import (
    Scored,
    Vectors,
    allowed_ids,
    log_probabilities,
    signed,
    stacked,
    table,
    top,
)
from traces.readers.reading import Found, Loaded, Probe, joined


class Settings(BaseModel, frozen=True, extra="forbid"):
    """Whose readout decodes: one reading for each."""

    heads: tuple[Side, ...]


def read(loaded: Loaded, probe: Probe, settings: Mapping[str, Any]) -> Found:
    """The reader's function: a row a reading, layer, position, sign, head and rank."""
    rows, vectors = directions.readings(probe.differences, probe.readings)
    layers = probe.differences.layers
    d_model = vectors.shape[-1]
    nulls = np.concatenate(
        [vectors[:0], *(one.reshape(-1, d_model) for one in probe.nulls.values())]
    )
    read = []
    for head in Settings.model_validate(settings).heads:
        said = logit_lens(
            loaded.readout(head),
            vectors,
            top_k=probe.top_k,
            vocabulary=probe.vocabulary,
            nulls=nulls,
        )
        tokens = table(said.tokens, loaded.tokenizer, rows, sign=SIGNS).assign(head=head)
        # [null, layer], each with its directions: a set after the other, as they were given.
        sets = np.split(said.scores[len(rows) :], max(len(probe.nulls) * len(layers), 1))
        for index, layer in enumerate(layers):
            here = (rows["layer"] == layer).to_numpy()
            scores = compared(
                rows[here].assign(head=head),
                said.scores[: len(rows)][here],
                dict(zip(probe.nulls, sets[index :: len(layers)], strict=False)),
                layer=int(layer),
                head=head,
            )
            read.append(Found(tokens[tokens["layer"] == layer], *scores))
    return joined(read)


@torch.inference_mode()
def logit_lens(
    readout: Any,
    vectors: Vectors,
    *,
    top_k: int,
    vocabulary: Sequence[int] | None = None,
    signs: Sequence[int] = SIGNS,
    nulls: Vectors | None = None,
    batch: int = 128,
) -> Scored:
    """
    The most probable tokens when `vectors` are decoded by the final norm and the unembedding.

    readout    : `models.Readout`, hidden [n, d_model] -> logits [n, vocabulary]
    vectors    : [n, d_model], of any length: the norm makes scale almost irrelevant
    vocabulary : token ids that may be read, all without it; the softmax is over all in any case
    signs      : 1 reads the vector, -1 its opposite: what it speaks against
    nulls      : further directions, [m, d_model], of which only the scores are wanted
    batch      : rows decoded at once; bounds memory at about 3 x batch x vocabulary numbers

    returns    : ids and probabilities [n, sign, top_k]; scores [n + m, token that may be read]

    Raises ValueError when fewer than `top_k` tokens may be read.
    Source: the paper's logit lens, which decodes the mean difference as it is.
    """
    first = next(readout.parameters())
    rows = signed(vectors, signs).flatten(0, 1).to(first.device)
    plain = torch.tensor([sign == 1 for _ in vectors for sign in signs], dtype=torch.bool)
    parts, scores = [], []
    for some, chosen in zip(rows.split(batch), plain.split(batch), strict=True):
        logits = readout.precise(some)
        allowed = allowed_ids(vocabulary, logits)
        parts.append(top(logits.softmax(dim=-1), top_k, allowed))
        scores.append(log_probabilities(logits[None], chosen, allowed))
    # Apart from the readings, whose last bits would depend on how many there are in a batch.
    for some in () if nulls is None else torch.as_tensor(nulls).to(first.device).split(batch):
        logits = readout.precise(some)
        every = torch.ones(len(some), dtype=torch.bool)
        scores.append(log_probabilities(logits[None], every, allowed_ids(vocabulary, logits)))
    shape = (len(vectors), len(signs))
    return Scored(*stacked(parts, shape), np.concatenate(scores))
