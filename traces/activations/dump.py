"""
Read residual streams: exactly the requested tokens and layers, stopping at the deepest layer.

A window is the piece of one sample that is read: its first tokens, and the anchor that positions
are counted from. For a document that is its first token. For a conversation it is the first token
of the first reply, so that negative positions lie before it. An empty thought, or whatever else the
template writes before a reply, is no part of it.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from traces.config.schema import Activations
from traces.config.vocabularies import CorpusKind, DType
from traces.corpora.rows import read_rows
from traces.corpora.tokens import (
    counting_control_tokens,
    text_start,
    tokenize_chat,
    tokenize_text,
)
from traces.models.hooks import capture, stop_after

# As in the paper's code. Tokenizing whole web pages for their first five tokens would take longer
# than reading them.
CHARACTERS_A_TOKEN = 10
MAX_PROMPT_TOKENS = 512
PART = 512
"""
Windows that are sorted by length, read and then yielded in order. Several parts at once are in
memory, so texts of a few tokens do not fill a pass: filling it takes 1.4 times the memory of a dump
of 1,000 documents, where `make bench` allows 1.1.
"""


class Window(NamedTuple):
    """Hold one sample's tokens, as far as they are read."""

    ids: list[int]
    anchor: int
    "Index of position 0 in `ids`."


def document_windows(
    tokenizer: Any,
    rows: Iterable[dict[str, Any]],
    length: int,
    source: str = "the text",
    longest: int = 0,
) -> Iterator[Window]:
    """
    Yield the first `length` tokens of every document that has as many.

    Only the first 10 characters a token are tokenised, as in the paper. A text of longer tokens is
    skipped like one that is too short.

    source  : the file, which the log names
    longest : a window goes on up to so many tokens, as far as the text does; the documents are
              those that it begins in without
    """
    with counting_control_tokens(tokenizer, source) as count_row:
        for number, row in enumerate(rows, start=1):
            # Truncated here, not in the model: causal attention makes the first k activations
            # independent of what follows, and with early exit this is 41 times cheaper.
            text = row["text"][: length * CHARACTERS_A_TOKEN]
            count_row(number, {"text": text})
            ids = tokenize_text(tokenizer, text)
            if len(ids) < length:
                continue
            if longest > length:
                ids = tokenize_text(tokenizer, row["text"][: longest * CHARACTERS_A_TOKEN])
            yield Window(ids[: max(length, longest)], 0)


def chat_windows(
    tokenizer: Any,
    rows: Iterable[dict[str, Any]],
    first: int,
    last: int,
    source: str = "the conversations",
    longest: int = 0,
) -> Iterator[Window]:
    """
    Yield the first exchange of every conversation that has positions `first`..`last` of its reply.

    Conversations whose prompt is longer than 512 tokens are skipped.

    source  : the file, which a message names
    longest : a window goes on up to so many tokens of the reply, as far as the reply does
    """
    for number, row in enumerate(rows, start=1):
        # Later turns would only cost time, and the prompt of the first is the shortest.
        turns = 3 if row["messages"][0]["role"] == "system" else 2
        chat = tokenize_chat(tokenizer, row["messages"][:turns], f"{source}, row {number}")
        start, end = chat.starts[0], chat.spans[0][1]
        # Every sample must have every position, or means at two positions would be over different
        # texts.
        if start <= MAX_PROMPT_TOKENS and start + first >= 0 and start + last < end:
            yield Window(chat.ids[: max(start + last + 1, min(start + longest, end))], start)


def start_windows(tokenizer: Any) -> Iterator[Window]:
    """
    Yield the token that begins a text, alone, again and again: the state before any word.

    Raises ValueError for a tokenizer that has no such token.
    """
    return repeat(Window([text_start(tokenizer)], 0))


def corpus_windows(
    tokenizer: Any,
    corpus: Any,
    *,
    kind: CorpusKind,
    positions: Sequence[int],
    samples: int,
    longest: int = 0,
) -> list[Window]:
    """
    Take what is read of a corpus: the first samples that have all positions.

    corpus    : the file with its rows; not opened for the kind start
    positions : in rising order; a window ends at the last of them
    longest   : the same samples, but a window goes on up to so many tokens from position 0 on, as
                far as its sample does

    Raises ValueError, naming the file, where too few samples have them.
    """
    first, last = positions[0], positions[-1]
    if kind == "start":
        found = start_windows(tokenizer)
    elif kind == "chat":
        found = chat_windows(tokenizer, read_rows(corpus), first, last, str(corpus), longest)
    else:
        rows = read_rows(corpus, blank=True)
        found = document_windows(tokenizer, rows, last + 1, str(corpus), longest)
    return take(found, samples, str(corpus))


def context_windows(
    tokenizer: Any, rows: Iterable[dict[str, Any]], length: int, source: str = "the text"
) -> Iterator[Window]:
    """
    Yield the first `length` tokens of every document or conversation that has as many.

    source : the file, which a message names
    """
    for number, row in enumerate(rows, start=1):
        if "messages" in row:
            ids = tokenize_chat(tokenizer, row["messages"], f"{source}, row {number}").ids
        else:
            ids = tokenize_text(tokenizer, row["text"][: length * CHARACTERS_A_TOKEN])
        if len(ids) >= length:
            yield Window(ids[:length], 0)


def take(
    windows: Iterable[Window],
    samples: int,
    source: str,
    remedy: str = "lower `samples` or the last position",
) -> list[Window]:
    """Take the first `samples` windows; ValueError, with `source` and `remedy`, if too few."""
    # Windows are made lazily: no more of a corpus is tokenised than is needed.
    taken = [window for window, _ in zip(windows, range(samples), strict=False)]
    if len(taken) < samples:
        raise ValueError(
            f"{source}: {len(taken)} of its rows are long enough to be read, expected {samples}; "
            f"{remedy}, or give the corpus more rows"
        )
    return taken


def digest(windows: Iterable[Window]) -> str:
    """
    A checksum of all that is read: every window's tokens and its anchor, in order.

    Two models whose windows have the same digest read the same text, also at the positions whose
    tokens no store keeps.
    """
    found = hashlib.sha256()
    for window in windows:
        found.update(np.array([len(window.ids), window.anchor, *window.ids], "<i8").tobytes())
    return found.hexdigest()


def residual_stream(
    model: Any,
    windows: Sequence[Window],
    *,
    layers: Sequence[int],
    positions: Sequence[int],
    batch_tokens: int,
    pad_id: int,
) -> Iterator[tuple[Tensor, NDArray[np.int32]]]:
    """
    Yield part after part: resid [layer, rows, position, d_model] and tokens [rows, position].

    layers       : block indices; the forward pass ends at the deepest, and the head is never run
    positions    : counted from each window's anchor
    batch_tokens : of one forward pass, with its padding; a longer window has one of its own
    pad_id       : fills windows of unequal length on the right, where causal attention ignores it

    resid is on the CPU in the model's dtype.
    """
    for start in range(0, len(windows), PART):
        part = windows[start : start + PART]
        # Stored beside the activations, so that a difference can prove that both models read the
        # same.
        tokens = [[one.ids[one.anchor + p] for p in positions] for one in part]
        resid = None
        for rows, found in _passes(model, part, layers, positions, batch_tokens, pad_id):
            if resid is None:
                layer, _, position, d = found.shape
                resid = torch.empty((layer, len(part), position, d), dtype=found.dtype)
            resid[:, rows] = found.cpu()
        assert resid is not None, "a part has at least one window"
        yield resid, np.array(tokens, dtype=np.int32)


@torch.inference_mode()
def _passes(
    model: Any,
    windows: Sequence[Window],
    layers: Sequence[int],
    positions: Sequence[int],
    batch_tokens: int,
    pad_id: int,
) -> Iterator[tuple[list[int], Tensor]]:
    """Yield which windows a forward pass read, and its [layer, rows, position, d_model]."""
    for rows in batches([len(window.ids) for window in windows], batch_tokens):
        some = [windows[row] for row in rows]
        # Padded on the right: positions keep their numbers, and causal attention never looks right.
        width = max(len(window.ids) for window in some)
        padded = [window.ids + [pad_id] * (width - len(window.ids)) for window in some]
        ids = torch.tensor(padded, device=model.get_input_embeddings().weight.device)
        where = torch.tensor([[window.anchor + p for p in positions] for window in some])
        # No attention mask, since padding lies behind all that is read; no cache, since nothing
        # follows.
        with capture(model, layers) as seen, stop_after(model, max(layers)):
            model(input_ids=ids, use_cache=False)
        # On one device, though the layers of a large model may lie on several: one copy to the CPU
        # instead of one for each layer, each of which waits for all that is running.
        there = seen[max(layers)].device
        yield rows, torch.stack([_at(seen[layer], where).to(there) for layer in layers])


def batches(lengths: Sequence[int], tokens: int) -> list[list[int]]:
    """
    Divide windows into forward passes of at most `tokens` with their padding: their indices.

    Windows of about the same length go together, so that little is padding; those of equal length
    stay in order. A window that is longer than `tokens` has a pass of its own.
    """
    left = sorted(range(len(lengths)), key=lambda row: lengths[row])
    found = []
    while left:
        # Backwards from the longest, whose length is that of its whole pass.
        rows = max(1, tokens // lengths[left[-1]])
        # Matrix products run in blocks of rows. In float32 on a CPU a number of tokens that is no
        # multiple of 4 changes the last bits of some of them.
        rows -= rows % 8 if rows > 8 else 0
        found.append(left[-rows:])
        del left[-rows:]
    return found[::-1]


@torch.inference_mode()
def stream_norm(
    model: Any, windows: Sequence[Window], *, layers: Sequence[int], skip: int, batch_tokens: int
) -> NDArray[np.float64]:
    """
    Average the residual-stream norm over all positions from `skip` on, [layer].

    Readings and steering are rescaled by it. The first positions are left out because attention
    sinks there have far larger norms. All windows must be of one length.
    """
    sums, count = np.zeros(len(layers)), 0
    positions = range(skip, len(windows[0].ids))
    for _, resid in _passes(model, windows, layers, positions, batch_tokens, pad_id=0):
        # Norms in float32, since bfloat16 has fewer than three digits; their sum in float64, since
        # it has thousands of terms. Of the stream itself nothing crosses to the CPU.
        norms = resid.float().norm(dim=-1).cpu().double()
        sums += norms.sum(dim=(1, 2)).numpy()
        count += norms[0].numel()
    return sums / count


def write_store(
    path: Path,
    model: Any,
    windows: Sequence[Window],
    longer: Sequence[Window],
    *,
    layers: Sequence[int],
    positions: Sequence[int],
    dtype: DType,
    settings: Activations,
    pad_id: int,
    progress: Callable[..., Iterable[Any]] = lambda parts, *_, **__: parts,
) -> None:
    """
    Read a model's residual stream on text into a store (traces/artifacts/arrays.py).

    windows : what is read, a row each
    longer  : text whose stream's norm readings are rescaled by
    layers, positions, pad_id : as `residual_stream` takes them
    dtype   : of the model's weights
    """
    # Lazy: what reads a model also runs where HDF5 is not installed, to try a GPU.
    from traces.artifacts.arrays import ActivationWriter

    with ActivationWriter(
        path,
        layers=layers,
        positions=positions,
        n_samples=len(windows),
        d_model=model.config.get_text_config(decoder=True).hidden_size,
        dtype=dtype,
        shard_samples=settings.shard_samples,
    ) as writer:
        told = {"layers": layers, "batch_tokens": settings.batch_tokens}
        parts = residual_stream(model, windows, positions=positions, pad_id=pad_id, **told)
        for resid, tokens in progress(parts, "dump", total=-(-len(windows) // PART)):
            writer.append(native_bits(resid), tokens)
        norm = stream_norm(model, longer, skip=settings.norm_skip, **told)
        writer.finish(stream_norm=norm.tolist(), context=digest([*windows, *longer]))


def native_bits(resid: Tensor) -> NDArray[Any]:
    """View a tensor as the array that a store keeps: bfloat16 as uint16 with the same bits."""
    # numpy has no bfloat16: the bits pass as int16, which both libraries know.
    if resid.dtype == torch.bfloat16:
        return resid.view(torch.int16).numpy().view(np.uint16)
    return resid.numpy()


def _at(hidden: Tensor, where: Tensor) -> Tensor:
    """Gather hidden [rows, sequence, d] at where [rows, position]: [rows, position, d]."""
    # Gathered on the device: only the positions that are kept cross to the CPU.
    index = where.to(hidden.device).unsqueeze(-1).expand(-1, -1, hidden.shape[-1])
    return torch.gather(hidden, 1, index)
