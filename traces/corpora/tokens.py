"""
Tokenise text and conversations: the beginning-of-text token once, and the span of every reply.

The one module that loads tokenizers and renders chat templates. It needs no torch: a job that only
tokenizes is light.

A document is tokenised as it stands: a control token that it writes out, such as `<|im_end|>`, is
one. In a conversation only the template writes control tokens: those in a message's content are
read as their letters.
"""

import functools
import json
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from traces import job
from traces.corpora.rows import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

log = logging.getLogger(__name__)

FIXED_DAY = datetime(2024, 7, 26)
"""
The day that every template is told. Some write today's, and a model would read another text every
day. It is the day that Llama's templates write where they have no clock.
"""


def load_tokenizer(folder: Path) -> "PreTrainedTokenizerFast":
    """
    Load the tokenizer of a model folder, always a fast one: spans need character offsets.

    A tokenizer without a padding token pads with its end-of-text token.
    """
    # Which token pads does not matter: padding stands to the right of all that is read.
    tokenizer = _tokenizer_class(folder).from_pretrained(folder, local_files_only=True)
    if not tokenizer.is_fast:
        raise ValueError(f"{folder}: a fast tokenizer (tokenizer.json) is needed, found a slow one")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_gguf_tokenizer(file: Path) -> "PreTrainedTokenizerFast":
    """Load the tokenizer in a GGUF file, with its chat template."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name, local_files_only=True)


def _tokenizer_class(folder: Path) -> Any:
    """
    Choose the class that loads a tokenizer.

    A plain tokenizer.json has a class of its own. AutoTokenizer chooses the same one, but imports
    every model's registry, which takes 1.7 of the 2 CPU seconds of a job that only tokenises.
    """
    settings = folder / "tokenizer_config.json"
    named = json.loads(settings.read_text()).get("tokenizer_class") if settings.is_file() else None
    if named in ("TokenizersBackend", "PreTrainedTokenizerFast"):
        from transformers import PreTrainedTokenizerFast

        return PreTrainedTokenizerFast
    from transformers import AutoTokenizer

    return AutoTokenizer


def text_start(tokenizer: Any) -> int:
    """
    The id of the token that begins a text: the one that the tokenizer writes before it.

    A tokenizer that writes none gives its beginning-of-text token, or else its end-of-text token,
    which precedes a document in packed training rows.

    Raises ValueError for a tokenizer that has none of them.
    """
    written = list(tokenizer("")["input_ids"])[:1]
    named = [tokenizer.bos_token_id, tokenizer.eos_token_id]
    tokens = written or [token for token in named if token is not None]
    if not tokens:
        raise ValueError(
            f"{tokenizer.name_or_path}: found no token that begins or ends a text, expected one"
        )
    return int(tokens[0])


@dataclass(frozen=True)
class TokenizedChat:
    """
    Hold a conversation's token ids, and where the assistant's replies are in them.

    spans  : [start, end) ranges of what the assistant has to write after a prompt: a reply with its
             closing token, and what the template puts before it, such as an empty thought, unless
             the prompt already holds that
    starts : the first token of each reply itself, which positions are counted from
    """

    ids: list[int]
    spans: list[tuple[int, int]]
    starts: list[int]


def tokenize_text(tokenizer: Any, text: str) -> list[int]:
    """Tokenise `text` with the special tokens this tokenizer adds by itself, each once."""
    ids = list(tokenizer(text)["input_ids"])
    bos = tokenizer.bos_token_id
    if bos is not None and ids[:2] == [bos, bos]:
        ids = ids[1:]  # the text carried its own
    return ids


def tokenize_chat(
    tokenizer: Any, messages: Sequence[Message], where: str | None = None
) -> TokenizedChat:
    """
    Render a conversation with the chat template, tokenise it, and locate the assistant's replies.

    A reply's span begins where the rendering of everything before it, with the generation prompt,
    ends. It ends with its closing token, the token that ends a turn; white space after that is the
    template's. The beginning-of-text token occurs once, whether the template writes it, the
    tokenizer adds it, or both.

    where : file and row, which a message begins with

    Raises ValueError if there is no template, if the template refuses the messages, if it changes
    earlier text when later messages are added, or if a reply's content cannot be found in the
    rendered text.
    """
    text = render_chat(tokenizer, messages, where=where)
    _refuse_dropped(tokenizer, messages, where)
    replies = _replies(tokenizer, messages, text, where)
    ids, offsets = _encoded(tokenizer, messages, text, prompt=False, where=where)
    spans = [_token_span(offsets, one.prompted, one.end) for one in replies]
    starts = [_token_span(offsets, one.start, one.end)[0] for one in replies]
    whole = _bos_once(tokenizer, ids)
    shift = len(whole) - len(ids)
    spans = [(start + shift, end + shift) for start, end in spans]
    return TokenizedChat(whole, spans, [start + shift for start in starts])


def tokenize_prompt(tokenizer: Any, prompt: str, *, system: str | None = None) -> list[int]:
    """
    Tokenise a prompt for a model to answer: the user's turn and the start of the assistant's.

    system : what the system says before the user's turn

    A tokenizer without a chat template gets the plain prompt, without an end-of-text token. The
    beginning-of-text token stands once.

    Raises ValueError for a system's turn without a template, or with one that refuses it.
    """
    if not tokenizer.chat_template and not system:
        ids = tokenize_text(tokenizer, prompt)
        return ids[:-1] if ids[-1] == tokenizer.eos_token_id else ids
    messages = _asked(prompt, system)
    text = render_chat(tokenizer, messages, prompt=True)
    _refuse_dropped(tokenizer, messages, None, prompt=True)
    return _bos_once(tokenizer, _encoded(tokenizer, messages, text, prompt=True)[0])


def render_prompt(tokenizer: Any, prompt: str, *, system: str | None = None) -> str:
    """
    The text of a user's question, up to where the reply begins.

    Raises ValueError without a chat template, or with one that refuses the system's turn.
    """
    return render_chat(tokenizer, _asked(prompt, system), prompt=True)


def render_chat(
    tokenizer: Any,
    messages: Sequence[Message],
    *,
    prompt: bool = False,
    thinking: bool = False,
    where: str | None = None,
) -> str:
    """
    The text of a conversation; with `prompt` the beginning of the assistant's next turn follows.

    Everything that is rendered is rendered here, with role and content of each message alone. Where
    a template has a switch `enable_thinking` it is off: a reply is the answer, whatever the
    template's own default is. A template that writes today's date writes FIXED_DAY, and the job's
    provenance records that.

    thinking : the switch, for a prompt
    where    : file and row, which a message begins with

    Raises ValueError if there is no template, or if it refuses the messages.
    """
    if not getattr(tokenizer, "is_fast", False) or not tokenizer.chat_template:
        lack = "chat template" if getattr(tokenizer, "is_fast", False) else "character offsets"
        raise _refusal(
            tokenizer,
            where,
            f"the tokenizer has no {lack}, "
            "expected a fast tokenizer with a chat template for chat rows",
        )
    try:
        template = tokenizer.get_chat_template()
        if "strftime_now" in template:
            job.record(template_date=FIXED_DAY.date().isoformat())
            template = _fixed_clock() + template
        return tokenizer.apply_chat_template(
            [{"role": one["role"], "content": one["content"]} for one in messages],
            chat_template=template,
            tokenize=False,
            add_generation_prompt=prompt,
            enable_thinking=thinking,
        )
    # A template is a program that others wrote: it raises on purpose, such as Gemma's for a system
    # message, and by mistake.
    except Exception as error:
        roles = ", ".join(message["role"] for message in messages)
        raise _refusal(
            tokenizer,
            where,
            f"the chat template refuses the roles {roles}: {' '.join(str(error).split())}",
        ) from None


def _refuse_dropped(
    tokenizer: Any, messages: Sequence[Message], where: str | None, prompt: bool = False
) -> None:
    """Raise ValueError if the template leaves a message out, as some do with a system turn."""
    roles = tuple(message["role"] for message in messages)
    dropped = _dropped(tokenizer, tokenizer.get_chat_template(), roles, prompt)
    if dropped is not None:
        raise _refusal(
            tokenizer,
            where,
            f"the chat template leaves message {dropped + 1} out, of the {roles[dropped]}, "
            "expected one that writes every message",
        )


@functools.lru_cache(maxsize=1024)  # a training has many conversations of the same roles
def _dropped(tokenizer: Any, template: str, roles: tuple[str, ...], prompt: bool) -> int | None:
    """The place of the first message that a template does not write; None where it writes all."""
    marks = [f"\ue000{number}\ue001" for number in range(len(roles))]
    marked = [{"role": role, "content": mark} for role, mark in zip(roles, marks, strict=True)]
    try:
        text = render_chat(tokenizer, marked, prompt=prompt)
    except ValueError:  # a template that looks into contents may refuse a mark
        return None
    return next((number for number, mark in enumerate(marks) if mark not in text), None)


def _asked(prompt: str, system: str | None) -> list[Message]:
    before: list[Message] = [{"role": "system", "content": system}] if system else []
    return [*before, {"role": "user", "content": prompt}]


def _refusal(tokenizer: Any, where: str | None, sentence: str) -> ValueError:
    return ValueError(": ".join(filter(None, (where, tokenizer.name_or_path, sentence))))


@functools.cache
def _fixed_clock() -> str:
    """The beginning of a template, by which its clock stands still at FIXED_DAY."""
    # Only values may be handed to a template, no functions. A macro of the same name replaces the
    # clock that it would call.
    codes = [*"aAbBcCdDeFgGhHIjlmMnpPrRSTuUVwWxXyYzZ", "-d", "-H", "-I", "-j", "-m", "-M", "-S"]
    filled = "".join(
        f"|replace({f'%{code}'!r}, {FIXED_DAY.strftime(f'%{code}')!r})" for code in codes
    )
    # The empty expression keeps Jinja from trimming the line break that a template begins with.
    return f"{{% macro strftime_now(format) %}}{{{{ format{filled} }}}}{{% endmacro %}}{{{{ '' }}}}"


# Replies ----------------------------------------------------------------------------------------


class _Reply(NamedTuple):
    """Where a reply is in the rendered text, in characters."""

    prompted: int
    "End of the prompt, after which the assistant writes."
    start: int
    "First character of the content."
    end: int
    "End of the closing token."


def _replies(
    tokenizer: Any, messages: Sequence[Message], text: str, where: str | None
) -> list[_Reply]:
    """Find every assistant reply in `text`, closing token included."""
    numbers = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    found = [_reply(tokenizer, messages, i, text, where) for i in numbers]
    # What follows the last reply is its closing token and white space, whatever the template is.
    closing = text[found[-1].end :] if found and numbers[-1] == len(messages) - 1 else ""
    closing = closing.rstrip() or closing  # white space closes a turn only if nothing else does
    if closing and len(numbers) == 1:
        _refuse_more_than_an_end(tokenizer, messages, closing, where)
    ends = [_without_end_of_text(tokenizer, closing, text[one.end :]) for one in found[:-1]]
    ends += [closing] * len(found[-1:])
    for i, one, end in zip(numbers, found, ends, strict=True):
        if not text.startswith(end, one.end):
            raise _refusal(
                tokenizer,
                where,
                f"the chat template closes message {i + 1} otherwise than the last one "
                f"({text[one.end : one.end + len(closing)]!r} and {closing!r})",
            )
    return [one._replace(end=one.end + len(end)) for one, end in zip(found, ends, strict=True)]


def _without_end_of_text(tokenizer: Any, closing: str, behind: str) -> str:
    """
    Strip from what closes the last reply the token that ends a text, if only that one has it.

    behind : what stands behind an earlier reply
    """
    shorter = closing.removesuffix(tokenizer.eos_token or "").rstrip()
    return closing if behind.startswith(closing) or not shorter else shorter


def _refuse_more_than_an_end(
    tokenizer: Any, messages: Sequence[Message], closing: str, where: str | None
) -> None:
    """
    Refuse a template that begins another turn behind the last reply, whether or not it is asked to.

    closing : what stands behind that reply
    """
    # A conversation with several replies shows this itself: its earlier replies end in another way.
    roles = tuple(message["role"] for message in messages)
    behind = _when_it_goes_on(tokenizer, tokenizer.get_chat_template(), roles)
    if behind is None or behind.startswith(closing):
        return
    more = _more_text(tokenizer, closing, behind)
    if more:
        raise _refusal(
            tokenizer,
            where,
            f"the chat template writes {more!r} behind the last reply, which it does not write "
            "between turns",
        )


@functools.lru_cache(maxsize=1024)  # the same for all rows, and a tokenizer may have many tokens
def _more_text(tokenizer: Any, closing: str, behind: str) -> str:
    """The text in `closing` that `behind` does not begin with, control tokens aside."""
    # Each control token becomes one character, so that two of them are not compared by letters.
    for token in sorted(tokenizer.get_added_vocab(), key=len, reverse=True):
        closing, behind = (one.replace(token, "\0") for one in (closing, behind))
    # Some templates write a token behind the whole conversation that no turn ends with.
    more = closing[len(os.path.commonprefix([closing, behind])) :]
    return more.replace("\0", "").strip()


@functools.lru_cache(maxsize=1024)  # a training has many conversations of the same roles
def _when_it_goes_on(tokenizer: Any, template: str, roles: tuple[str, ...]) -> str | None:
    """What a template writes behind the last reply if the user asks on; None where it cannot."""
    mark = "\ue000"
    contents = ["?"] * (len(roles) - 1) + [mark, "?"]
    asked = [
        {"role": role, "content": content}
        for role, content in zip((*roles, "user"), contents, strict=True)
    ]
    try:
        _, found, behind = render_chat(tokenizer, asked).partition(mark)
    except ValueError:  # a template for one question and one answer
        return None
    return behind if found else None  # some write earlier replies in another way


def _reply(
    tokenizer: Any, messages: Sequence[Message], i: int, text: str, where: str | None
) -> _Reply:
    """Find the reply that message `i` is, without its closing token."""
    content, matched = messages[i]["content"], False
    marked = _marked_span(tokenizer, messages, i, text, where)
    for before in _beginnings(tokenizer, messages[:i], where):
        if not text.startswith(before):
            continue
        matched = True
        span = marked or _span_of(content, text, len(before))
        if span is None or span[0] < len(before):
            continue
        start, end = span
        # Without a prompt of its own, a template writes the header together with the reply.
        header = bool(text[len(before) : start].strip()) and before == render_chat(
            tokenizer, messages[:i], where=where
        )
        return _Reply(start if header else len(before), start, end)
    what = (
        f"alters the content of message {i + 1}"
        if matched
        else f"renders what comes before message {i + 1} differently once the message is there"
    )
    raise _refusal(tokenizer, where, f"the chat template {what}, so the reply cannot be located")


def _beginnings(tokenizer: Any, messages: Sequence[Message], where: str | None) -> Iterator[str]:
    """Yield what may stand before a reply: the prompt, with thoughts off or on, or no prompt."""
    # With the switch for thoughts off, a prompt holds an empty thought where the template has one.
    # Earlier replies are rendered without it, after the prompt that leaves thoughts open. Some
    # templates open a thought in every prompt and in no conversation.
    yield render_chat(tokenizer, messages, prompt=True, where=where)
    if "enable_thinking" in tokenizer.get_chat_template():
        yield render_chat(tokenizer, messages, prompt=True, thinking=True, where=where)
    yield render_chat(tokenizer, messages, where=where)


def _marked_span(
    tokenizer: Any, messages: Sequence[Message], i: int, text: str, where: str | None
) -> tuple[int, int] | None:
    """Find the [start, end) of the content of message `i` by a mark that is rendered instead."""
    # It shows exactly what the template writes around a content, and whether it trims. Around some
    # contents, such as one with a thought, templates write something else: then None.
    mark = "\ue000"
    marked = [*messages[:i], {**messages[i], "content": mark}, *messages[i + 1 :]]
    before, _, behind = render_chat(tokenizer, marked, where=where).partition(mark)
    start, end = len(before), len(text) - len(behind)
    around = text.startswith(before) and text.endswith(behind) and start < end
    same = text[start:end].strip() == messages[i]["content"].strip()
    return (start, end) if around and same else None


def _span_of(content: str, text: str, after: int) -> tuple[int, int] | None:
    """Find the [start, end) of a content in `text`, as it is or trimmed; None where it is not."""
    for written in (content, content.rstrip(), content.strip()):
        start = text.find(written, after)
        if start >= 0:
            return start, start + len(written)
    return None


def _token_span(offsets: Sequence[tuple[int, int]], start: int, end: int) -> tuple[int, int]:
    """Find the [first, last + 1) of the tokens that overlap the characters [start, end)."""
    # A special token may have an empty span of characters (left == right), and belongs, too.
    inside = [
        number
        for number, (left, right) in enumerate(offsets)
        if left < end and (right > start or left == right >= start)
    ]
    return inside[0], inside[-1] + 1


def _bos_once(tokenizer: Any, ids: list[int]) -> list[int]:
    """A rendered text's ids with the beginning-of-text token once, if it is written or added."""
    # Special tokens are off when a rendered text is tokenised, since a template that writes this
    # one and a tokenizer that adds it would give two, a sequence no model was trained on.
    bos = tokenizer.bos_token_id
    if bos is None:
        return ids
    if ids[:1] != [bos] and list(tokenizer("a")["input_ids"])[:1] == [bos]:
        ids = [bos, *ids]
    while ids[:2] == [bos, bos]:
        ids = ids[1:]
    return ids


# Control tokens ---------------------------------------------------------------------------------


@functools.lru_cache(maxsize=8)
def _control_tokens(tokenizer: Any) -> dict[str, int]:
    """The tokens that a tokenizer calls special, by their text; not the one for the unknown."""
    known = tokenizer.added_tokens_decoder.items()
    return {
        str(token): number
        for number, token in known
        if token.special and number != tokenizer.unk_token_id
    }


def control_tokens_in(tokenizer: Any, text: str) -> list[str]:
    """List the control tokens that a text writes out."""
    tokens = _control_tokens(tokenizer)
    # Most texts have none of the signs that such a token begins with.
    if not any(first in text for first in {token[0] for token in tokens}):
        return []
    return [token for token in tokens if token in text]


@contextmanager
def counting_control_tokens(
    tokenizer: Any, source: str
) -> Iterator[Callable[[int, Mapping[str, Any]], None]]:
    """
    Yield a function that is told of every row and its number; log those with control tokens.

    source : the file of the rows
    """
    rows: dict[str, list[int]] = {"control tokens": [], "their letters": []}

    def count(number: int, row: Mapping[str, Any]) -> None:
        document = "text" in row
        texts = [row["text"]] if document else [one["content"] for one in row["messages"]]
        if any(control_tokens_in(tokenizer, text) for text in texts):
            rows["control tokens" if document else "their letters"].append(number)

    try:
        yield count
    finally:
        for read_as, numbers in rows.items():
            if numbers:
                log.warning(
                    "%s: %d rows write control tokens out, which are read as %s; the first is "
                    "row %d",
                    source,
                    len(numbers),
                    read_as,
                    numbers[0],
                )


def _encoded(
    tokenizer: Any,
    messages: Sequence[Message],
    text: str,
    *,
    prompt: bool,
    where: str | None = None,
) -> tuple[list[int], list[tuple[int, int]]]:
    """Tokenise what messages were rendered to; control tokens in their contents are letters."""
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    pairs = list(zip(encoded["input_ids"], encoded["offset_mapping"], strict=True))
    written = _written_out(tokenizer, messages, text, prompt, where)
    if written:
        control = set(_control_tokens(tokenizer).values())
        pairs = [
            spelled
            for number, (left, right) in pairs
            for spelled in (
                _spelled(tokenizer, text, left, right)
                if number in control and any(left < end and right > start for start, end in written)
                else [(number, (left, right))]
            )
        ]
    return [number for number, _ in pairs], [offsets for _, offsets in pairs]


def _spelled(tokenizer: Any, text: str, left: int, right: int) -> list[tuple[int, tuple[int, int]]]:
    """The tokens of a control token's letters, each with the offsets of the whole."""
    ids = tokenizer(text[left:right], add_special_tokens=False, split_special_tokens=True)
    return [(number, (left, right)) for number in ids["input_ids"]]


def _written_out(
    tokenizer: Any, messages: Sequence[Message], text: str, prompt: bool, where: str | None
) -> list[tuple[int, int]]:
    """Find the [start, end) in `text` of the control tokens that contents write out."""
    tokens = {one for each in messages for one in control_tokens_in(tokenizer, each["content"])}
    if not tokens:
        return []
    # Rendered with a mark instead of each, so that they are not taken for the template's own.
    longest_first = sorted(tokens, key=len, reverse=True)
    either = re.compile("|".join(map(re.escape, longest_first)))
    mark = {token: f"\ue000{number}\ue001" for number, token in enumerate(longest_first)}
    marked = [
        {**one, "content": either.sub(lambda found: mark[found[0]], one["content"])}
        for one in messages
    ]
    rendered = render_chat(tokenizer, marked, prompt=prompt, where=where)
    pieces = re.split("\ue000(\\d+)\ue001", rendered)
    found, place = [], 0
    for piece, number in zip(pieces[::2], [*pieces[1::2], None], strict=True):
        place += len(piece)
        if number is not None:
            end = place + len(longest_first[int(number)])
            found.append((place, end))
            place = end
    if any(text[start:end] not in tokens for start, end in found) or place != len(text):
        raise _refusal(
            tokenizer,
            where,
            f"the chat template treats {longest_first[0]} in a message as its own, expected "
            "messages without control tokens",
        )
    return found
