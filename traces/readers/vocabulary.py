"""The tokens that are whole words of known text: what readers may rank."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pandas as pd


def whole_words(
    tokenizer: Any, texts: Iterable[str], min_count: int, min_letters: int = 3
) -> pd.DataFrame:
    """
    The tokens that stand for a whole word of `texts` at least `min_count` times.

    A word is `min_letters` or more letters with no letter, digit or apostrophe-and-letter beside
    them. A token counts where it covers one from end to end, with or without the space before it;
    the same token as a piece of a longer word does not count.

    tokenizer : fast, since character offsets are needed
    returns   : token_id, token (its text as decoded), count; the most frequent first
    """
    letters = r"[^\W\d_]"
    word = re.compile(rf"(?<!\w)(?<!\w['’]){letters}{{{min_letters},}}(?!\w)(?!['’]\w)")
    counts: Counter[int] = Counter()
    for text in texts:
        coded = tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )
        spans = {match.span() for match in word.finditer(text)}
        for token_id, (start, end) in zip(coded["input_ids"], coded["offset_mapping"], strict=True):
            start += len(text[start:end]) - len(text[start:end].lstrip())
            if (start, end) in spans:
                counts[token_id] += 1
    kept = [(one, count) for one, count in counts.items() if count >= min_count]
    kept.sort(key=lambda one: (-one[1], one[0]))
    return pd.DataFrame(
        {
            "token_id": [one for one, _ in kept],
            "token": [tokenizer.decode([one]) for one, _ in kept],
            "count": [count for _, count in kept],
        }
    )
