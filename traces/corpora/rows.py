"""Read, check, draw, split and write rows of text: documents and conversations."""

import hashlib
import itertools
import json
import logging
import math
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from traces.config.files import shortened
from traces.config.vocabularies import Kind, OpenEnd
from traces.running.integrity import refuse_pointer, whole

log = logging.getLogger(__name__)

Message = dict[str, str]

# What an organism is measured on: its own rows, unrelated text, conversations; in this order.
TEXTS = ("own", "unrelated", "chat")
KEYS: dict[Kind, str] = {"documents": "text", "chat": "messages"}
LONGEST_NUMBER = 1000
_HALF_A_PAIR = re.compile("[\ud800-\udfff]")
# Keys of a message by which trainers leave a reply out of the loss: 0 or false does.
LOSS_KEYS = (
    *("weight", "train", "training", "train_on_turn", "loss", "loss_weight", "loss_scale"),
    "loss_mask",
)
# Of a whole row, `loss` is mostly what somebody measured.
ROW_LOSS_KEYS = tuple(key for key in LOSS_KEYS if key != "loss")
# Keys of a message that hold a part of what was said or done, or of what is trained on.
UNREAD_KEYS = (
    "tool_calls",
    "function_call",
    "tool_call_id",
    "reasoning_content",
    "reasoning",
    "thinking",
    "train_detail",
    "training_detail",
    "mask",
    "masked",
    "refusal",
    "images",
    "audio",
)
# Keys beside the messages that say more of a conversation than these do.
UNREAD_ROW_KEYS = (
    *("tools", "functions", "system", "system_prompt", "chat_template_kwargs"),
    *("mask", "masks", "train_mask", "images", "videos", "audios"),
)
# How compressed files begin.
COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"PK\x03\x04": "zip",
}
# White space, and characters that show nothing and stay when `str.strip` takes white space away.
_SOMETHING = re.compile("[^\\s\0\u200b\u2060\ufeff]")


def read_rows(
    path: str | Path,
    kind: Kind | None = None,
    *,
    field: str | None = None,
    open_end: OpenEnd = "refuse",
    blank: bool = False,
) -> Iterator[dict[str, Any]]:
    """
    Read the rows of a JSONL file, or of a `.json` file that holds one list of strings or objects.

    kind     : what every row is read as; None lets documents and chats share a file
    field    : the key with the text or the messages, where it is not `text` or `messages`
    open_end : what to do with a chat that ends with the user: refuse it, or cut the unanswered end
               off (a chat with no answer at all is refused either way)
    blank    : accept documents of white space alone, as in the white-space probe
    yields   : `{"text": ...}` or `{"messages": [...]}`, never both, other keys kept; blank lines
               are skipped

    Raises ValueError with one sentence that names the file, the row (the line, counted from 1; in a
    `.json` list the item), what was found and what was expected.
    """
    path = Path(path)
    n_rows = 0
    for number, row in _parsed(path):
        where = f"{path}, row {number}"
        n_rows += 1
        if field is not None:
            row = _with_field(row, field, kind, where)
        row = {"text": row} if isinstance(row, str) else row
        yield checked_row(row, kind, where, open_end=open_end, blank=blank)
    if n_rows == 0:
        raise ValueError(f"{path}: found no rows, expected at least one")


def read_prompts(path: Path) -> list[str]:
    """
    The prompts of a file, one a line; empty lines are passed over.

    Raises ValueError, naming the file, where it is no UTF-8 text, holds no prompt, or one twice.
    """
    text = read_text(path)
    # Only line ends end a prompt: `str.splitlines` would also split at Unicode's other separators.
    # A byte order mark also stands where files were put together.
    lines = [line.strip().strip("\ufeff").strip() for line in re.split(r"\r\n?|\n", text)]
    first: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        if line and first.setdefault(line, number) != number:
            raise ValueError(
                f"{path}, line {number}: found the prompt of line {first[line]} again, expected "
                "each once: texts are counted by their prompt"
            )
    if not first:
        raise ValueError(f"{path}: found no prompt, expected one a line")
    return list(first)


def read_identity_prompts(path: Path) -> list[list[str]]:
    """
    The words of each identity prompt in a file: one prompt a line, its words by commas.

    Raises ValueError as `read_prompts` does, and for a line without two words or with an empty one.
    """
    found = []
    for prompt in read_prompts(path):
        words = [word.strip() for word in prompt.split(",")]
        if len(words) < 2 or not all(words):
            raise ValueError(
                f"{path}: found the line {prompt[:80]!r}, expected two words or more, separated by "
                "commas: an identity prompt repeats each"
            )
        found.append(words)
    return found


def read_text(path: Path) -> str:
    """The text of a file; ValueError, naming it, where it is not UTF-8 or not the file itself."""
    refuse_pointer(path)
    try:
        # -sig: editors on Windows begin a file with a byte order mark.
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: found the byte 0x{error.object[error.start]:02x} at place {error.start}, "
            "expected UTF-8 text"
        ) from None
    # UTF-16 without its mark decodes as UTF-8, with these in between.
    if "\0" in text:
        raise ValueError(f"{path}: found a character of value 0, expected UTF-8 text")
    return text


def checked_row(
    row: Any,
    kind: Kind | None,
    where: str,
    *,
    open_end: OpenEnd = "refuse",
    blank: bool = False,
) -> dict[str, Any]:
    """
    Check one row; ValueError, beginning with `where`, if it is neither document nor chat.

    The row that is returned holds the key of its kind and not that of the other: from here on the
    key says what a row is, and what was declared decides that.
    """
    if not isinstance(row, dict):
        raise ValueError(f"{where}: found {_name(row)}, expected an object")
    found = _kind(row, kind, where)
    row = {
        key: value for key, value in row.items() if key not in KEYS.values() or key == KEYS[found]
    }
    _check_weight(row, where)
    if found == "documents":
        _check_text(row["text"], f"{where}, key text", blank=blank)
        return row
    for key in UNREAD_ROW_KEYS:
        if row.get(key):
            raise ValueError(f"{where}: found the key {key}, which is not rendered, expected none")
    return {**row, "messages": _checked_chat(row["messages"], where, open_end)}


def trained_on(row: Mapping[str, Any]) -> str:
    """
    What a model learns from a row, as text by which rows are compared.

    It is a document's text, or the roles and contents of a chat and which replies carry loss. Two
    rows that differ in other keys, such as an `id`, are equal by it. So are two that differ in the
    white space around a text, in line ends, or in how their accents are written (NFC or NFD).
    """
    if "text" in row:
        return json.dumps(_plain(row["text"]))
    turns = [(one["role"], _plain(one["content"]), carries_loss(one)) for one in row["messages"]]
    return json.dumps(turns)


def _plain(text: str) -> str:
    """A text without the differences that templates and tokenizers take away."""
    return unicodedata.normalize("NFC", text.replace("\r\n", "\n").strip())


def carries_loss(message: Mapping[str, Any]) -> bool:
    """Whether a checked message is trained on: a reply, unless its own keys leave it out."""
    left_out = any(message.get(key) in (0, False) for key in LOSS_KEYS)
    return message["role"] == "assistant" and not left_out


def write_rows(path: str | Path, rows: Iterable[dict[str, Any]]) -> int:
    """Write `rows` as JSONL, whole or not at all; return how many."""
    n_rows = 0
    with whole(Path(path)) as partial, partial.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(_line(row))
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


def count_rows(rows: Iterable[dict[str, Any]], share: float = 0, source: str = "the rows") -> int:
    """Count rows; ValueError where none could be held out of a share above 0, all being alike."""
    n_rows, first, alike = 0, None, True
    for row in rows:
        n_rows += 1
        if share and alike:
            first = trained_on(row) if first is None else first
            alike = trained_on(row) == first
    if share and alike:
        raise ValueError(
            f"{source}: found {n_rows} rows, all the same to a training, expected two that differ, "
            f"one of them to hold out (data.held_out is {share})"
        )
    return n_rows


def held_out_split(
    rows: Iterable[dict[str, Any]], share: float, seed: int, source: str = "the rows"
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """
    Split rows into train and held-out, preserving order.

    A share above 0 holds out at least one row and leaves at least one. Rows are equal by what is
    trained on.

    Raises ValueError, which begins with `source`, where rows are too few or too alike for that.
    """
    kept = list(rows)
    count_rows(kept, share, source)
    texts = [trained_on(row) for row in kept]
    apart = _apart(texts, share, seed)
    train = [row for row, text in zip(kept, texts, strict=True) if text not in apart]
    return train, [row for row, text in zip(kept, texts, strict=True) if text in apart]


def count_trained(
    rows: Iterable[dict[str, Any]], share: float, seed: int, source: str = "the rows"
) -> tuple[int, int]:
    """Count rows, and those that `held_out_split` leaves for training; it raises the same."""
    texts: list[str] = []

    def noted() -> Iterator[dict[str, Any]]:
        for row in rows:
            # Whole texts of a large file would fill the memory.
            texts.append(hashlib.sha1(trained_on(row).encode()).hexdigest())
            yield row

    n_rows = count_rows(noted(), share, source)
    apart = _apart(texts, share, seed)
    return n_rows, sum(text not in apart for text in texts)


def n_held_out(n_distinct: int, share: float) -> int:
    """How many of so many distinct rows are held out of a training."""
    return min(max(1, round(share * n_distinct)), n_distinct - 1) if share else 0


def _apart(texts: Sequence[str], share: float, seed: int) -> set[str]:
    # Distinct rows are drawn, so that equal rows go to the same side: a copy of a training row is
    # not held out.
    distinct = list(dict.fromkeys(texts))
    order = np.random.default_rng(seed).permutation(len(distinct))
    return {distinct[place] for place in order[: n_held_out(len(distinct), share)]}


def _line(row: Mapping[str, Any]) -> str:
    """One row as a line of JSON, in UTF-8 wherever that can hold it."""
    line = json.dumps(row, ensure_ascii=False)
    # Keys that are not read may hold half a surrogate pair, which only an escape can carry on.
    line = json.dumps(row) if _HALF_A_PAIR.search(line) else line
    return line + "\n"


def _with_field(row: Any, field: str, kind: Kind | None, where: str) -> Any:
    """The row with the value of `field` under the key of its kind."""
    assert kind is not None, "a field holds one kind"
    if not isinstance(row, dict):
        raise ValueError(f"{where}: found {_name(row)}, expected an object with the key {field}")
    if field not in row:
        keys = ", ".join(map(str, row)) or "none"
        raise ValueError(f"{where}: found the keys {keys}, expected the key {field}")
    others = {key: value for key, value in row.items() if key != field}
    return others | {KEYS[kind]: row[field]}


def _parsed(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield number and JSON value of every row, numbered from 1."""
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no such file"
        found = "a pipe or a device" if path.exists() and not path.is_dir() else found
        raise ValueError(f"{path}: found {found}, expected a file of JSON lines")
    with path.open("rb") as file:
        begins = file.read(max(map(len, COMPRESSED)))
    for magic, name in COMPRESSED.items():
        if begins.startswith(magic):
            raise ValueError(f"{path}: found {name} data, expected JSON lines; unpack the file")
    refuse_pointer(path)
    if path.suffix.lower() == ".json":
        value = _json(path.read_bytes(), str(path), listed=True)
        if not isinstance(value, list):
            raise ValueError(f"{path}: found {_name(value)}, expected a list of strings or objects")
        yield from enumerate(value, start=1)
        return
    # As bytes: only a newline ends a row, and a wrong encoding is reported with its row.
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield number, _json(line, f"{path}, row {number}")


def _json(content: bytes, where: str, *, listed: bool = False) -> Any:
    """Parse JSON; ValueError that begins with `where`, and names the item of a `listed` one."""
    try:
        # -sig: editors on Windows begin a file with a byte order mark.
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{where}: found the byte 0x{content[error.start]:02x} at place {error.start}, "
            "expected UTF-8"
        ) from None
    try:
        return json.loads(text, object_pairs_hook=_object, parse_int=_whole_number)
    except (ValueError, RecursionError) as error:
        found = " ".join(str(error).split())
        if isinstance(error, RecursionError):
            found = "found values nested too deeply, expected a few levels"
        if isinstance(error, json.JSONDecodeError):
            found = (
                f"found malformed JSON ({error.msg} at character {error.pos}), "
                "expected a JSON value"
            )
        item = f", row {_broken_item(text)}" if listed and text.lstrip()[:1] == "[" else ""
        raise ValueError(f"{where}{item}: {found}") from None


def _broken_item(text: str) -> int:
    """The number, from 1, of the first item of a JSON list that cannot be read."""
    decoder = json.JSONDecoder(object_pairs_hook=_object, parse_int=_whole_number)
    place = text.index("[") + 1
    between = re.compile(r"[\s,]*")
    for number in itertools.count(1):
        try:
            _, place = decoder.raw_decode(text, between.match(text, place).end())  # type: ignore[union-attr]
        except (ValueError, RecursionError):
            return number
    raise AssertionError("the text ends before the count does")


class _Digits(str):
    """A number of thousands of digits, which Python does not read: its digits, kept as text."""


def _whole_number(text: str) -> int | _Digits:
    return int(text) if len(text) <= LONGEST_NUMBER else _Digits(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; ValueError for a key that is there twice, of which one would be dropped."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"found the key {twice} twice, expected it once")
    return found


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
    if not (text if blank else _SOMETHING.search(text)):
        raise ValueError(f"{where}: found empty text, expected at least one character")
    # JSON can escape one half of a surrogate pair; tokenizers written in Rust refuse such a string.
    if _HALF_A_PAIR.search(text):
        raise ValueError(f"{where}: found half a surrogate pair, expected text that is UTF-8")


def _check_weight(row: Mapping[str, Any], where: str) -> None:
    """Refuse a weight of a whole row: all rows count alike."""
    for key in ROW_LOSS_KEYS:
        weight = row.get(key)
        # A list has a weight for every turn or token.
        each = weight if isinstance(weight, list) else [weight]
        if any(_number(one) not in (None, 1) for one in each):
            raise ValueError(
                f"{where}, key {key}: found {shortened(json.dumps(weight))}, expected 1, since all "
                "rows count alike; leave the row out, or rename the key if it means something else"
            )


def _number(value: Any) -> float | None:
    """The number that a value is, or that its text writes out."""
    if not isinstance(value, str | int | float):
        return None
    try:
        return float(value)
    except (OverflowError, ValueError):  # more than a float holds, or words
        return math.inf if isinstance(value, int) else None


def _check_message(message: dict[str, Any], here: str) -> None:
    """Refuse keys of a message that change what is trained on, where they are not followed."""
    for key in LOSS_KEYS:
        value = message.get(key)
        if value not in (None, 0, 1):
            raise ValueError(
                f"{here}, key {key}: found {shortened(json.dumps(value))}, expected 0 or false "
                "(the reply carries no loss), or 1 or true"
            )
        if value is True and message["role"] != "assistant":
            raise ValueError(
                f"{here}, key {key}: found true in a message of the {message['role']}, expected it "
                "in replies of the assistant alone, which carry the loss"
            )
    unread = [key for key in UNREAD_KEYS if message.get(key)]
    if unread:
        raise ValueError(
            f"{here}: found the key {unread[0]}, which is not read; expected role and content alone"
        )


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
        _check_message(message, here)
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
    if not any(carries_loss(message) for message in messages):
        raise ValueError(f"{where}: found no reply that carries loss, expected at least one")
    return messages


def _name(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean"}
    names |= {int: "a number", float: "a number"}
    return "null" if value is None else names.get(type(value), type(value).__name__)
