"""
The one module in which a model writes.

Prompts are filled up on the left. A text ends with the first of `end_tokens`, or after a number of
tokens. Every other setting is an argument: what a model's folder says of sampling is not followed.
How tokens are chosen is in `draws`, what is kept between steps in `cache`, how many texts fit at
once in `room`.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from traces.config.registries import Sampler
from traces.models.draws import Chooser, Draw
from traces.models.room import Room, texts_that_fit

ENDED_SHARE = 1 / 8
"Of the texts in a batch: once so many have ended, they are left out of the next steps."


@dataclass(frozen=True)
class Written:
    """What a model wrote after one prompt."""

    ids: list[int]
    "The new tokens, the one that ends the text among them."
    ended: bool
    "Whether such a token was written; else the text was cut."

    @property
    def said(self) -> list[int]:
        """The tokens without the one that ends the text."""
        return self.ids[:-1] if self.ended else self.ids


def end_tokens(model: Any, tokenizer: Any) -> set[int]:
    """Every token that ends a turn, by the tokenizer and by the model's own generation settings."""
    configured = getattr(model.generation_config, "eos_token_id", None)
    listed = configured if isinstance(configured, list) else [configured]
    return {token for token in [tokenizer.eos_token_id, *listed] if token is not None}


def write(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    sampler: Sampler | None = None,
    draws: Sequence[Draw] = (),
    during: Callable[[Sequence[int]], AbstractContextManager[Any]] = lambda _rows: nullcontext(),
    room: Room | None = None,
) -> list[Written]:
    """
    One text after every prompt, all at once, or in as few parts as the free memory allows.

    prompts : token ids
    sampler : how tokens are drawn; None takes the likeliest token
    draws   : one a prompt, for a sampler
    during  : a context in which the given rows of `prompts` are read and written, such as one that
              adds vectors to the residual stream. Rows that have ended leave it.
    room    : what earlier calls of this job learned about memory

    In float32 a text does not depend on what else is in its batch. In bfloat16 a batch of another
    size rounds otherwise, and some texts differ: how much memory was free is then seen in them.

    Raises ValueError if the tokenizer cannot pad, or if there is not one draw a sampled prompt.
    """
    if tokenizer.pad_token_id is None:
        raise ValueError(f"{tokenizer.name_or_path}: the tokenizer has no padding token")
    if sampler is not None and len(draws) != len(prompts):
        raise ValueError(f"found {len(draws)} draws, expected one for each of {len(prompts)} texts")
    if not prompts:
        return []
    ends = end_tokens(model, tokenizer)

    def batch(rows: range) -> list[Written]:
        chooser = Chooser(sampler, [draws[row] for row in rows] if sampler else ())
        writing = _Writing(model, tokenizer.pad_token_id, prompts, rows, max_new_tokens, chooser)
        return writing.to_the_end(ends, during)

    longest = max(map(len, prompts))
    fit = texts_that_fit(model, prompt=longest, max_new_tokens=max_new_tokens, sampler=sampler)
    return (room or Room()).each(batch, range(len(prompts)), fit)


def text_of(tokenizer: Any, written: Written) -> str:
    """What was said as text, without special tokens and without white space around it."""
    return str(tokenizer.decode(written.said, skip_special_tokens=True)).strip()


class _Writing:
    """A batch of texts, as far as they are written."""

    def __init__(
        self,
        model: Any,
        pad: int,
        prompts: Sequence[Sequence[int]],
        rows: range,
        max_new_tokens: int,
        chooser: Chooser,
    ) -> None:
        import torch

        from traces.models.cache import cache_of

        where = model.get_input_embeddings().weight.device
        self.model, self.chooser, self.left = model, chooser, max_new_tokens
        self.rows = list(rows)
        "Rows of `prompts` that are in the batch, in its order."
        self.new: dict[int, list[int]] = {row: [] for row in rows}
        self.going = set(rows)
        "Those that have not ended."

        self.read = max(len(prompts[row]) for row in rows)
        filled = [self.read - len(prompts[row]) for row in rows]
        ids = [[pad] * n + [*prompts[row]] for n, row in zip(filled, rows, strict=True)]
        self.ids = torch.tensor(ids, device=where)
        columns = torch.arange(self.read + max_new_tokens, device=where)
        self.real = (columns >= torch.tensor(filled, device=where).unsqueeze(1)).long()
        "[row, column] 1 for a token of the text, 0 for what fills it up"
        self.positions = (self.real[:, : self.read].cumsum(dim=-1) - 1).clamp(min=0)
        self.cache: Any = cache_of(model, len(columns))

    def to_the_end(
        self, ends: set[int], during: Callable[[Sequence[int]], AbstractContextManager[Any]]
    ) -> list[Written]:
        """The texts, in the order of the prompts."""
        import torch

        with torch.inference_mode():
            while self.going and self.left:
                self._leave_out_what_has_ended()
                with during(self.rows):
                    while self.left and len(self.going) > (1 - ENDED_SHARE) * len(self.rows):
                        self._step(ends)
        return [Written(new, bool(ends & {*new[-1:]})) for new in self.new.values()]

    def _step(self, ends: set[int]) -> None:
        """One pass: the prompts at first, then one token more of every text."""
        logits = self.model(
            input_ids=self.ids,
            attention_mask=self.real[:, : self.read],
            position_ids=self.positions,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        chosen = self.chooser(logits.to(self.ids.device))
        for row, token in zip(self.rows, chosen.tolist(), strict=True):
            if row in self.going:
                self.new[row].append(token)
                if token in ends:
                    self.going.remove(row)
        self.ids, self.positions = chosen.unsqueeze(1), self.positions[:, -1:] + 1
        self.read, self.left = self.read + 1, self.left - 1

    def _leave_out_what_has_ended(self) -> None:
        """The last texts that go on take the places of those that have ended."""
        import torch

        n = len(self.going)
        if n == len(self.rows):
            return
        behind = [i for i in range(n, len(self.rows)) if self.rows[i] in self.going]
        places = [i if self.rows[i] in self.going else behind.pop() for i in range(n)]
        self.rows = [self.rows[place] for place in places]
        self.ids, self.positions, self.real = (
            one[places] for one in (self.ids, self.positions, self.real)
        )
        self.chooser.keep(places)
        # what beam search calls is there for layers of every kind
        self.cache.reorder_cache(torch.tensor(places))
