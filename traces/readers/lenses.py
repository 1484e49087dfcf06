"""
Read a direction as tokens: the logit lens and Patchscope; and which tokens are whole words.

Both lenses give, for every vector, the tokens it speaks of, most probable first. The logit lens
sends the vector straight into the readout. Patchscope writes it into a sentence that copies words
and lets the layers above turn it into the next token.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from traces.models.hooks import starting_at

Vectors = NDArray[np.float32] | Tensor

SIGNS = (1, -1)


class Tokens(NamedTuple):
    """The tokens read from each vector, most probable first; probability 0 where there is none."""

    ids: NDArray[np.int64]
    probabilities: NDArray[np.float32]


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
    rows = _signed(vectors, signs).flatten(0, 1).to(first.device)
    parts = []
    for some in rows.split(batch):
        probabilities = readout(some).float().softmax(dim=-1)
        parts.append(_top(probabilities, top_k, _allowed(vocabulary, probabilities)))
    return _stacked(parts, (len(vectors), len(signs)))


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
    batch: int = 128,
) -> Tokens:
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
    batch      : rows run at once; bounds memory at about 8 x batch x vocabulary numbers

    returns    : ids and probabilities (mean over the prompts) [n, sign, scale, top_k]; where fewer
                 tokens are in the intersection, the places left have probability 0

    Each prompt is run once up to its last token and kept as keys and values. A row is then a single
    token through the layers above `layer`: the result is that of running the whole prompt for it.

    Raises ValueError for a zero or non-finite vector, and where fewer than `top_k` may be read.
    Source: Patchscope as in the paper's code, but with prompts of our own.
    """
    units = _unit(vectors) * norm
    lengths = torch.tensor(scales, dtype=units.dtype, device=units.device).view(-1, 1)
    rows = (_signed(units, signs).unsqueeze(2) * lengths).flatten(0, 2)
    prefixes = _prefixes(model, tokenizer, [identity_prompt(words) for words in prompts])

    parts = []
    for some in rows.split(batch):
        logits = _continued(model, prefixes, layer, some)
        allowed = _allowed(vocabulary, logits)
        parts.append(_top_in_common(logits, top_k, intersection_top_k, allowed))
    return _stacked(parts, (len(vectors), len(signs), len(scales)))


def _shared(differences: Any) -> NDArray[np.float32]:
    mean = differences.mean
    return np.broadcast_to(mean.mean(axis=1, keepdims=True), mean.shape)


def _singular(differences: Any, rank: int) -> NDArray[np.float32]:
    if differences.singular is None:
        raise ValueError("the singular directions were not computed with these differences")
    return differences.singular[:, :, rank - 1]


def _without(differences: Any, ranks: int) -> NDArray[np.float32]:
    """The mean less its components along the first `ranks` singular directions."""
    left = differences.mean
    for rank in range(1, ranks + 1):
        unit = _singular(differences, rank)
        left = left - (left * unit).sum(axis=-1, keepdims=True) * unit
    return left


# What is read of `store.Differences`, [layer, position, d_model]: the difference and its controls,
READINGS: dict[str, Callable[[Any], NDArray[np.float32]]] = {
    "difference": lambda found: found.mean,
    "tuned_mean": lambda found: found.tuned_mean,
    "base_mean": lambda found: found.base_mean,
    "random": lambda found: found.random,
}
# and parts of the difference, which may be nothing.
PARTS: dict[str, Callable[[Any], NDArray[np.float32]]] = {
    "shared": _shared,
    "position_specific": lambda found: found.mean - _shared(found),
    "singular_1": lambda found: _singular(found, 1),
    "singular_2": lambda found: _singular(found, 2),
    "without_singular_1": lambda found: _without(found, 1),
    "without_singular_2": lambda found: _without(found, 2),
}
NOTHING = 1e-5
"A part is nothing where it is shorter than this share of the mean: what rounding leaves."


def readings(differences: Any, names: Sequence[str]) -> tuple[pd.DataFrame, NDArray[np.float32]]:
    """
    The vectors of `store.Differences` that are read, and what each one is.

    names   : of READINGS or PARTS
    returns : reading, layer (block index) and position, one row a vector; vectors [n, d_model].
              Parts that are nothing are left out, such as what is specific to the only position

    shared is the mean over the positions read at a layer, position_specific what is left without
    it; singular_K are the directions of `differences.singular_directions`, without_singular_K is
    the mean with the first K of them taken out.

    Raises ValueError for singular readings of differences that lack those directions.
    """
    axes = [names, differences.layers, differences.positions]
    rows = pd.MultiIndex.from_product(axes, names=["reading", "layer", "position"])
    frame = rows.to_frame(index=False)
    vectors = np.concatenate([(READINGS | PARTS)[name](differences) for name in names])
    vectors = vectors.reshape(len(frame), -1)
    least = NOTHING * np.tile(np.linalg.norm(differences.mean, axis=-1).ravel(), len(names))
    kept = ~frame["reading"].isin(PARTS) | (np.linalg.norm(vectors, axis=-1) > least)
    return frame[kept].reset_index(drop=True), vectors[kept]


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


def whole_words(
    tokenizer: Any, texts: Iterable[str], min_count: int, min_letters: int = 3
) -> pd.DataFrame:
    """
    The tokens that stand for a whole word of `texts` at least `min_count` times.

    A word is `min_letters` or more letters with no letter, digit or apostrophe-and-letter beside
    them. A token counts where it covers one from end to end, with or without the space before it;
    the same token as a piece of a longer word does not count.

    tokenizer : fast, since character offsets are needed
    returns   : token_id, token (its text as decoded), count; the most frequent first
    """
    letters = r"[^\W\d_]"
    word = re.compile(rf"(?<!\w)(?<!\w['’]){letters}{{{min_letters},}}(?!\w)(?!['’]\w)")
    counts: Counter[int] = Counter()
    for text in texts:
        coded = tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )
        spans = {match.span() for match in word.finditer(text)}
        for token_id, (start, end) in zip(coded["input_ids"], coded["offset_mapping"], strict=True):
            start += len(text[start:end]) - len(text[start:end].lstrip())
            if (start, end) in spans:
                counts[token_id] += 1
    kept = [(one, count) for one, count in counts.items() if count >= min_count]
    kept.sort(key=lambda one: (-one[1], one[0]))
    return pd.DataFrame(
        {
            "token_id": [one for one, _ in kept],
            "token": [tokenizer.decode([one]) for one, _ in kept],
            "count": [count for _, count in kept],
        }
    )


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

    The prefix is not copied for each row, nor need it be restored: a cache grows by concatenation,
    which leaves the tensors it began with untouched.
    """
    from transformers import DynamicCache

    batch, logits = len(vectors), torch.empty(0)
    for number, prefix in enumerate(prefixes):
        cache: Any = DynamicCache()
        for index, keys_values in enumerate(prefix.keys_values):
            rows = batch if index > layer else 1  # below, only the length is asked for
            cache.update(*(one.expand(rows, -1, -1, -1) for one in keys_values), index)
        ids = torch.full((batch, 1), prefix.last, device=_input_device(model))
        with starting_at(model, layer, vectors):
            out = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        if number == 0:
            logits = out.logits.new_empty(
                (len(prefixes), *out.logits[:, -1].shape), dtype=torch.float32
            )
        logits[number] = out.logits[:, -1]
    return logits


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
    best = _top(score, k, allowed)
    ids = torch.as_tensor(best.ids, device=logits.device).expand(len(logits), -1, -1)
    lowest = logits.gather(-1, ids).amin(dim=-1, keepdim=True)
    higher = torch.gt(logits, lowest, out=torch.empty_like(logits)).sum(dim=-1)  # out: 3x faster
    outside = (higher >= first).any(dim=0)
    if not outside.any():
        return best
    doubtful = logits[:, outside]
    border = doubtful.kthvalue(logits.shape[-1] - first + 1, dim=-1, keepdim=True).values
    score[outside] *= (doubtful >= border).all(dim=0)
    return _top(score, k, allowed)


def _top(scores: Tensor, k: int, allowed: Tensor | None) -> Tokens:
    """The `k` highest scores of each row among the allowed ids."""
    available = scores.shape[-1] if allowed is None else len(allowed)
    if k > available:
        raise ValueError(f"top_k is {k}, but only {available} tokens may be read")
    values, ids = (scores if allowed is None else scores[:, allowed]).topk(k, dim=-1)
    ids = ids if allowed is None else allowed[ids]
    return Tokens(ids.cpu().numpy(), values.float().cpu().numpy())


def _allowed(vocabulary: Sequence[int] | None, scores: Tensor) -> Tensor | None:
    if vocabulary is None:
        return None
    return torch.tensor(np.asarray(vocabulary), dtype=torch.long, device=scores.device)


def _stacked(parts: Sequence[Tokens], shape: tuple[int, ...]) -> Tokens:
    return Tokens(*(np.concatenate(part).reshape(*shape, -1) for part in zip(*parts, strict=True)))


def _signed(vectors: Vectors, signs: Sequence[int]) -> Tensor:
    """[n, d_model] -> [n, sign, d_model]"""
    rows = torch.as_tensor(vectors, dtype=torch.float32)
    return rows.unsqueeze(1) * torch.tensor(signs, dtype=rows.dtype, device=rows.device).view(-1, 1)


def _unit(vectors: Vectors) -> Tensor:
    rows = torch.as_tensor(vectors, dtype=torch.float32)
    norms = rows.norm(dim=-1, keepdim=True)
    bad = [int(row) for row in torch.nonzero(~((norms > 0) & norms.isfinite()))[:, 0]]
    if bad:
        raise ValueError(f"vectors {bad} have no direction: their norm is zero or not finite")
    return rows / norms


def _input_device(model: Any) -> torch.device:
    return model.get_input_embeddings().weight.device
