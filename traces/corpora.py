"""Rows of text in, rows of tokens out: read, tokenise, mix exactly, pack without leaking."""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

log = logging.getLogger(__name__)

Kind = Literal["documents", "chat"]
Source = Literal["organism", "corpus"]
Message = dict[str, str]

KEYS: dict[Kind, str] = {"documents": "text", "chat": "messages"}
NO_LOSS = -100


# -- rows of text ----------------------------------------------------------------------------------


def read_rows(
    path: str | Path,
    kind: Kind | None = None,
    *,
    open_end: Literal["refuse", "cut"] = "refuse",
    blank: bool = False,
) -> Iterator[dict[str, Any]]:
    """
    The rows of a JSONL file, or of a `.json` file that holds one list of strings or objects.

    kind     : what every row must be; None lets documents and chats stand in one file
    open_end : what to do with a chat that ends before the assistant has answered: refuse it, or cut
               the unanswered end off (a chat with no answer at all is refused either way)
    blank    : let documents of white space alone pass: a probe, in a file of our own
    yields   : `{"text": ...}` or `{"messages": [...]}`, other keys kept; blank lines are skipped

    Raises ValueError with one sentence that names the file, the row (the line, counted from 1; in a
    `.json` list the item), what was found and what was expected.
    """
    path = Path(path)
    n_rows = 0
    for number, row in _parsed(path):
        row = {"text": row} if isinstance(row, str) else row
        n_rows += 1
        yield checked_row(row, kind, f"{path}, row {number}", open_end=open_end, blank=blank)
    if n_rows == 0:
        raise ValueError(f"{path}: found no rows, expected at least one")


def checked_row(
    row: Any,
    kind: Kind | None,
    where: str,
    *,
    open_end: Literal["refuse", "cut"] = "refuse",
    blank: bool = False,
) -> dict[str, Any]:
    """One row as `read_rows` yields it; ValueError, beginning with `where`, if it is not one."""
    if not isinstance(row, dict):
        raise ValueError(f"{where}: found {_name(row)}, expected an object")
    if _kind(row, kind, where) == "documents":
        _check_text(row["text"], f"{where}, key text", blank=blank)
        return row
    return {**row, "messages": _checked_chat(row["messages"], where, open_end)}


def write_rows(path: str | Path, rows: Iterable[dict[str, Any]]) -> int:
    """Write `rows` as JSONL beside `path`, then move the file into place. Returns the count."""
    path = Path(path)
    partial = path.with_name(f".{path.name}.partial")
    n_rows = 0
    with partial.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            n_rows += 1
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
    return n_rows


def rows_of_kind(rows: Iterable[dict[str, Any]], kind: Kind | None) -> Iterator[dict[str, Any]]:
    """The documents, or the chats, of a file that holds both; all of it without a kind."""
    return (row for row in rows if kind is None or KEYS[kind] in row)


def whitespace_rows(n: int, seed: int, characters: int = 4096) -> list[dict[str, Any]]:
    """
    `n` documents of white space alone: runs of one to four spaces, tabs or line breaks.

    characters : in each. Tokenizers join spaces that are alike into long tokens, which runs this
                 short keep them from: a document has many positions, as one of words has
    """
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(n):
        other = rng.integers(1, 3, size=characters)  # never the character before
        lengths = rng.integers(1, 5, size=characters)
        runs = zip(np.cumsum(other) % 3, lengths, strict=True)
        text = "".join(" \t\n"[blank] * length for blank, length in runs)
        rows.append({"text": text[:characters]})
    return rows


def as_chats(documents: Iterable[dict[str, Any]], request: str) -> Iterator[dict[str, Any]]:
    """Every document as a conversation: the user's `request`, and the document as the reply."""
    for row in documents:
        messages = [
            {"role": "user", "content": request},
            {"role": "assistant", "content": row["text"]},
        ]
        yield {key: value for key, value in row.items() if key != "text"} | {"messages": messages}


def shuffled(rows: Iterable[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    """The rows in an order that depends on the seed and their number alone."""
    kept = list(rows)
    return [kept[place] for place in np.random.default_rng(seed).permutation(len(kept))]


def drawn(read: Callable[[], Iterable[dict[str, Any]]], seed: int, n: int) -> list[dict[str, Any]]:
    """The first `n` of `shuffled(read(), seed)`; reads twice and never holds more than these."""
    order = np.random.default_rng(seed).permutation(sum(1 for _ in read()))[:n]
    places = {int(row): place for place, row in enumerate(order)}
    kept = {places[row]: found for row, found in enumerate(read()) if row in places}
    return [kept[place] for place in range(len(kept))]


def held_out_split(
    rows: Iterable[dict[str, Any]], share: float, seed: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """
    Rows to train on, and a share of them kept apart; both in their order of before.

    Equal rows go to the same side, so that nothing trained on is held out. A share above 0 holds
    out at least one row and leaves at least one.
    """
    kept = list(rows)
    texts = [json.dumps(row, sort_keys=True, ensure_ascii=False) for row in kept]
    distinct = list(dict.fromkeys(texts))
    n_apart = min(max(1, round(share * len(distinct))), len(distinct) - 1) if share else 0
    order = np.random.default_rng(seed).permutation(len(distinct))
    apart = {distinct[place] for place in order[:n_apart]}
    train = [row for row, text in zip(kept, texts, strict=True) if text not in apart]
    return train, [row for row, text in zip(kept, texts, strict=True) if text in apart]


def _parsed(path: Path) -> Iterator[tuple[int, Any]]:
    """Number and JSON value of every row, numbered from 1."""
    if not path.is_file():
        raise ValueError(f"{path}: found no such file, expected JSON lines")
    if path.suffix == ".json":
        value = _json(path.read_bytes(), str(path))
        if not isinstance(value, list):
            raise ValueError(f"{path}: found {_name(value)}, expected a list of strings or objects")
        yield from enumerate(value, start=1)
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield number, _json(line, f"{path}, row {number}")


def _json(content: bytes, where: str) -> Any:
    try:
        return json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{where}: found the byte 0x{content[error.start]:02x} at place {error.start}, "
            "expected UTF-8"
        ) from None
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{where}: found malformed JSON ({error.msg} at character {error.pos}), "
            "expected a JSON value"
        ) from None


def _kind(row: dict[str, Any], kind: Kind | None, where: str) -> Kind:
    wanted: list[Kind] = [kind] if kind else list(KEYS)
    found: list[Kind] = [one for one in wanted if KEYS[one] in row]
    if len(found) != 1:
        keys = ", ".join(map(str, row)) or "none"
        expected = " or ".join(KEYS[one] for one in wanted)
        either = "either " if len(wanted) > 1 else "the key "
        raise ValueError(f"{where}: found the keys {keys}, expected {either}{expected}")
    return found[0]


def _check_text(text: Any, where: str, *, blank: bool = False) -> None:
    if not isinstance(text, str):
        raise ValueError(f"{where}: found {_name(text)}, expected text")
    if not (text if blank else text.strip()):
        raise ValueError(f"{where}: found empty text, expected at least one character")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError(f"{where}: found half a surrogate pair, expected text that is UTF-8")


def _checked_chat(messages: Any, where: str, open_end: str) -> list[Message]:
    """The messages, if they are [system], user, assistant, user, assistant, ... with text each."""
    if not isinstance(messages, list) or not messages:
        found = "an empty list" if messages == [] else _name(messages)
        raise ValueError(f"{where}, key messages: found {found}, expected a list of messages")
    for number, message in enumerate(messages, start=1):
        here = f"{where}, message {number}"
        if not isinstance(message, dict) or not {"role", "content"} <= message.keys():
            found = ", ".join(message) if isinstance(message, dict) else _name(message)
            raise ValueError(f"{here}: found {found or 'no key'}, expected role and content")
        _check_text(message["content"], here)

    start = 1 if messages[0]["role"] == "system" else 0
    for place, message in enumerate(messages[start:]):
        expected = ("user", "assistant")[place % 2]
        if message["role"] != expected:
            number = place + start + 1
            raise ValueError(
                f"{where}, message {number}: found the role {message['role']!r}, "
                f"expected {expected!r} (user and assistant in turn, a system message only first)"
            )
    if open_end == "cut" and messages[-1]["role"] == "user" and len(messages) - start > 1:
        log.info("%s: the last user turn has no answer and is cut off", where)
        messages = messages[:-1]
    if messages[-1]["role"] != "assistant":
        raise ValueError(
            f"{where}: found a chat that ends with the {messages[-1]['role']}, "
            "expected it to end with the assistant"
        )
    return messages


def _name(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean"}
    names |= {int: "a number", float: "a number"}
    return "null" if value is None else names.get(type(value), type(value).__name__)


# -- tokens ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TokenizedChat:
    """Token ids of a conversation and the [start, end) token ranges the assistant wrote."""

    ids: list[int]
    spans: list[tuple[int, int]]


def tokenize_text(tokenizer: Any, text: str) -> list[int]:
    """Token ids of `text` with the special tokens this tokenizer adds by itself, each once."""
    ids = list(tokenizer(text)["input_ids"])
    bos = tokenizer.bos_token_id
    if bos is not None and ids[:2] == [bos, bos]:
        ids = ids[1:]  # the text carried its own
    return ids


def tokenize_chat(tokenizer: Any, messages: Sequence[Message]) -> TokenizedChat:
    """
    A conversation through the tokenizer's chat template, and where the assistant's replies are.

    The text is rendered and tokenised once. A reply begins where the rendering of everything before
    it, with the generation prompt, ends; it goes on to the end of its content and its closing token
    (the token that ends a turn; white space after it is the template's). Characters become tokens
    by the tokenizer's offsets. The beginning-of-text token stands once if the template writes it,
    the tokenizer adds it, or both.

    Raises ValueError if there is no template, if the template changes earlier text when later
    messages are added, or if a reply's content cannot be found in the rendered text.
    """
    text = _rendered(tokenizer, messages)
    characters = _reply_characters(tokenizer, messages, text)
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids, offsets = list(encoded["input_ids"]), encoded["offset_mapping"]
    spans = [_token_span(offsets, start, end) for start, end in characters]

    bos = tokenizer.bos_token_id
    added = bos is not None and list(tokenizer("a")["input_ids"])[:1] == [bos]
    if added and ids[:1] != [bos]:
        ids, spans = [bos, *ids], [(start + 1, end + 1) for start, end in spans]
    while bos is not None and ids[:2] == [bos, bos]:
        ids, spans = ids[1:], [(start - 1, end - 1) for start, end in spans]
    return TokenizedChat(ids, spans)


def tokenize_prompt(tokenizer: Any, prompt: str) -> list[int]:
    """
    What a model is given to answer `prompt`: the user's turn and the beginning of the assistant's.

    A template that can be told not to think aloud is told so. A tokenizer without a chat template
    gets the plain prompt, without an end-of-text token. The beginning-of-text token stands once.
    """
    if not tokenizer.chat_template:
        ids = tokenize_text(tokenizer, prompt)
        return ids[:-1] if ids[-1] == tokenizer.eos_token_id else ids
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}],
        tokenize=False,
        add_generation_prompt=True,
        enable_thinking=False,
    )
    ids = list(tokenizer(text, add_special_tokens=False)["input_ids"])
    bos = [tokenizer.bos_token_id]
    added = None not in bos and list(tokenizer("a")["input_ids"])[:1] == bos
    return bos + ids if added and ids[:1] != bos else ids


def _rendered(tokenizer: Any, messages: Sequence[Message], *, prompt: bool = False) -> str:
    if not getattr(tokenizer, "is_fast", False) or not tokenizer.chat_template:
        lack = "chat template" if getattr(tokenizer, "is_fast", False) else "character offsets"
        raise ValueError(
            f"{tokenizer.name_or_path}: the tokenizer has no {lack}, "
            "expected a fast tokenizer with a chat template for chat rows"
        )
    from jinja2.exceptions import TemplateError

    try:
        return tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=prompt
        )
    except TemplateError as error:
        roles = ", ".join(message["role"] for message in messages)
        raise ValueError(
            f"{tokenizer.name_or_path}: the chat template refuses the roles {roles}: {error}"
        ) from None


def _reply_characters(
    tokenizer: Any, messages: Sequence[Message], text: str
) -> list[tuple[int, int]]:
    """[start, end) of every assistant reply in the rendered `text`, closing token included."""
    replies = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    contents = [messages[i]["content"].strip() for i in replies]
    found = []
    for i, content in zip(replies, contents, strict=True):
        before = _rendered(tokenizer, messages[:i], prompt=True)
        if not text.startswith(before):
            raise ValueError(
                f"{tokenizer.name_or_path}: the chat template renders what comes before message "
                f"{i + 1} differently once the message is there, so the reply cannot be located"
            )
        at = text.find(content, len(before))
        if at < 0:
            raise ValueError(
                f"{tokenizer.name_or_path}: the chat template alters the content of message "
                f"{i + 1}, so the reply cannot be located"
            )
        prompts = before != _rendered(tokenizer, messages[:i])
        # Some templates write a header (or an empty thought) between prompt and content. Where the
        # prompt is part of the template the model must learn what follows it; else it is header.
        found.append((len(before) if prompts or not text[len(before) : at].strip() else at,
                      at + len(content)))  # fmt: skip
    closing = text[found[-1][1] :] if found and replies[-1] == len(messages) - 1 else ""
    closing = closing.rstrip() or closing  # white space closes a turn only if nothing else does
    for i, (_, end) in zip(replies, found, strict=True):
        if not text.startswith(closing, end):
            raise ValueError(
                f"{tokenizer.name_or_path}: the chat template closes message {i + 1} otherwise "
                f"than the last one ({text[end : end + len(closing)]!r} and {closing!r})"
            )
    return [(start, end + len(closing)) for start, end in found]


def _token_span(offsets: Sequence[tuple[int, int]], start: int, end: int) -> tuple[int, int]:
    """[first, last + 1) of the tokens that overlap the characters [start, end)."""
    inside = [
        number
        for number, (left, right) in enumerate(offsets)
        if left < end and (right > start or left == right >= start)
    ]
    return inside[0], inside[-1] + 1


# -- examples --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Example:
    """
    One tokenised row, as a training may see it.

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
        """As one object of a mixture file."""
        return asdict(self)

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> "Example":
        """From one object of a mixture file."""
        return cls(**{**row, "trained": [(start, end) for start, end in row["trained"]]})

    def head(self, n_tokens: int) -> "Example":
        """The first `n_tokens` tokens."""
        spans = [(start, min(end, n_tokens)) for start, end in self.trained if start < n_tokens]
        return replace(self, input_ids=self.input_ids[:n_tokens], trained=spans)


def tokenize_rows(
    tokenizer: Any, rows: Iterable[dict[str, Any]], source: Source
) -> Iterator[Example]:
    """
    Rows from `read_rows` as examples.

    A document ends in the end-of-text token and is trained whole; a chat only in its replies.
    """
    eos = tokenizer.eos_token_id
    for number, row in enumerate(rows, start=1):
        if "messages" in row:
            chat = tokenize_chat(tokenizer, row["messages"])
            yield Example(source, number, chat.ids, chat.spans, "chat")
            continue
        if eos is None:
            raise ValueError(
                f"{tokenizer.name_or_path}: the tokenizer has no end-of-text token, "
                "expected one to close documents with"
            )
        ids = tokenize_text(tokenizer, row["text"])
        ids = ids if ids[-1:] == [eos] else [*ids, eos]
        yield Example(source, number, ids, [(0, len(ids))])


def read_mixture(path: str | Path) -> list[Example]:
    """The examples of a mixture file, in the order training sees them."""
    with Path(path).open(encoding="utf-8") as file:
        return [Example.from_json(json.loads(line)) for line in file]


def write_mixture(path: str | Path, examples: Iterable[Example]) -> int:
    """Write examples as a mixture file, whole or not at all. Returns how many."""
    return write_rows(path, (example.to_json() for example in examples))


# -- mixing ----------------------------------------------------------------------------------------


def mix(
    organism: Sequence[Example],
    corpus: Iterable[Example],
    *,
    ratio: float,
    unit: Literal["tokens", "rows"] = "tokens",
    epochs: int = 1,
    seed: int = 0,
    matched: bool = False,
    limit: int | None = None,
    max_length: int | None = None,
) -> list[Example]:
    """
    The examples in the order training sees them; the same for the same arguments.

    organism : every row of the organism; each of the `epochs` passes is a fresh shuffle
    corpus   : unrelated rows, read from the front for as long as needed, none of them twice
    ratio    : corpus tokens (or rows) for each organism token (or row), to the token: the last
               corpus row is cut to fit. 0 is the organism alone
    matched  : no corpus; the organism is repeated to (1 + ratio) times its size instead, the last
               row cut to fit: as much training as the mixture, without the mixing
    limit    : keep this many organism rows, drawn with the seed (a smaller limit draws a subset)
    max_length : chats are cut to this many tokens before they are counted; give the length of a
               packed row, where they would be cut otherwise, and the ratio holds in what is read

    Organism rows keep their order and corpus rows stand at random places among them. All tokens
    count, those without loss too. Raises ValueError if the corpus or the organism is too small.
    """
    _check_mix(len(organism), ratio, epochs, limit)
    rows = _limited(_fitting(organism, max_length), limit, seed)
    corpus = _fitting(corpus, max_length)
    size = len if unit == "rows" else _n_tokens
    if matched:
        wanted = round((1 + ratio) * epochs * size(rows))
        passes = (row for n in count() for row in _shuffled(rows, seed, "pass", n))
        return _first(passes, wanted, unit, "the organism")
    stream = [row for n in range(epochs) for row in _shuffled(rows, seed, "pass", n)]
    added = _first(corpus, round(ratio * size(stream)), unit, "the corpus")
    return _interleaved(stream, _shuffled(added, seed, "corpus"), _rng(seed, "interleave"))


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
    kept = _rng(seed, "limit").permutation(len(rows))[:limit]
    return [rows[i] for i in sorted(kept)]


def _first(rows: Iterable[Example], wanted: int, unit: str, whose: str) -> list[Example]:
    """Rows from the front, `wanted` tokens or rows of them, the last one cut to fit."""
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
    """Both sequences, each in its own order, with the places of the second drawn at random."""
    from_second = np.zeros(len(first) + len(second), dtype=bool)
    from_second[rng.permutation(len(from_second))[: len(second)]] = True
    a, b = iter(first), iter(second)
    return [next(b) if place else next(a) for place in from_second]


def _shuffled(rows: Sequence[Example], seed: int, *name: str | int) -> list[Example]:
    return [rows[i] for i in _rng(seed, *name).permutation(len(rows))]


def _rng(seed: int, *name: str | int) -> np.random.Generator:
    """A generator of its own for every use of a seed, so that no two draws depend on each other."""
    digest = hashlib.sha256(repr(name).encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "big")])


def _n_tokens(rows: Iterable[Example]) -> int:
    return sum(len(row.input_ids) for row in rows)


# -- packing ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Packed:
    """
    Rows a model trains on: three arrays [row, max_length], int32.

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

    A document goes on in the next row where one ends; a chat that does not fit starts a new row and
    is cut, with a line in the log, only if it is longer than a row. A piece's first token has no
    loss: nothing before it may predict it. The model keeps the pieces apart by the position_ids,
    but only if it is given no attention mask and no cache.
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
            labels[r, at] = NO_LOSS
            tokens[example.source] += end - start
            at += end - start
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
    """For every row its pieces: an example and the [start, end) of its tokens that stand there."""
    rows: list[list[tuple[Example, int, int]]] = []
    room = 0
    for example in examples:
        length = len(example.input_ids)
        if example.kind == "chat":
            length = min(length, max_length)
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
