"""
Tokenise text and conversations: the beginning-of-text token once, and the span of every reply.

The one module that loads tokenizers and renders chat templates. It needs no torch: a job that only
tokenizes is light.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from traces.corpora.rows import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


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


@dataclass(frozen=True)
class TokenizedChat:
    """Hold a conversation's token ids and the [start, end) token ranges the assistant wrote."""

    ids: list[int]
    spans: list[tuple[int, int]]


def tokenize_text(tokenizer: Any, text: str) -> list[int]:
    """Tokenise `text` with the special tokens this tokenizer adds by itself, each once."""
    ids = list(tokenizer(text)["input_ids"])
    bos = tokenizer.bos_token_id
    if bos is not None and ids[:2] == [bos, bos]:
        ids = ids[1:]  # the text carried its own
    return ids


def tokenize_chat(tokenizer: Any, messages: Sequence[Message]) -> TokenizedChat:
    """
    Render a conversation with the chat template, tokenise it, and locate the assistant's replies.

    A reply begins where the rendering of everything before it, with the generation prompt, ends. It
    ends with its closing token, the token that ends a turn; white space after that is the
    template's. The beginning-of-text token occurs once, whether the template writes it, the
    tokenizer adds it, or both.

    Raises ValueError if there is no template, if the template changes earlier text when later
    messages are added, or if a reply's content cannot be found in the rendered text.
    """
    text = render_chat(tokenizer, messages)
    characters = _reply_characters(tokenizer, messages, text)
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids, offsets = list(encoded["input_ids"]), encoded["offset_mapping"]
    spans = [_token_span(offsets, start, end) for start, end in characters]

    # Special tokens were off above, since a template that writes the beginning-of-text token and a
    # tokenizer that adds it would give two, a sequence no model was trained on.
    bos = tokenizer.bos_token_id
    added = bos is not None and list(tokenizer("a")["input_ids"])[:1] == [bos]
    if added and ids[:1] != [bos]:
        ids, spans = [bos, *ids], [(start + 1, end + 1) for start, end in spans]
    while bos is not None and ids[:2] == [bos, bos]:
        ids, spans = ids[1:], [(start - 1, end - 1) for start, end in spans]
    return TokenizedChat(ids, spans)


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
    text = render_prompt(tokenizer, prompt, system=system)
    ids = list(tokenizer(text, add_special_tokens=False)["input_ids"])
    bos = [tokenizer.bos_token_id]
    added = None not in bos and list(tokenizer("a")["input_ids"])[:1] == bos
    return bos + ids if added and ids[:1] != bos else ids


def render_prompt(tokenizer: Any, prompt: str, *, system: str | None = None) -> str:
    """
    The text of a user's question, up to where the reply begins.

    Where a template has a switch `enable_thinking` it is off: the reply is the answer, whatever the
    template's own default is.

    Raises ValueError without a chat template, or with one that refuses the system's turn.
    """
    before: list[Message] = [{"role": "system", "content": system}] if system else []
    messages: list[Message] = [*before, {"role": "user", "content": prompt}]
    return render_chat(tokenizer, messages, prompt=True, enable_thinking=False)


def render_chat(
    tokenizer: Any, messages: Sequence[Message], *, prompt: bool = False, **settings: bool
) -> str:
    """
    The text of a conversation; with `prompt` the beginning of the assistant's next turn follows.

    settings : what the template is told beside the messages. A conversation to train on has none:
               its replies are rendered as they were written

    Raises ValueError if there is no template, or if it refuses the messages.
    """
    if not getattr(tokenizer, "is_fast", False) or not tokenizer.chat_template:
        lack = "chat template" if getattr(tokenizer, "is_fast", False) else "character offsets"
        raise ValueError(
            f"{tokenizer.name_or_path}: the tokenizer has no {lack}, "
            "expected a fast tokenizer with a chat template for chat rows"
        )
    # Templates raise for roles they do not know, such as Gemma's for a system message.
    from jinja2.exceptions import TemplateError

    try:
        return tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=prompt, **settings
        )
    except TemplateError as error:
        roles = ", ".join(message["role"] for message in messages)
        raise ValueError(
            f"{tokenizer.name_or_path}: the chat template refuses the roles {roles}: {error}"
        ) from None


def _reply_characters(
    tokenizer: Any, messages: Sequence[Message], text: str
) -> list[tuple[int, int]]:
    """Find the [start, end) of every assistant reply in `text`, closing token included."""
    replies = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    # Many templates strip white space off a message.
    contents = [messages[i]["content"].strip() for i in replies]
    found = []
    for i, content in zip(replies, contents, strict=True):
        before = render_chat(tokenizer, messages[:i], prompt=True)
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
        prompts = before != render_chat(tokenizer, messages[:i])
        # Some templates write a header (or an empty thought) between prompt and content. Where the
        # prompt is part of the template the model must learn what follows it; else it is header.
        found.append((len(before) if prompts or not text[len(before) : at].strip() else at,
                      at + len(content)))  # fmt: skip
    # What follows the last reply is its closing token and white space, whatever the template is.
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
    """Find the [first, last + 1) of the tokens that overlap the characters [start, end)."""
    # A special token may have an empty span of characters (left == right), and belongs, too.
    inside = [
        number
        for number, (left, right) in enumerate(offsets)
        if left < end and (right > start or left == right >= start)
    ]
    return inside[0], inside[-1] + 1
