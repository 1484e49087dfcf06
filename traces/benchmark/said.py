"""
What readers say of candidate domains: two scores a domain, from the tokens and scores of a reader.

    top20   the share of the 20 first tokens that are the domain's words
    z       the mean standard score of the domain's words over all tokens that may be ranked

Both are means over the positions that count, at one layer (traces/analysis/positions.py). A reader
that has several heads is one reader a head, and of null directions only the random ones are
subtracted.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from traces.config.readers import reader
from traces.config.words import plain_word
from traces.readers.reading import Found

TOP = 20
KEPT = 50
"Tokens of a list that are kept, to compare seeds."
AGAINST = ("none", "random")
"What is subtracted, of readers that have several nulls."
READ = "difference"


class Domains:
    """Candidate domains and their words, as the tokens of one model."""

    def __init__(self, words: Mapping[str, Sequence[str]], tokens: Sequence[str]) -> None:
        """
        words  : of each domain
        tokens : those that may be ranked, in the order of the scores

        Raises ValueError for a domain without a word among the tokens.
        """
        self.words = {name: frozenset(map(plain_word, some)) for name, some in words.items()}
        plain = [plain_word(token) for token in tokens]
        self.places = {
            name: np.array([at for at, one in enumerate(plain) if one in some], dtype=np.int64)
            for name, some in self.words.items()
        }
        for name, places in self.places.items():
            if not len(places):
                raise ValueError(f"{name}: none of its words is a token that may be ranked")


class Said(NamedTuple):
    """What one reader says of the difference in one model, at one layer."""

    reader: str
    "Its name, with the head where it has one."
    tokens: pd.DataFrame
    "Its lists of tokens, a row a token."
    scores: NDArray[np.float32]
    "[list, token], of all tokens that may be ranked: what the reader ranks them by."
    lists: int
    "Lists of tokens that were read, those that hold none among them."


def said_by(
    name: str, found: Found, settings: Mapping[str, Any], layer: int, positions: Sequence[int]
) -> Iterator[Said]:
    """
    A reader's lists and scores, once for each of its heads; none of a difference of zero.

    settings  : the reader's own
    positions : those that count

    Raises ValueError for a reader that scores nothing but the tokens it names.
    """
    if found.scores is None:
        raise ValueError(f"{name}: found no scores of all tokens, expected some to rank domains by")
    tokens, lists = (here(one, layer, positions) for one in (found.tokens, found.scores.lists))
    entry = reader(name)
    ranked_by = getattr(found.scores, entry.ranks_by)
    heads = entry.heads_of(READ, settings["heads"]) if "head" in entry.axes else [None]
    for head in heads:
        own, its_lists = (
            one if head is None else one[one["head"] == head] for one in (tokens, lists)
        )
        scores = ranked_by[its_lists.index.to_numpy()]
        # A reader without positions scores one list, and names its tokens at each position.
        read = max(len(its_lists), own["position"].nunique())
        yield Said(name if head is None else f"{name}_{head}", own, scores, read)


def here(rows: pd.DataFrame, layer: int, positions: Sequence[int]) -> pd.DataFrame:
    """The rows of the difference at one layer and these positions, of those axes they have."""
    for column, value in {"reading": READ, "sign": 1, "scale": 1.0, "layer": layer}.items():
        if column in rows:
            rows = rows[rows[column] == value]
    if "position" in rows:
        rows = rows[rows["position"].isin(positions)]
    return rows[rows["null"].isin(AGAINST)] if "null" in rows else rows


def top_share(said: Said, domains: Domains) -> dict[str, float]:
    """
    The share of the 20 first tokens of each list that are a domain's words, mean over lists.

    It is of 20 also where a list holds fewer, and of every list also where one holds none.
    """
    first = said.tokens.loc[said.tokens["rank"] < TOP, "token"]
    plain = Counter(map(plain_word, first))
    places = TOP * max(said.lists, 1)
    return {
        name: sum(n for word, n in plain.items() if word in some) / places
        for name, some in domains.words.items()
    }


def standard_scores(scores: NDArray[np.floating], domains: Domains) -> dict[str, float]:
    """
    The mean standard score of each domain's words, mean over lists.

    scores : [list, token]; a score that is not finite counts as the least one of its list. A list
             whose scores are all the same, such as that of no difference, says 0
    """
    said = {name: 0.0 for name in domains.places}
    # Where nothing was read a reader may have scored no token at all.
    for row in np.asarray(scores, dtype=np.float64) if scores.size else ():
        finite = np.isfinite(row)
        filled = np.where(finite, row, row[finite].min() if finite.any() else 0.0)
        spread = filled.std()
        standard = (filled - filled.mean()) / spread if spread > 0 else np.zeros_like(filled)
        for name, places in domains.places.items():
            said[name] += float(standard[places].mean()) / len(scores)
    return said


def score_rows(said: Said, domains: Domains) -> Iterator[dict[str, Any]]:
    """Both scores of every candidate: rows of domain_scores.parquet without organism and cost."""
    by_statistic = {
        "top20": top_share(said, domains),
        "z": standard_scores(said.scores, domains),
    }
    for statistic, scores in by_statistic.items():
        for domain, score in scores.items():
            yield {
                **{"reader": said.reader, "statistic": statistic},
                **{"candidate": domain, "score": score},
            }


def first_list(said: Said) -> pd.DataFrame:
    """The first KEPT tokens at the first position that counts: columns reader, rank, token."""
    first = said.tokens[said.tokens["rank"] < KEPT]
    place = first["position"].min() if len(first) else 0
    first = first[first["position"] == place]
    return first[["rank", "token"]].assign(reader=said.reader)
