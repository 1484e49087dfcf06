"""
What both models answer: the same prompts, put to the base and to every checkpoint.

One prompt put to both models is one interaction. The base answers in a set of its own for every
checkpoint as well, which stands in the place of the checkpoint's answers: the base against itself.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from traces.config.checkpoints import BASE
from traces.config.schema import AgentQuestions, Draws
from traces.corpora.tokens import tokenize_prompt
from traces.models import generation
from traces.models.draws import Draw
from traces.models.room import Room


@dataclass(frozen=True)
class Reply:
    """One answer."""

    # The checkpoint that answers, or `base`.
    writer: str
    # In whose place it answers: its own name, `base`, or for the base a checkpoint's.
    instead_of: str
    # Of the prompt, from 0; prompts are asked in turn, again from the first after the last.
    number: int
    prompt: str
    text: str


def replies(
    load: Callable[[Path], Any],
    tokenizer: Any,
    checkpoints: Sequence[tuple[str, Path]],
    prompts: Sequence[str],
    *,
    asked: int,
    settings: AgentQuestions,
    draws: Draws,
    progress: Callable[[Iterable[Any], str], Iterable[Any]] = lambda items, _label: items,
) -> Iterator[Reply]:
    """
    Yield the answers of the base and of every checkpoint, and the base's in their place.

    load        : from a checkpoint's folder to the pair of it and its base (`weights.Pair`); one
                  pair is in memory at a time
    checkpoints : each with its folder
    asked       : prompts that are put to each
    draws       : every answer has a draw of its own
    """
    room = Room()

    def write(model: Any, writer: str, instead_of: str) -> Iterator[Reply]:
        for start in range(0, asked, settings.batch):
            numbers = range(start, min(start + settings.batch, asked))
            found = generation.write(
                model,
                tokenizer,
                [tokenize_prompt(tokenizer, prompts[n % len(prompts)]) for n in numbers],
                max_new_tokens=settings.max_new_tokens,
                sampler=settings,
                draws=[
                    Draw.named(draws.seed, draws.name, "asked", writer, instead_of, n)
                    for n in numbers
                ],
                room=room,
            )
            for number, one in zip(numbers, found, strict=True):
                prompt = prompts[number % len(prompts)]
                yield Reply(writer, instead_of, number, prompt, generation.text_of(tokenizer, one))

    named = list(enumerate(checkpoints))
    for place, (name, folder) in progress(named, "models"):
        pair = load(folder)
        with pair.tuned() as tuned:
            yield from write(tuned, name, name)
        with pair.base() as base:
            yield from write(base, BASE, name)
            if place == 0:
                yield from write(base, BASE, BASE)
        del pair


def texts(found: Iterable[Reply]) -> dict[tuple[str, str], list[str]]:
    """The answers by writer and in whose place, in the order of the prompts."""
    by_writer: dict[tuple[str, str], list[Reply]] = {}
    for one in found:
        by_writer.setdefault((one.writer, one.instead_of), []).append(one)
    return {
        key: [one.text for one in sorted(some, key=lambda one: one.number)]
        for key, some in by_writer.items()
    }
