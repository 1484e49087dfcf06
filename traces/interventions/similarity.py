"""
Is steered text like what the organism was trained on? Mean cosines between groups of texts.

Texts become rows of length 1; the similarity of two groups is the mean cosine over all pairs, one
text from either. Within a group no text is paired with itself. Every position is a row of its own:
nothing is maximised over positions, which would lift each group by its own luck.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from traces.corpora.rows import shuffled

Embedding = NDArray[np.float64]
Embedder = Callable[[Sequence[str]], Embedding]

GROUP = ["steered_model", "vector", "position", "strength"]


def embedder(name: str) -> Embedder:
    """
    What turns texts into rows of length 1, [text, dimension]: `tfidf`, or a sentence-transformers
    model by its name or folder.

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
    model = SentenceTransformer(name)
    prompt = "document" if "document" in (model.prompts or {}) else None

    def embed(texts: Sequence[str]) -> Embedding:
        rows = model.encode(list(texts), prompt_name=prompt, normalize_embeddings=True)
        return np.asarray(rows, dtype=np.float64)

    return embed


def tfidf(texts: Sequence[str]) -> Embedding:
    """Word counts times inverse document frequency, over these texts together."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    # ASSUME some thousand short texts and words: dense, they are some tens of megabytes
    rows: Any = TfidfVectorizer(dtype=np.float64).fit_transform(texts)
    return rows.toarray()


def between(first: Embedding, second: Embedding) -> float:
    """Mean cosine over all pairs of one row from either group; missing for an empty group."""
    if not (len(first) and len(second)):
        return float("nan")
    return float(first.mean(axis=0) @ second.mean(axis=0))


def within(rows: Embedding) -> float:
    """
    Mean cosine over all pairs of different rows; missing for fewer than two.

    The product of the centroid with itself counts each row's 1 with itself too: that is taken off.
    """
    n = len(rows)
    if n < 2:
        return float("nan")
    total = rows.sum(axis=0)
    return float((total @ total - (rows * rows).sum()) / (n * (n - 1)))


def learned_text(row: Mapping[str, Any]) -> str:
    """What a model learns to write from a row: a document, or the assistant's side of a chat."""
    if "text" in row:
        return row["text"]
    replies = (one["content"] for one in row["messages"] if one["role"] == "assistant")
    return "\n".join(replies)


def drawn_texts(rows: Iterable[dict[str, Any]], n: int, seed: int) -> list[str]:
    """The learned texts of `n` rows drawn with `seed`, or of all where there are fewer."""
    return [learned_text(row) for row in shuffled(rows, seed)[:n]]


def similarity(
    texts: pd.DataFrame, compared: Mapping[str, Sequence[str]], embed: Embedder
) -> pd.DataFrame:
    """
    How like each group of `compared` the texts of every vector, position and model are.

    texts    : columns of GROUP and `text`; empty texts are left out
    compared : texts by name, `own` among them: the organism's training data
    embed    : is given all texts together
    returns  : columns of GROUP, `similarity_NAME` for each name, `ceiling` (the texts of `own`
               among themselves), n_texts
    """
    written = texts[texts["text"].str.strip() != ""]
    groups = written.groupby(GROUP, dropna=False, sort=False)["text"].agg(list)
    parts = [*compared.values(), *groups]
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
