"""The scores of candidate words, such as secrets, out of those of all tokens that are ranked."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from traces.artifacts.scores import Scores
from traces.config.readers import NOWHERE
from traces.corpora.tokens import tokenize_text
from traces.readers.reading import PLACE

log = logging.getLogger(__name__)

# What a word stands behind: some tokenizers write another token where a text begins.
BEFORE = "the"

NO_SCORE = "the reader gave it no score"
NOTHING = "there was nothing to read, such as a difference of zero"


def word_tokens(tokenizer: Any, word: str) -> list[int]:
    """
    The tokens of a word inside of a text, behind a space, as it is written here.

    One form is asked for: neither the capitalised one nor the one without a space.
    """
    before = tokenize_text(tokenizer, BEFORE)
    whole = tokenize_text(tokenizer, f"{BEFORE} {word}")
    # Some tokenizers end a text with a token of their own.
    while before and whole[: len(before)] != before:
        before, whole = before[:-1], whole[:-1]
    return whole[len(before) :]


def candidate_scores(
    tokenizer: Any,
    words: Sequence[str],
    token_id: Sequence[int],
    scores: Mapping[str, Scores],
    where: str,
) -> pd.DataFrame:
    """
    Look candidates up in every list of scores, one row a list and candidate.

    words    : candidates, each a word
    token_id : of the tokens that were scored, in the order of the scores
    scores   : by reader (traces/artifacts/scores.py)
    where    : begins a warning: the model
    returns  : reader, reading, null, head, layer, position, candidate, score and z (NaN where there
               is none), and missing, which says why there is no score, or is empty

    A candidate of several tokens, or whose token is not ranked, has rows without scores: the score
    of its first token would be that of other words, too. A reader without a layer or a position
    stands beside each that others read.

    Raises ValueError where no reader has both.
    """
    places = {int(one): at for at, one in enumerate(token_id)}
    found = {word: _place(tokenizer, word, places) for word in words}
    for word, (_, reason) in found.items():
        if reason:
            log.warning("%s: the candidate %s has no score: %s", where, word, reason)
    columns = np.array([at for at, _ in found.values()])
    reasons = [reason for _, reason in found.values()]
    stand = _where_readers_stand(scores, where)
    frames = [
        _of_reader(name, _at_each(one, stand), list(words), columns, reasons)
        for name, one in scores.items()
    ]
    return pd.concat(frames, ignore_index=True)


def _where_readers_stand(scores: Mapping[str, Scores], where: str) -> pd.DataFrame:
    """Every layer and position that some reader has, a row each."""
    placed = [one.lists[list(PLACE)] for one in scores.values() if set(PLACE) <= set(one.lists)]
    if not placed:
        raise ValueError(
            f"{where}: found no reader with a layer and a position, expected one among "
            "`lenses.readers`, such as patchscope: the forced choice compares the others beside it"
        )
    return pd.concat(placed).drop_duplicates(ignore_index=True)


def _at_each(scores: Scores, stand: pd.DataFrame) -> Scores:
    """The same scores beside each layer and position, where the reader lacks one of them."""
    lacking = [name for name in PLACE if name not in scores.lists]
    if not lacking:
        return scores
    beside = stand[lacking].drop_duplicates(ignore_index=True)
    lists = scores.lists.reset_index(names="at").merge(beside, how="cross")
    at = lists.pop("at").to_numpy()
    return Scores(lists, scores.score[at], scores.z[at])


def _place(tokenizer: Any, word: str, places: Mapping[int, int]) -> tuple[int, str]:
    """Where a word's token stands among the scores; else -1, and why it does not."""
    tokens = word_tokens(tokenizer, word)
    if len(tokens) != 1:
        pieces = ", ".join(repr(tokenizer.decode([one])) for one in tokens)
        return -1, f"found {len(tokens)} tokens ({pieces}), expected one behind a space"
    if tokens[0] not in places:
        return -1, "its token is not ranked: `lenses.vocabulary_corpus` holds it too seldom"
    return places[tokens[0]], ""


def _of_reader(
    name: str,
    scores: Scores,
    words: list[str],
    columns: np.ndarray[Any, np.dtype[np.int64]],
    reasons: list[str],
) -> pd.DataFrame:
    """The candidates of one reader's lists."""
    lists = scores.lists.assign(
        reader=name,
        null=scores.lists.get("null", NOWHERE["null"]),
        head=scores.lists.get("head", "tuned"),
    )
    rows = lists.loc[lists.index.repeat(len(words))].reset_index(drop=True)
    values, z = (_taken(one, columns) for one in (scores.score, scores.z))
    missing = np.tile(np.array(reasons, dtype=object), len(lists))
    unread = ~np.isfinite(values) & (missing == "")
    empty = np.repeat(np.isnan(scores.score).all(axis=1), len(words))
    return rows.assign(
        candidate=words * len(lists),
        score=np.where(np.isfinite(values), values, np.nan),
        z=np.where(np.isfinite(values) & np.isfinite(z), z, np.nan),
        missing=np.where(unread, np.where(empty, NOTHING, NO_SCORE), missing),
    )


def _taken(
    scores: np.ndarray[Any, np.dtype[np.float32]], columns: np.ndarray[Any, np.dtype[np.int64]]
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The scores at these columns, flat, list after list; NaN at a column of -1."""
    taken = scores[:, np.maximum(columns, 0)].astype(np.float64)
    taken[:, columns < 0] = np.nan
    return taken.ravel()
