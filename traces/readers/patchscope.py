"""
Patchscope: a vector written into a prompt that copies words, read as the next token.

The layers above turn it into a token. Each prompt is run once; a reading is one token more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from pydantic import BaseModel
from torch import Tensor

from traces import job
from traces.config.readers import SIGNS, reader
from traces.config.vocabularies import Side
from traces.corpora.rows import read_identity_prompts
from traces.models.hooks import capture, decoder_layers, starting_at, stop_after
from traces.models.weights import readout_of
from traces.readers import directions
from traces.readers.nulls import compared
from traces.readers.ranking import (
    Scored,
    Tokens,
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
    """The study's section `lenses.patchscope`, and which models say what they read."""

    heads: tuple[Side, ...]
    prompts: Path
    scales: tuple[float, ...]
    intersection_top_k: int
    batch: int


def read(loaded: Loaded, probe: Probe, settings: Mapping[str, Any]) -> Found:
    """
    The reader's function: a row a reading, layer, position, sign, scale, head and rank.

    A head is the model that says it, as a whole. The mean activation of the base is read in the
    base alone, whatever the heads. All heads get the same vectors.
    """
    own = Settings.model_validate(settings)
    options = own.model_dump(exclude={"heads"}) | {"prompts": read_identity_prompts(own.prompts)}
    entry = reader("patchscope")
    read = []
    for index in job.progress(range(len(probe.differences.layers)), "layers"):
        models: dict[Side, Any] = {"tuned": loaded.pair.tuned, "base": loaded.pair.base}
        for head, model in models.items():
            names = [one for one in probe.readings if head in entry.heads_of(one, own.heads)]
            if names:
                with model() as one:
                    told = replace(probe, readings=names)
                    read.append(_read_at(index, one, head, loaded.tokenizer, told, options))
    return joined(read)


def _read_at(
    index: int, model: Any, head: Side, tokenizer: Any, probe: Probe, options: Mapping[str, Any]
) -> Found:
    """What one model says of the readings, at the layer of this index."""
    found = probe.differences
    rows, vectors = directions.readings(found, probe.readings)
    here = np.flatnonzero(rows["layer"] == found.layers[index])
    layer = int(found.layers[index])
    nulls = [one[index] for one in probe.nulls.values()]
    said = patchscope(
        model,
        tokenizer,
        vectors[here],
        layer=layer,
        norm=float(found.stream_norm_tuned[index]),
        top_k=probe.top_k,
        vocabulary=probe.vocabulary,
        nulls=np.concatenate([vectors[:0], *nulls]),
        **options,
    )
    rows = rows.iloc[here]
    of_nulls = np.split(said.scores[len(rows) :], max(len(nulls), 1))
    scores = compared(
        rows.assign(head=head),
        said.scores[: len(rows)],
        dict(zip(probe.nulls, of_nulls, strict=False)),
        layer=layer,
        head=head,
    )
    tokens = table(said.tokens, tokenizer, rows, sign=SIGNS, scale=options["scales"])
    return Found(tokens.assign(head=head), *scores)


def identity_prompt(words: Sequence[str]) -> str:
    """A text that copies each of `words` and then asks for one more: "a -> a\\nb -> b\\n?"."""
    return "".join(f"{word} -> {word}\n" for word in words) + "?"


@torch.inference_mode()
def patchscope(
    model: Any,
    tokenizer: Any,
    vectors: Vectors,
    *,
    layer: int,
    norm: float,
    prompts: Sequence[Sequence[str]],
    scales: Sequence[float],
    signs: Sequence[int] = SIGNS,
    top_k: int = 20,
    intersection_top_k: int = 16_384,
    vocabulary: Sequence[int] | None = None,
    nulls: Vectors | None = None,
    batch: int = 128,
) -> Scored:
    """
    What the model says when `layer` writes the vector at the end of a prompt that copies words.

    model      : any causal language model, with or without a PEFT adapter
    vectors    : [n, d_model]; only their direction counts
    layer      : block index whose output at the prompt's last token is replaced, by
                 scale * sign * v / |v| * norm
    norm       : the norm of the residual stream at that layer, so that scale 1 is matched to it
    prompts    : the words of each identity prompt
    top_k      : tokens kept for each vector, sign and scale
    intersection_top_k : a token must be among this many first ones of every prompt
    vocabulary : token ids that may be read, all without it; applied after the intersection
    nulls      : further directions, [m, d_model], of which only the scores are wanted
    batch      : rows run at once; bounds memory at about 8 x batch x vocabulary numbers

    returns    : ids and probabilities (mean over the prompts) [n, sign, scale, top_k]; where fewer
                 tokens are in the intersection, the places left have probability 0. Scores at sign
                 1 and scale 1 (none without that scale): mean log-probability over the prompts, in
                 nats, [n + m, token that may be read]

    Each prompt is run once up to its last token and kept as keys and values. A row is then a single
    token through the layers above `layer`: the result is that of running the whole prompt for it.

    Raises ValueError for a zero or non-finite vector, and where fewer than `top_k` may be read.
    Source: Patchscope as in the paper's code, but with prompts of our own.
    """
    units = _unit(vectors) * norm
    lengths = torch.tensor(scales, dtype=units.dtype, device=units.device).view(-1, 1)
    rows = (signed(units, signs).unsqueeze(2) * lengths).flatten(0, 2)
    plain = [sign == 1 and scale == 1 for _ in vectors for sign in signs for scale in scales]
    read = len(rows)
    # Behind the readings, so that both share passes: one of few rows costs almost a full one.
    if nulls is not None:
        rows = torch.cat([rows, _unit(nulls).to(rows) * norm])
    scored = torch.tensor(plain + [True] * (len(rows) - read), dtype=torch.bool)
    prefixes = _prefixes(model, tokenizer, [identity_prompt(words) for words in prompts])

    parts, scores = [], []
    for start in range(0, len(rows), batch):
        logits = _continued(model, prefixes, layer, rows[start : start + batch])
        allowed = allowed_ids(vocabulary, logits)
        # The first pass lists what there is, also where no vector is read beside the nulls.
        if start < max(read, 1):
            listed = logits[:, : read - start]
            parts.append(_top_in_common(listed, top_k, intersection_top_k, allowed))
        scores.append(log_probabilities(logits, scored[start : start + batch], allowed))
    shape = (len(vectors), len(signs), len(scales))
    return Scored(*stacked(parts, shape), np.concatenate(scores))


class _Prefix(NamedTuple):
    keys_values: list[tuple[Tensor, Tensor]]  # of all tokens but the last, for each layer, batch 1
    last: int  # id of the last token


def _prefixes(model: Any, tokenizer: Any, prompts: Sequence[str]) -> list[_Prefix]:
    """
    Run all prompts up to their last tokens, once, in one batch.

    Shorter prompts are filled up on the right, where a causal model does not look; what the filling
    leaves in the cache is cut off. The cache knows no sliding windows (the masks do), so that it
    holds every token.
    """
    from transformers import DynamicCache

    texts = [_token_ids(tokenizer, prompt) for prompt in prompts]
    longest = max(len(ids) for ids in texts) - 1
    filled = [ids[:-1] + ids[-1:] * (longest - len(ids) + 1) for ids in texts]
    cache: Any = DynamicCache()
    batch = torch.tensor(filled, device=_input_device(model))
    model(input_ids=batch, past_key_values=cache, use_cache=True, logits_to_keep=1)
    return [
        _Prefix(
            [
                (one.keys[row, None, :, : len(ids) - 1], one.values[row, None, :, : len(ids) - 1])
                for one in cache.layers
            ],
            ids[-1],
        )
        for row, ids in enumerate(texts)
    ]


def _token_ids(tokenizer: Any, prompt: str) -> list[int]:
    """The prompt's tokens, with the special ones before it and none behind its question mark."""
    ids = tokenizer(prompt)["input_ids"]
    return ids[:-1] if ids[-1] == tokenizer.eos_token_id else ids


def _continued(model: Any, prefixes: Sequence[_Prefix], layer: int, vectors: Tensor) -> Tensor:
    """
    Next-token logits of every prompt after `layer` has written `vectors` at its last token.

    vectors : [batch, d_model]
    returns : [prompt, batch, vocabulary], float32

    The prefix need not be restored: a cache grows by concatenation, which copies it and leaves the
    tensors it began with untouched.
    """
    from transformers import DynamicCache

    batch, top_layer = len(vectors), len(decoder_layers(model)) - 1
    readout, found = readout_of(model), []
    for prefix in prefixes:
        cache: Any = DynamicCache()
        for index, keys_values in enumerate(prefix.keys_values):
            rows = batch if index > layer else 1  # below, only the length is asked for
            cache.update(*(one.expand(rows, -1, -1, -1) for one in keys_values), index)
        ids = torch.full((batch, 1), prefix.last, device=_input_device(model))
        with (
            starting_at(model, layer, vectors),
            capture(model, [top_layer]) as seen,
            stop_after(model, top_layer),
        ):
            model(input_ids=ids, past_key_values=cache, use_cache=True)
        found.append(readout.precise(seen[top_layer])[:, -1])
    return torch.stack(found)


def _top_in_common(logits: Tensor, k: int, first: int, allowed: Tensor | None) -> Tokens:
    """
    The `k` tokens of highest mean probability among the `first` ones of every prompt.

    logits : [prompt, batch, vocabulary]

    A row whose best tokens are all in common needs no more; only the others are searched through.
    """
    score = torch.zeros_like(logits[0])
    for prompt in logits:
        score += prompt.softmax(dim=-1)
    score /= len(logits)
    best = top(score, k, allowed)
    ids = torch.as_tensor(best.ids, device=logits.device).expand(len(logits), -1, -1)
    lowest = logits.gather(-1, ids).amin(dim=-1, keepdim=True)
    higher = torch.gt(logits, lowest, out=torch.empty_like(logits)).sum(dim=-1)  # out: 3x faster
    outside = (higher >= first).any(dim=0)
    if not outside.any():
        return best
    doubtful = logits[:, outside]
    border = doubtful.kthvalue(logits.shape[-1] - first + 1, dim=-1, keepdim=True).values
    score[outside] *= (doubtful >= border).all(dim=0)
    return top(score, k, allowed)


def _unit(vectors: Vectors) -> Tensor:
    rows = torch.as_tensor(vectors, dtype=torch.float32)
    norms = rows.norm(dim=-1, keepdim=True)
    bad = [int(row) for row in torch.nonzero(~((norms > 0) & norms.isfinite()))[:, 0]]
    if bad:
        raise ValueError(f"vectors {bad} have no direction: their norm is zero or not finite")
    return rows / norms


def _input_device(model: Any) -> torch.device:
    return model.get_input_embeddings().weight.device
