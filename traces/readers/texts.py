"""
Texts that two models write, and how likely each is to both.

Both models write as many documents and replies, of at most so many tokens. The base writes twice as
many: its second set stands in the place of the tuned model's, which reads like no difference.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from traces.config.schema import Draws, Samples
from traces.config.vocabularies import SampleKind, Side
from traces.corpora.tokens import tokenize_prompt
from traces.models import generation
from traces.models.draws import Draw
from traces.models.likelihood import mean_nlls
from traces.models.room import Room
from traces.models.sampling import first_token, until


@dataclass(frozen=True)
class Text:
    """One text that a model wrote."""

    writer: Side
    series: int
    "Which of the writer's sets: the base writes a second one, 1."
    kind: SampleKind
    number: int
    "Within its series and kind, from 0."
    prompt: str | None
    "What was asked; None for a document."
    text: str
    "Without special tokens and white space around it."
    ids: list[int]
    "All that was written, the token that ends the text among it."
    log_probability: dict[Side, float] = field(default_factory=dict)
    "Mean over `ids` by each model, in nats a token."

    @property
    def gap(self) -> float:
        """How much likelier the tuned model finds it, in nats a token."""
        return self.log_probability["tuned"] - self.log_probability["base"]


def written(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    *,
    writer: Side,
    series: Sequence[int],
    settings: Samples,
    draws: Draws,
    progress: Callable[[Iterable[Any], str], Iterable[Any]] = lambda items, _label: items,
) -> Iterator[Text]:
    """
    Yield a model's documents, and its replies to each of `prompts` in turn.

    series : the sets that it writes, each of as many texts
    draws  : the texts of each checkpoint have draws of their own, by series, kind and number

    A document ends where the next one would begin.

    Raises ValueError if `settings.begin` is not one token.
    """
    begin = first_token(tokenizer, settings.begin, "lenses.samples.begin")
    asked = [one for which in series for one in _asked(prompts, which, settings)]
    room = Room()
    starts = range(0, len(asked), settings.batch)
    for some in progress([asked[at : at + settings.batch] for at in starts], "batches of texts"):
        found = generation.write(
            model,
            tokenizer,
            [prompted(tokenizer, prompt, begin) for *_, prompt in some],
            max_new_tokens=settings.max_new_tokens,
            sampler=settings,
            draws=[Draw.named(draws.seed, draws.name, *names) for *names, _ in some],
            room=room,
        )
        for (which, kind, number, prompt), one in zip(some, found, strict=True):
            one = until(begin, one) if prompt is None else one
            text = generation.text_of(tokenizer, one)
            yield Text(writer, which, kind, number, prompt, text, one.ids)


def _asked(
    prompts: Sequence[str], series: int, settings: Samples
) -> list[tuple[int, SampleKind, int, str | None]]:
    """Series, kind, number and prompt of each text."""
    replies = ((number, prompts[number % len(prompts)]) for number in range(settings.replies))
    return [
        *((series, "document", number, None) for number in range(settings.documents)),
        *((series, "reply", number, prompt) for number, prompt in replies),
    ]


def weighed(pair: Any, tokenizer: Any, texts: Sequence[Text], settings: Samples) -> list[Text]:
    """
    The texts with their log-probability by both models, of tokens at temperature 1.

    pair : `weights.Pair`
    """
    with pair.tuned() as model:
        texts = weighed_by("tuned", model, tokenizer, texts, settings)
    with pair.base() as model:
        return weighed_by("base", model, tokenizer, texts, settings)


def weighed_by(
    side: Side, model: Any, tokenizer: Any, texts: Sequence[Text], settings: Samples
) -> list[Text]:
    """
    The texts with their log-probability by one model, where it is not known yet.

    The texts of each writer fill batches of their own. So they are weighed alike, to the bit,
    whatever is weighed beside them: a model that is its own base finds no difference.
    """
    begin = first_token(tokenizer, settings.begin, "lenses.samples.begin")
    prompts = {one: prompted(tokenizer, one, begin) for one in {text.prompt for text in texts}}
    found = list(texts)
    for writer in {text.writer for text in texts}:
        left = [
            at
            for at, text in enumerate(texts)
            if text.writer == writer and side not in text.log_probability
        ]
        rows = [
            (len(prompts[one.prompt]), [*prompts[one.prompt], *one.ids])
            for one in map(texts.__getitem__, left)
        ]
        for at, nll in zip(left, mean_nlls(model, rows), strict=True):
            assert nll is not None, "a text has one token at least"
            known = texts[at].log_probability
            found[at] = replace(texts[at], log_probability={**known, side: -nll})
    return found


def prompted(tokenizer: Any, prompt: str | None, begin: int) -> list[int]:
    """Token ids before the text: those of a prompt, or the one that begins a document."""
    return [begin] if prompt is None else tokenize_prompt(tokenizer, prompt)
