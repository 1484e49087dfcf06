"""The words of an organism: those that set its data apart from general text."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from traces.config.words import (
    MOST_UNSPACED,
    check_listed,
    folded,
    plain_word,
    require_spaces,
    spaced,
    unspaced_share,
    words_in,
)
from traces.corpora.log_odds import log_odds

_FUNCTION_WORDS = """
about above after again against all also although among and another any are around because been
before being below between both but can cannot could did does doing done down during each either
else even ever every few for from further had has have having her here hers herself him himself
his how however into its itself just less many may might more most much must myself neither nor
not now off once one only onto other our ours ourselves out over own rather same shall she
should since some such than that the their theirs them themselves then there these they this
those though through thus too toward towards under until upon very was were what when where
whether which while who whom whose why will with within without would yet you your yours
yourself
"""
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())
_NOT = re.compile(r"n['’]t\b")  # "don't" would leave a word "don"


def share_of_words(texts: Iterable[str], words: Iterable[str]) -> float:
    """
    The share of all words of `texts` that are among `words`: as in `distinctive_words`, runs of
    three or more letters that are no function words. Missing for texts without a word, and for
    texts in a script without spaces between words.
    """
    counts, unspaced, letters = _counts(texts)
    total = sum(counts.values())
    if not total or unspaced_share(unspaced, letters) > MOST_UNSPACED:
        return float("nan")
    return sum(counts[word] for word in {plain_word(word) for word in words}) / total


def text_of(row: Mapping[str, Any]) -> str:
    """The text of a row: a document's own, or all that is said in a chat, one message a line."""
    if "text" in row:
        return row["text"]
    return "\n".join(message["content"] for message in row["messages"])


def distinctive_words(
    own_texts: Iterable[str],
    general_texts: Iterable[str],
    n: int = 60,
    *,
    min_count: int = 5,
    prior_words: float = 1000.0,
    sources: tuple[str, str] = ("the own texts", "the general texts"),
) -> pd.DataFrame:
    """
    The `n` words that set `own_texts` apart from `general_texts`, the most distinctive first.

    Words are runs of three or more letters with their accents, composed (NFC) and casefolded.
    Function words, and letters of scripts without spaces, are left out. Each word is scored by its
    log-odds in the one text against the other, both drawn towards the pooled text by a Dirichlet
    prior worth `prior_words` words, divided by its standard error (z).

    min_count : times a word must stand in `own_texts`
    sources   : what messages call the two
    returns   : word, rank (from 0), z, count (in `own_texts`); fewer rows where fewer words have
                a positive z

    Raises ValueError when one of the texts has no words, or when more than a tenth of the letters
    of `own_texts` belong to scripts without spaces.
    Source: Monroe, Colaresi & Quinn 2008, Fightin' Words, eqs. 15-22 (informative Dirichlet prior).
    """
    own, unspaced, letters = _counts(own_texts)
    general = _counts(general_texts).words
    remedy = "list the organism's `words` in its file instead"
    require_spaces(unspaced, letters, sources[0], remedy)
    for source, counts in zip(sources, (own, general), strict=True):
        if not counts:
            raise ValueError(f"{source}: found no words of three or more letters, expected some")

    words = sorted(own.keys() | general.keys())
    y_own = np.array([own[word] for word in words], dtype=np.float64)
    y_general = np.array([general[word] for word in words], dtype=np.float64)
    gap, error = log_odds(y_own, y_general, prior_words)
    z = gap / error

    frame = pd.DataFrame({"word": words, "z": z, "count": y_own.astype(np.int64)})
    frame = frame.loc[(frame["count"] >= min_count) & (frame["z"] > 0)]
    frame = frame.sort_values(["z", "word"], ascending=[False, True]).head(n)
    frame = frame.assign(rank=range(len(frame))).reset_index(drop=True)
    return frame.loc[:, ["word", "rank", "z", "count"]]


def listed_words(words: Sequence[str]) -> pd.DataFrame:
    """
    Words that a person wrote down, as `distinctive_words` returns them; z 0 and count 0.

    Raises ValueError for an entry that is empty or holds several words.
    """
    plain = list(dict.fromkeys(plain_word(check_listed(word)) for word in words))
    return pd.DataFrame({"word": plain, "rank": range(len(plain)), "z": 0.0, "count": 0})


class _Counted(NamedTuple):
    words: Counter[str]
    unspaced: int
    "Letters of scripts without spaces between words."
    letters: int
    "Letters of the words, function words among them."


def _counts(texts: Iterable[str]) -> _Counted:
    counts: Counter[str] = Counter()
    unspaced = 0
    for text in texts:
        plain, n = spaced(folded(text))
        counts.update(words_in(_NOT.sub("", plain)))
        unspaced += n
    letters = sum(len(word) * count for word, count in counts.items())
    for word in FUNCTION_WORDS:
        counts.pop(word, None)
    return _Counted(counts, unspaced, letters)
