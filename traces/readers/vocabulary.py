"""The tokens that are whole words of known text: what readers may rank."""

import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

import pandas as pd

from traces.config.words import LETTER, MARK, require_spaces, spaced


class Words(NamedTuple):
    """The tokens of a text that stand for a whole word, in their order."""

    tokens: list[int]
    unspaced: int
    "Letters of scripts without spaces between words."
    letters: int
    "Letters of words."


def whole_words(
    tokenizer: Any,
    texts: Iterable[str],
    min_count: int,
    min_letters: int = 3,
    source: str = "the texts",
) -> pd.DataFrame:
    """
    The tokens that stand for a whole word of `texts` at least `min_count` times.

    A word is `min_letters` or more letters, accents counted, with no letter, digit or
    apostrophe-and-letter beside them. A token counts where it covers one from end to end, with or
    without the space before it; the same token as a piece of a longer word does not count. Letters
    of scripts without spaces between words are left out.

    tokenizer : fast, since character offsets are needed
    source    : what a message calls the texts
    returns   : token_id, token (its text as decoded), count; the most frequent first

    Raises ValueError where more than a tenth of the letters belong to scripts without spaces.
    """
    counts: Counter[int] = Counter()
    unspaced = letters = 0
    for text in texts:
        found = words_of(tokenizer, text, min_letters)
        counts.update(found.tokens)
        unspaced += found.unspaced
        letters += found.letters
    require_spaces(unspaced, letters, source, "set `lenses.vocabulary: all`")
    kept = [(one, count) for one, count in counts.items() if count >= min_count]
    kept.sort(key=lambda one: (-one[1], one[0]))
    return pd.DataFrame(
        {
            "token_id": [one for one, _ in kept],
            "token": [tokenizer.decode([one]) for one, _ in kept],
            "count": [count for _, count in kept],
        }
    )


def words_of(tokenizer: Any, text: str, min_letters: int = 3) -> Words:
    """The tokens of one text that stand for a whole word, as `whole_words` counts them."""
    text = unicodedata.normalize("NFC", text)
    coded = _coded(tokenizer, text, return_offsets_mapping=True)
    # As many characters as before, so that offsets still hold.
    plain, unspaced = spaced(text)
    spans = {match.span() for match in _word(min_letters).finditer(plain)}
    tokens = []
    for token_id, (start, end) in zip(coded["input_ids"], coded["offset_mapping"], strict=True):
        start += len(text[start:end]) - len(text[start:end].lstrip())
        if (start, end) in spans:
            tokens.append(token_id)
    return Words(tokens, unspaced, sum(end - start for start, end in spans))


def tokens_of(tokenizer: Any, text: str) -> list[int]:
    """All tokens of one text, whole words or not."""
    return list(_coded(tokenizer, unicodedata.normalize("NFC", text))["input_ids"])


def _coded(tokenizer: Any, text: str, **options: bool) -> Any:
    return tokenizer(text, add_special_tokens=False, verbose=False, **options)


@functools.cache
def _word(min_letters: int) -> re.Pattern[str]:
    beside = rf"[\w{MARK[1:]}"
    letters = rf"{LETTER}(?:{LETTER}|{MARK}){{{min_letters - 1},}}"
    return re.compile(rf"(?<!{beside})(?<!\w['’]){letters}(?!{beside})(?!['’]\w)")
