"""The logit lens: a vector sent straight into the readout (final norm and unembedding)."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from pydantic import BaseModel

from traces.config.readers import SIGNS
from traces.config.vocabularies import Side
from traces.readers import directions
from traces.readers.ranking import Tokens, Vectors, allowed_ids, signed, stacked, table, top
from traces.readers.reading import Loaded, Probe


class Settings(BaseModel, frozen=True, extra="forbid"):
    """Whose readout decodes: one reading for each."""

    heads: tuple[Side, ...]


def read(loaded: Loaded, probe: Probe, settings: Mapping[str, Any]) -> pd.DataFrame:
    """The reader's function: a row a reading, layer, position, sign, head and rank."""
    rows, vectors = directions.readings(probe.differences, probe.readings)
    read = []
    for head in Settings.model_validate(settings).heads:
        tokens = logit_lens(
            loaded.readout(head), vectors, top_k=probe.top_k, vocabulary=probe.vocabulary
        )
        read.append(table(tokens, loaded.tokenizer, rows, sign=SIGNS).assign(head=head))
    return pd.concat(read)


@torch.inference_mode()
def logit_lens(
    readout: Any,
    vectors: Vectors,
    *,
    top_k: int,
    vocabulary: Sequence[int] | None = None,
    signs: Sequence[int] = SIGNS,
    batch: int = 128,
) -> Tokens:
    """
    The most probable tokens when `vectors` are decoded by the final norm and the unembedding.

    readout    : `models.Readout`, hidden [n, d_model] -> logits [n, vocabulary]
    vectors    : [n, d_model], of any length: the norm makes scale almost irrelevant
    vocabulary : token ids that may be read, all without it; the softmax is over all in any case
    signs      : 1 reads the vector, -1 its opposite: what it speaks against
    batch      : rows decoded at once; bounds memory at about 3 x batch x vocabulary numbers

    returns    : ids and probabilities [n, sign, top_k]

    Raises ValueError when fewer than `top_k` tokens may be read.
    Source: the paper's logit lens, which decodes the mean difference as it is.
    """
    first = next(readout.parameters())
    rows = signed(vectors, signs).flatten(0, 1).to(first.device)
    parts = []
    for some in rows.split(batch):
        probabilities = readout.precise(some).softmax(dim=-1)
        parts.append(top(probabilities, top_k, allowed_ids(vocabulary, probabilities)))
    return stacked(parts, (len(vectors), len(signs)))
