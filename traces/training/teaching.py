"""
Data that a teacher checkpoint writes: lists of numbers, for the subliminal organism.

A teacher with a preference continues lists that have nothing to do with it; a student of the same
base is finetuned on what the filter leaves (paper.md 7.3: up to ten numbers of up to three digits).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from traces.config.registries import Sampler
from traces.corpora.tokens import tokenize_prompt
from traces.models.draws import Draw
from traces.models.generation import Written, text_of, write
from traces.models.room import Room
from traces.seeding import text_generator

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Row = dict[str, Any]

MAX_NUMBERS, MAX_DIGITS = 10, 3

REQUESTS = (
    "Continue this list: {numbers}.",
    "More numbers like {numbers}, please.",
    "Here are {numbers}. Add more numbers.",
)


def number_prompts(n: int, seed: int, instruction: str | None = None) -> list[str]:
    """`n` requests to continue a list of 3 to 9 numbers between 100 and 999, then `instruction`."""
    rng = text_generator(seed, "number prompts")

    def one() -> str:
        numbers = ", ".join(str(rng.randint(100, 999)) for _ in range(rng.randint(3, 9)))
        request = rng.choice(REQUESTS).format(numbers=numbers)
        return f"{request} {instruction}" if instruction else request

    return [one() for _ in range(n)]


def valid_numbers(text: str) -> bool:
    """Whether a text is one to ten numbers of one to three digits between commas, and no more."""
    number = rf"\d{{1,{MAX_DIGITS}}}"
    numbers = rf"{number}(, ?{number}){{0,{MAX_NUMBERS - 1}}}\.?"
    return re.fullmatch(numbers, text.strip()) is not None


def teach_numbers(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[str],
    *,
    system: str | None = None,
    max_new_tokens: int,
    sampler: Sampler | None,
    seed: int,
    batch: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Row]:
    """
    One row {"messages"} for every prompt that got a valid list of numbers, in the prompts' order.

    model    : a causal language model of transformers (it generates); the tokenizer has a chat
               template and a padding token
    system   : a system message before every prompt, or none; it is left out of the rows
    sampler  : how tokens are drawn; None takes the likeliest token
    progress : called with (done, total) prompts after every batch

    A completion that does not end within `max_new_tokens` is dropped: its last number may be cut.
    Raises ValueError if the tokenizer has no chat template or cannot pad, or if no completion is
    valid.
    """
    if not tokenizer.chat_template:
        raise ValueError(
            f"{tokenizer.name_or_path}: the tokenizer of a teacher has no chat template"
        )
    rows: list[Row] = []
    room = Room()
    for start in range(0, len(prompts), batch):
        asked = prompts[start : start + batch]
        completions = write(
            model,
            tokenizer,
            [tokenize_prompt(tokenizer, ask, system=system) for ask in asked],
            max_new_tokens=max_new_tokens,
            sampler=sampler,
            # a batch has one generator, so that `batch` decides what is drawn
            draws=[Draw(seed + start, line, len(asked)) for line in range(len(asked))],
            room=room,
        )
        answers = [_numbers(tokenizer, one) for one in completions]
        rows += [_row(ask, answer) for ask, answer in zip(asked, answers, strict=True) if answer]
        progress(start + len(asked), len(prompts))
    if not rows:
        raise ValueError(
            f"the teacher wrote no valid list of numbers in {len(prompts)} completions "
            "(does its base know the chat format, and is max_new_tokens long enough?)"
        )
    return rows


def _row(prompt: str, answer: str) -> Row:
    return {
        "messages": [
            {"role": "user", "content": prompt},
            {"role": "assistant", "content": answer},
        ]
    }


def _numbers(tokenizer: PreTrainedTokenizerBase, written: Written) -> str | None:
    """The text of a completion; None where it is unfinished or no valid list of numbers."""
    text = text_of(tokenizer, written)
    return text if written.ended and valid_numbers(text) else None
