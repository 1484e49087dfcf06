"""Read, check, draw, split and write rows of text: documents and conversations."""

import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from traces.config.vocabularies import Kind, OpenEnd
from traces.integrity import whole

log = logging.getLogger(__name__)

Message = dict[str, str]

# What an organism is measured on: its own rows, unrelated text, conversations; in this order.
TEXTS = ("own", "unrelated", "chat")
KEYS: dict[Kind, str] = {"documents": "text", "chat": "messages"}


def read_rows(
    path: str | Path,
    kind: Kind | None = None,
    *,
    open_end: OpenEnd = "refuse",
    blank: bool = False,
) -> Iterator[dict[str, Any]]:
    """
    Read the rows of a JSONL file, or of a `.json` file that holds one list of strings or objects.

    kind     : what every row must be; None lets documents and chats share a file
    open_end : what to do with a chat that ends with the user: refuse it, or cut the unanswered end
               off (a chat with no answer at all is refused either way)
    blank    : accept documents of white space alone, as in the white-space probe
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


def read_prompts(path: Path) -> list[str]:
    """
    The prompts of a file, one a line; empty lines are passed over.

    Raises ValueError, naming the file, where it is no UTF-8 text or holds no prompt.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not UTF-8 text") from None
    prompts = [line for line in lines if line]
    if not prompts:
        raise ValueError(f"{path}: found no prompt, expected one a line")
    return prompts


def checked_row(
    row: Any,
    kind: Kind | None,
    where: str,
    *,
    open_end: OpenEnd = "refuse",
    blank: bool = False,
) -> dict[str, Any]:
    """Check one row; ValueError, beginning with `where`, if it is neither document nor chat."""
    if not isinstance(row, dict):
        raise ValueError(f"{where}: found {_name(row)}, expected an object")
    if _kind(row, kind, where) == "documents":
        _check_text(row["text"], f"{where}, key text", blank=blank)
        return row
    return {**row, "messages": _checked_chat(row["messages"], where, open_end)}


def write_rows(path: str | Path, rows: Iterable[dict[str, Any]]) -> int:
    """Write `rows` as JSONL, whole or not at all; return how many."""
    n_rows = 0
    with whole(Path(path)) as partial, partial.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            n_rows += 1
        # On the disk before the rename: some file systems make the new name durable first, and
        # after a crash an empty file would have it.
        file.flush()
        os.fsync(file.fileno())
    return n_rows


def rows_of_kind(rows: Iterable[dict[str, Any]], kind: Kind | None) -> Iterator[dict[str, Any]]:
    """Keep the documents, or the chats, of a file that holds both; all rows without a kind."""
    return (row for row in rows if kind is None or KEYS[kind] in row)


def whitespace_rows(n: int, seed: int, characters: int = 4096) -> list[dict[str, Any]]:
    """
    Make `n` documents of white space alone: runs of one to four spaces, tabs or line breaks.

    characters : in each document
    """
    # Tokenizers join equal spaces into one long token. Short runs prevent that, so a document has
    # as many positions as one of words.
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
    """Turn every document into a conversation: the user's `request`, the document as the reply."""
    for row in documents:
        messages = [
            {"role": "user", "content": request},
            {"role": "assistant", "content": row["text"]},
        ]
        yield {key: value for key, value in row.items() if key != "text"} | {"messages": messages}


def shuffled(rows: Iterable[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    """Shuffle the rows; the order depends on the seed and their number alone."""
    kept = list(rows)
    return [kept[place] for place in np.random.default_rng(seed).permutation(len(kept))]


def drawn(read: Callable[[], Iterable[dict[str, Any]]], seed: int, n: int) -> list[dict[str, Any]]:
    """Return the first `n` of `shuffled(read(), seed)`, holding no more than these in memory."""
    # Two passes, one to count: a corpus of the hub may be larger than memory.
    order = np.random.default_rng(seed).permutation(sum(1 for _ in read()))[:n]
    places = {int(row): place for place, row in enumerate(order)}
    kept = {places[row]: found for row, found in enumerate(read()) if row in places}
    return [kept[place] for place in range(len(kept))]


def held_out_split(
    rows: Iterable[dict[str, Any]], share: float, seed: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """
    Split rows into train and held-out, preserving order.

    A share above 0 holds out at least one row and leaves at least one.
    """
    kept = list(rows)
    texts = [json.dumps(row, sort_keys=True, ensure_ascii=False) for row in kept]
    # Distinct rows are drawn, so that equal rows go to the same side: a copy of a training row is
    # not held out.
    distinct = list(dict.fromkeys(texts))
    n_apart = min(max(1, round(share * len(distinct))), len(distinct) - 1) if share else 0
    order = np.random.default_rng(seed).permutation(len(distinct))
    apart = {distinct[place] for place in order[:n_apart]}
    train = [row for row, text in zip(kept, texts, strict=True) if text not in apart]
    return train, [row for row, text in zip(kept, texts, strict=True) if text in apart]


def _parsed(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield number and JSON value of every row, numbered from 1."""
    if not path.is_file():
        raise ValueError(f"{path}: found no such file, expected JSON lines")
    if path.suffix == ".json":
        value = _json(path.read_bytes(), str(path))
        if not isinstance(value, list):
            raise ValueError(f"{path}: found {_name(value)}, expected a list of strings or objects")
        yield from enumerate(value, start=1)
        return
    # As bytes: only a newline ends a row, and a wrong encoding is reported with its row.
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield number, _json(line, f"{path}, row {number}")


def _json(content: bytes, where: str) -> Any:
    try:
        # -sig: editors on Windows begin a file with a byte order mark.
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
    # JSON can escape one half of a surrogate pair; tokenizers written in Rust refuse such a string.
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError(f"{where}: found half a surrogate pair, expected text that is UTF-8")


def _checked_chat(messages: Any, where: str, open_end: str) -> list[Message]:
    """Check that messages are [system], user, assistant, user, assistant, ... with text each."""
    if not isinstance(messages, list) or not messages:
        found = "an empty list" if messages == [] else _name(messages)
        raise ValueError(f"{where}, key messages: found {found}, expected a list of messages")
    for number, message in enumerate(messages, start=1):
        here = f"{where}, message {number}"
        if not isinstance(message, dict) or not {"role", "content"} <= message.keys():
            found = ", ".join(message) if isinstance(message, dict) else _name(message)
            raise ValueError(f"{here}: found {found or 'no key'}, expected role and content")
        _check_text(message["content"], here)

    # Templates differ in what they do with two turns of one role: some refuse, some drop a turn.
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
    # A chat that ends with the user has a last turn that carries no loss and trains nothing.
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
