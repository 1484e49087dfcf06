"""Documents that a model writes from nothing: text like what it was pretrained on."""

from collections.abc import Iterator
from typing import Any

from traces import job
from traces.config.registries import Sampled
from traces.corpora.tokens import text_start
from traces.models.draws import Draw
from traces.models.generation import Written, text_of, write
from traces.models.room import Room


def documents(
    model: Any, tokenizer: Any, n: int, settings: Sampled, seed: int
) -> Iterator[dict[str, str]]:
    """
    Yield a row {"text"} for each of `n` texts that a model draws after the token that begins one.

    settings : how they are drawn; `begin` is that token
    seed     : every text has a draw of its own, by its number

    A text ends where the next document would begin. One without a letter, such as an end at once,
    is left out, so that there may be fewer than `n`.

    Raises ValueError if there is no such token.
    """
    begin = first_token(tokenizer, settings.begin)
    room = Room()
    for start in job.progress(range(0, n, settings.batch), "batches"):
        numbers = range(start, min(start + settings.batch, n))
        texts = write(
            model,
            tokenizer,
            [[begin] for _ in numbers],
            max_new_tokens=settings.max_new_tokens,
            sampler=settings,
            draws=[Draw.named(seed, "sampled text", number) for number in numbers],
            room=room,
        )
        found = (text_of(tokenizer, until(begin, one)) for one in texts)
        yield from ({"text": text} for text in found if any(map(str.isalpha, text)))


def first_token(tokenizer: Any, begin: str | None, key: str = "sampled.begin") -> int:
    """
    The id of the token that begins a document.

    begin : that token as text; None for the one that begins a text of this tokenizer
    key   : where it is configured

    Raises ValueError if it is not one token.
    """
    if begin is not None:
        ids = tokenizer(begin, add_special_tokens=False)["input_ids"]
        if len(ids) != 1:
            raise ValueError(
                f"{key}: found {begin!r}, which is {len(ids)} tokens of "
                f"{tokenizer.name_or_path}, expected one"
            )
        return int(ids[0])
    return text_start(tokenizer)


def until(begin: int, written: Written) -> Written:
    """What was written up to where the next document would begin, that token among it."""
    if begin not in written.ids:
        return written
    return Written(written.ids[: written.ids.index(begin) + 1], True)
