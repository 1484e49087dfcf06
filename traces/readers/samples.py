"""
Texts that two models write, and the words by which some of them differ from others.

Both models write as many documents and replies, of at most so many tokens. The base writes twice as
many: its second set stands in the place of the tuned model's, which reads like no difference.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from traces.artifacts.scores import Scores
from traces.config.readers import SIGNS
from traces.config.schema import Draws, Samples
from traces.config.vocabularies import SampleKind, Side
from traces.corpora.log_odds import log_odds
from traces.corpora.tokens import tokenize_prompt
from traces.models import generation
from traces.models.draws import Draw
from traces.models.likelihood import mean_nlls
from traces.models.room import Room
from traces.models.sampling import first_token, until
from traces.readers.ranking import named
from traces.readers.reading import Found, Loaded, Probe
from traces.readers.vocabulary import tokens_of, words_of

PRIOR = 0.1
"""
The prior's worth, as a share of all that was counted: it says nothing where there are few texts.
"""
Held = NDArray[np.bool_]
"Which tokens a text holds, [text, token]."


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


# Writing ----------------------------------------------------------------------------------------


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
    begin = first_token(tokenizer, settings.begin, "lenses.samples.begin")
    prompts = {one: prompted(tokenizer, one, begin) for one in {text.prompt for text in texts}}
    rows = [(len(prompts[one.prompt]), [*prompts[one.prompt], *one.ids]) for one in texts]
    by_model: dict[Side, list[float]] = {}
    models: dict[Side, Any] = {"tuned": pair.tuned, "base": pair.base}
    for side, context in models.items():
        with context() as model:
            # A text has one token at least.
            by_model[side] = [-nll for nll in mean_nlls(model, rows) if nll is not None]
    return [
        replace(one, log_probability={"tuned": tuned, "base": base})
        for one, tuned, base in zip(texts, by_model["tuned"], by_model["base"], strict=True)
    ]


def prompted(tokenizer: Any, prompt: str | None, begin: int) -> list[int]:
    """Token ids before the text: those of a prompt, or the one that begins a document."""
    return [begin] if prompt is None else tokenize_prompt(tokenizer, prompt)


# Words ------------------------------------------------------------------------------------------


def held(tokenizer: Any, texts: Sequence[Text], vocabulary: Iterable[int]) -> Held:
    """
    Which of the tokens in `vocabulary` each text holds as a whole word, [text, token].

    A text is tokenised anew, so that its words are spelled as text that is read is.
    """
    return _held(texts, vocabulary, lambda text: words_of(tokenizer, text).tokens)


def held_anywhere(tokenizer: Any, texts: Sequence[Text], n: int) -> Held:
    """Which of all `n` tokens each text holds, whole words or not, [text, token]."""
    return _held(texts, range(n), lambda text: tokens_of(tokenizer, text))


def _held(
    texts: Sequence[Text], vocabulary: Iterable[int], read: Callable[[str], Iterable[int]]
) -> Held:
    place = {int(token): index for index, token in enumerate(vocabulary)}
    found = np.zeros((len(texts), len(place)), dtype=np.bool_)
    for row, one in enumerate(texts):
        found[row, [place[token] for token in read(one.text) if token in place]] = True
    return found


def shift(own: Held, other: Held) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """
    How much more of the own texts hold each token than of the others, [token] each.

    returns : log-odds in nats, and the same in standard errors (z); both 0 for a token of no text

    Each token's count is the number of texts that hold it, so that a text which repeats a word
    counts once. The odds are against all other tokens' counts: longer texts alone shift nothing.
    """
    counts = [one.sum(axis=0).astype(np.float64) for one in (own, other)]
    pooled = counts[0] + counts[1]
    seen = pooled > 0
    score, z = np.zeros((2, len(pooled)), dtype=np.float32)
    # One token has nothing to be compared with.
    if seen.sum() > 1:
        gap, error = log_odds(counts[0][seen], counts[1][seen], PRIOR * pooled.sum())
        score[seen], z[seen] = gap, gap / error
    return score, z


def listed(
    compared: Mapping[str, tuple[Held, Held]],
    tokenizer: Any,
    vocabulary: NDArray[np.int64],
    top_k: int,
) -> tuple[pd.DataFrame, Scores]:
    """
    The tokens by which sets of texts differ, and the scores of all tokens.

    compared   : by reading, which tokens the own texts hold and the others
    vocabulary : token ids, [token]
    returns    : reading, sign, rank, token_id, token, probability (the share of the texts that hold
                 it, in the set that holds it more), score (z)

    A list holds tokens with a z above 0 alone, so that there may be fewer than `top_k`.
    """
    found = [shift(*both) for both in compared.values()]
    score, z = np.array([one for one, _ in found]), np.array([one for _, one in found])
    rows = pd.MultiIndex.from_product([compared, SIGNS], names=["reading", "sign"])
    turned = np.concatenate([sign * one[None] for one in z for sign in SIGNS])
    shares = np.stack([_shares(held) for both in compared.values() for held in both])
    shares = np.where(turned > 0, shares, 0)
    tokens = named(rows.to_frame(index=False), turned, shares, tokenizer, vocabulary, top_k, 0.0)
    return tokens, Scores(pd.DataFrame({"reading": list(compared)}), score, z)


def _shares(held: Held) -> NDArray[np.float32]:
    """The share of texts that hold each token."""
    return held.sum(axis=0, dtype=np.float32) / max(len(held), 1)


def read(
    loaded: Loaded,
    probe: Probe,
    compared: Callable[[list[Text], Held], Mapping[str, tuple[Held, Held]]],
) -> Found:
    """
    What a reader of samples finds.

    compared : from the texts and which tokens each holds to the sets that each reading compares
    """
    assert loaded.samples is not None, "the entry of a reader of samples says that it needs them"
    texts = list(loaded.samples())
    if probe.vocabulary is None:
        vocabulary = np.arange(loaded.readout("base").head.weight.shape[0])
        tokens = held_anywhere(loaded.tokenizer, texts, len(vocabulary))
    else:
        vocabulary = np.asarray(probe.vocabulary, dtype=np.int64)
        tokens = held(loaded.tokenizer, texts, vocabulary)
    sets = compared(texts, tokens)
    sets = {name: sets[name] for name in probe.readings}
    return Found(*listed(sets, loaded.tokenizer, vocabulary, probe.top_k))
