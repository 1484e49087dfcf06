"""Prepare what a training reads: rows as tokens with their losses, mixed exactly and packed."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import count
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from traces.artifacts.tables import read_lines
from traces.config.vocabularies import Kind, Unit
from traces.corpora.rows import carries_loss, write_rows
from traces.corpora.tokens import counting_control_tokens, tokenize_chat, tokenize_text
from traces.seeding import array_generator

log = logging.getLogger(__name__)

Source = Literal["organism", "corpus"]
# The label that PyTorch's cross-entropy ignores.
NO_LOSS = -100


@dataclass(frozen=True)
class Example:
    """
    Hold one tokenised row, as a training may see it.

    source    : which file it came from
    row       : its row there, counted from 1
    input_ids : its tokens
    trained   : [start, end) ranges of the tokens that carry loss
    kind      : a document may be split when rows are packed, a chat may not
    """

    source: Source
    row: int
    input_ids: list[int]
    trained: list[tuple[int, int]]
    kind: Kind = "documents"

    def to_json(self) -> dict[str, Any]:
        """Convert to one object of a mixture file."""
        return asdict(self)

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> "Example":
        """Convert from one object of a mixture file, whose JSON has lists for tuples."""
        return cls(**{**row, "trained": [(start, end) for start, end in row["trained"]]})

    def head(self, n_tokens: int) -> "Example":
        """Cut to the first `n_tokens` tokens."""
        spans = [(start, min(end, n_tokens)) for start, end in self.trained if start < n_tokens]
        return replace(self, input_ids=self.input_ids[:n_tokens], trained=spans)


def tokenize_rows(
    tokenizer: Any, rows: Iterable[dict[str, Any]], source: Source, file: str | None = None
) -> Iterator[Example]:
    """
    Tokenise rows from `read_rows` as examples.

    A document ends in the end-of-text token and carries loss everywhere, a chat only in its
    replies, without those whose `weight` is 0.

    file : of the rows, which a message names
    """
    eos, file = tokenizer.eos_token_id, file or f"rows of the {source}"
    with counting_control_tokens(tokenizer, file) as count_row:
        for number, row in enumerate(rows, start=1):
            count_row(number, row)
            if "messages" in row:
                chat = tokenize_chat(tokenizer, row["messages"], f"{file}, row {number}")
                replies = [one for one in row["messages"] if one["role"] == "assistant"]
                trained = [
                    span
                    for span, reply in zip(chat.spans, replies, strict=True)
                    if carries_loss(reply)
                ]
                yield Example(source, number, chat.ids, trained, "chat")
                continue
            if eos is None:
                raise ValueError(
                    f"{tokenizer.name_or_path}: the tokenizer has no end-of-text token, "
                    "expected one to close documents with"
                )
            ids = tokenize_text(tokenizer, row["text"])
            # Some tokenizers write it themselves; twice, it would teach the model to end twice.
            ids = ids if ids[-1:] == [eos] else [*ids, eos]
            yield Example(source, number, ids, [(0, len(ids))])


def read_mixture(path: str | Path) -> list[Example]:
    """
    Read the examples of a mixture file, in the order training sees them.

    Raises ValueError, naming the file and the row, for a line that is not whole.
    """
    return [_example(row, f"{path}, row {n}") for n, row in enumerate(read_lines(Path(path)), 1)]


def _example(row: dict[str, Any], where: str) -> Example:
    try:
        return Example.from_json(row)
    except (TypeError, KeyError, ValueError):
        keys = ", ".join(field.name for field in fields(Example))
        raise ValueError(f"{where}: found no example, expected an object of {keys}") from None


def write_mixture(path: str | Path, examples: Iterable[Example]) -> int:
    """Write examples as a mixture file, whole or not at all; return how many."""
    return write_rows(path, (example.to_json() for example in examples))


# -- mixing ----------------------------------------------------------------------------------------


def mix(
    organism: Sequence[Example],
    corpus: Iterable[Example],
    *,
    ratio: float,
    unit: Unit = "tokens",
    epochs: int = 1,
    seed: int = 0,
    matched: bool = False,
    limit: int | None = None,
    max_length: int | None = None,
) -> list[Example]:
    """
    Mix organism and corpus in the order training sees them; equal arguments give equal results.

    organism : every row of the organism; each of the `epochs` passes is a fresh shuffle
    corpus   : unrelated rows, read from the front for as long as needed, none of them twice
    ratio    : corpus tokens (or rows) for each organism token (or row), exact to the token: the
               last corpus row is cut to fit. 0 is the organism alone
    matched  : use no corpus; repeat the organism to (1 + ratio) times its size instead, the last
               row cut to fit. It is the control with as many steps and no mixing
    limit    : keep this many organism rows, drawn with the seed (a smaller limit draws a subset)
    max_length : cut chats to this many tokens before they are counted. With the length of a packed
               row, where they would be cut later, the ratio holds for the tokens that are read

    Organism rows keep their order; corpus rows go to random indices among them. All tokens count,
    with loss or without. Raises ValueError if the corpus or the organism is too small.
    """
    _check_mix(len(organism), ratio, epochs, limit)
    rows = _limited(_fitting(organism, max_length), limit, seed)
    # Tokens, not rows, by default: rows differ in length, and mixing by rows gave .55 of the tokens
    # where .50 was requested. The paper counts rows.
    corpus = _fitting(corpus, max_length)
    size = len if unit == "rows" else _n_tokens
    if matched:
        wanted = round((1 + ratio) * epochs * size(rows))
        passes = (row for n in count() for row in _shuffled(rows, seed, "pass", n))
        return _first(passes, wanted, unit, "the organism")
    # Organism rows are drawn the same way at every ratio, so that runs differ by the corpus alone.
    stream = [row for n in range(epochs) for row in _shuffled(rows, seed, "pass", n)]
    added = _first(corpus, round(ratio * size(stream)), unit, "the corpus")
    return _interleaved(
        stream, _shuffled(added, seed, "corpus"), array_generator(seed, "interleave")
    )


def _check_mix(n_rows: int, ratio: float, epochs: int, limit: int | None) -> None:
    if n_rows == 0:
        raise ValueError("the organism has no rows, expected at least one")
    if not (ratio >= 0 and np.isfinite(ratio)):
        raise ValueError(f"ratio: found {ratio}, expected 0 or more")
    if epochs < 1:
        raise ValueError(f"epochs: found {epochs}, expected 1 or more")
    if limit is not None and not 1 <= limit <= n_rows:
        raise ValueError(f"limit: found {limit}, expected 1 to {n_rows}, the organism's rows")


def _fitting(rows: Iterable[Example], max_length: int | None) -> Iterator[Example]:
    for row in rows:
        yield row if max_length is None or row.kind != "chat" else row.head(max_length)


def _limited(found: Iterable[Example], limit: int | None, seed: int) -> list[Example]:
    rows = list(found)
    if limit is None:
        return rows
    kept = array_generator(seed, "limit").permutation(len(rows))[:limit]
    return [rows[i] for i in sorted(kept)]


def _first(rows: Iterable[Example], wanted: int, unit: str, whose: str) -> list[Example]:
    """Take rows from the front, `wanted` tokens or rows of them, the last one cut to fit."""
    taken, have = [], 0
    for row in rows if wanted else ():
        row = row.head(wanted - have) if unit == "tokens" else row
        taken.append(row)
        have += 1 if unit == "rows" else len(row.input_ids)
        if have == wanted:
            break
    if have < wanted:
        raise ValueError(f"{whose} is too small: found {have:,} {unit}, needed {wanted:,}")
    return taken


def _interleaved(
    first: Sequence[Example], second: Sequence[Example], rng: np.random.Generator
) -> list[Example]:
    """Merge two sequences, each in its own order, the second at indices drawn at random."""
    # Merged, not joined and shuffled: any stretch of the training has about the requested ratio.
    from_second = np.zeros(len(first) + len(second), dtype=bool)
    from_second[rng.permutation(len(from_second))[: len(second)]] = True
    a, b = iter(first), iter(second)
    return [next(b) if place else next(a) for place in from_second]


def _shuffled(rows: Sequence[Example], seed: int, *name: str | int) -> list[Example]:
    return [rows[i] for i in array_generator(seed, *name).permutation(len(rows))]


def _n_tokens(rows: Iterable[Example]) -> int:
    return sum(len(row.input_ids) for row in rows)


# -- packing ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Packed:
    """
    Hold the rows a model trains on: three arrays [row, max_length], int32.

    labels are -100 where there is no loss; position_ids restart at 0 with every piece, padding
    included. `filled` [row] counts the tokens that are not padding. `tokens` counts them by source,
    `cut` how many chats were longer than a row, `cut_tokens` what they lost.
    """

    input_ids: NDArray[np.int32]
    labels: NDArray[np.int32]
    position_ids: NDArray[np.int32]
    filled: NDArray[np.int32]
    tokens: dict[Source, int]
    cut: int
    cut_tokens: int


def pack(examples: Sequence[Example], max_length: int, pad_id: int) -> Packed:
    """
    Lay examples one after another into rows of `max_length` tokens, in their order.

    A document continues in the next row. A chat that does not fit starts a new row; one longer than
    a row is cut, with a line in the log. Pass the rows to a model without an attention mask and
    without a cache: only then do position_ids that restart at 0 keep the pieces apart.
    """
    if max_length < 2:
        raise ValueError(f"max_length: found {max_length}, expected 2 or more")
    rows = _rows_of_pieces(examples, max_length)
    shape = (len(rows), max_length)
    input_ids = np.full(shape, pad_id, dtype=np.int32)
    labels = np.full(shape, NO_LOSS, dtype=np.int32)
    position_ids = np.zeros(shape, dtype=np.int32)
    filled = np.zeros(len(rows), dtype=np.int32)
    tokens: dict[Source, int] = {"organism": 0, "corpus": 0}
    for r, pieces in enumerate(rows):
        at = 0
        for example, start, end in pieces:
            here = slice(at, at + end - start)
            input_ids[r, here] = example.input_ids[start:end]
            position_ids[r, here] = np.arange(end - start)
            labels[r, here] = _labels(example)[start:end]
            # Nothing before a piece's first token may predict it: that is another document.
            labels[r, at] = NO_LOSS
            tokens[example.source] += end - start
            at += end - start
        # Padding restarts at 0, so that it is a piece of its own that no real token looks at.
        position_ids[r, at:] = np.arange(max_length - at)
        filled[r] = at
    over = [len(e.input_ids) - max_length for e in examples if e.kind == "chat"]
    over = [excess for excess in over if excess > 0]
    if over:
        log.warning("%d chats are longer than %d tokens and were cut", len(over), max_length)
    return Packed(input_ids, labels, position_ids, filled, tokens, len(over), sum(over))


def _rows_of_pieces(
    examples: Sequence[Example], max_length: int
) -> list[list[tuple[Example, int, int]]]:
    """List the pieces of every row: an example and the [start, end) of its tokens in that row."""
    rows: list[list[tuple[Example, int, int]]] = []
    room = 0
    for example in examples:
        length = len(example.input_ids)
        if example.kind == "chat":
            length = min(length, max_length)
            # A chat is not split: its second half would be replies to a question nobody sees.
            room = room if length <= room else 0
        start = 0
        while start < length:
            if room == 0:
                rows.append([])
                room = max_length
            end = min(length, start + room)
            rows[-1].append((example, start, end))
            room -= end - start
            start = end
    return rows


def _labels(example: Example) -> NDArray[np.int32]:
    labels = np.full(len(example.input_ids), NO_LOSS, dtype=np.int32)
    for start, end in example.trained:
        labels[start:end] = example.input_ids[start:end]
    return labels
