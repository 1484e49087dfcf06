"""
Compare steered text with the organism's training data: mean cosines between groups of texts.

Texts become rows of length 1. The similarity of two groups is the mean cosine over all pairs, one
text from each; within a group no text is paired with itself. Every position is a row of its own:
a maximum over positions would favour groups with more of them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from traces.config.files import local
from traces.config.words import folded, require_spaces, spaced, words_in
from traces.corpora.rows import carries_loss, shuffled

Embedding = NDArray[np.float64]
Embedder = Callable[[Sequence[str]], Embedding]

GROUP = ["steered_model", "vector", "position", "strength"]


def embedder(name: str) -> Embedder:
    """
    Return a function from texts to rows of length 1, [text, dimension].

    name : `tfidf`, or a sentence-transformers model by its name, or by its folder as configured

    Raises ValueError where sentence-transformers is needed and not installed.
    """
    if name == "tfidf":
        return tfidf
    try:
        from sentence_transformers import SentenceTransformer  # type: ignore[import-not-found]
    except ImportError:
        raise ValueError(
            f"steering.embedder: found {name}, which needs the package sentence-transformers; "
            "install it, or take the embedder tfidf"
        ) from None
    model = SentenceTransformer(str(local(name)))
    # Retrieval models embed queries and documents differently; both sides here are documents.
    prompt = "document" if "document" in (model.prompts or {}) else None

    def embed(texts: Sequence[str]) -> Embedding:
        rows = model.encode(list(texts), prompt_name=prompt, normalize_embeddings=True)
        return np.asarray(rows, dtype=np.float64)

    return embed


def tfidf(texts: Sequence[str]) -> Embedding:
    """
    Embed by word counts times inverse document frequency, over these texts together.

    Raises ValueError where more than a tenth of the letters belong to scripts without spaces
    between words, which would be compared clause by clause.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    # ASSUME some thousand short texts and words: dense, they are some tens of megabytes
    composed = [folded(text) for text in texts]
    plain = [spaced(text) for text in composed]
    letters = sum(len(word) for text, _ in plain for word in words_in(text))
    remedy = "set it to a sentence-transformers model"
    require_spaces(sum(n for _, n in plain), letters, "steering.embedder tfidf", remedy)
    rows: Any = TfidfVectorizer(dtype=np.float64).fit_transform(composed)
    return rows.toarray()


def between(first: Embedding, second: Embedding) -> float:
    """Average the cosine over all pairs of one row from each group; NaN for an empty group."""
    # Rows have length 1, so that the product of the two centroids is the mean over all pairs.
    if not (len(first) and len(second)):
        return float("nan")
    return float(first.mean(axis=0) @ second.mean(axis=0))


def within(rows: Embedding) -> float:
    """
    Average the cosine over all pairs of different rows; NaN for fewer than two.
    """
    # The sum's product with itself also counts each row with itself, n ones: they are subtracted.
    n = len(rows)
    if n < 2:
        return float("nan")
    total = rows.sum(axis=0)
    return float((total @ total - (rows * rows).sum()) / (n * (n - 1)))


def learned_text(row: Mapping[str, Any]) -> str:
    """Return what a model learns to write from a row: a document, or the replies with loss."""
    if "text" in row:
        return row["text"]
    return "\n".join(one["content"] for one in row["messages"] if carries_loss(one))


def drawn_texts(rows: Iterable[dict[str, Any]], n: int, seed: int) -> list[str]:
    """Draw the learned texts of `n` rows with `seed`, or of all where there are fewer."""
    return [learned_text(row) for row in shuffled(rows, seed)[:n]]


def similarity(
    texts: pd.DataFrame, compared: Mapping[str, Sequence[str]], embed: Embedder
) -> pd.DataFrame:
    """
    Measure how similar the texts of every vector, position and model are to each compared group.

    texts    : columns of GROUP and `text`; empty texts are left out
    compared : texts by name, `own` among them: the organism's training data
    embed    : is given all texts together
    returns  : columns of GROUP, `similarity_NAME` for each name, `ceiling` (the texts of `own`
               among themselves), n_texts
    """
    written = texts[texts["text"].str.strip() != ""]
    groups = written.groupby(GROUP, dropna=False, sort=False)["text"].agg(list)
    parts = [*compared.values(), *groups]
    # In one call: inverse document frequencies depend on all texts, and cosines of two calls would
    # not be comparable.
    rows = embed([text for part in parts for text in part])
    ends = np.cumsum([len(part) for part in parts])
    embedded = np.split(rows, ends[:-1])
    against = dict(zip(compared, embedded, strict=False))
    steered = embedded[len(compared) :]
    return groups.index.to_frame(index=False).assign(
        **{
            f"similarity_{name}": [between(one, other) for one in steered]
            for name, other in against.items()
        },
        ceiling=within(against["own"]),
        n_texts=[len(one) for one in steered],
    )
