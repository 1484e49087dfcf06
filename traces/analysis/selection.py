"""The rows that a figure or a summary metric is about: its corpus, layer and recipes."""

from collections.abc import Mapping, Sequence

import pandas as pd


def headline_rows(
    frame: pd.DataFrame, corpus: str | None = None, layers: Mapping[str, int] | None = None
) -> pd.DataFrame:
    """
    The rows of one corpus and, for each model named in `layers`, one block.

    Raises ValueError if nothing is left.
    """
    keep = pd.Series(True, index=frame.index)
    if corpus:
        keep &= frame["corpus"] == corpus
    for model, layer in (layers or {}).items():
        keep &= (frame["model"] != model) | (frame["layer"] == layer)
    if not keep.any():
        raise ValueError(
            f"no row for corpus {corpus} and layers {dict(layers or {})} "
            f"(have {sorted(set(frame['corpus']))}, {sorted(set(frame['layer']))})"
        )
    return frame[keep]


def of_recipes(frame: pd.DataFrame, recipes: Sequence[str]) -> pd.DataFrame:
    """The rows of these recipes, and all rows of an organism on a model that has none of them."""
    mine = frame["recipe"].isin(recipes)
    return frame[mine | ~mine.groupby([frame["model"], frame["organism"]]).transform("any")]


def around_the_headline(frame: pd.DataFrame, corpus: str, shares: Sequence[float]) -> pd.DataFrame:
    """The rows of the headline corpus at every layer, and of every corpus at the headline's."""
    blocks = headline_layers(frame, corpus, shares)
    return frame[(frame["corpus"] == corpus) | (frame["layer"] == frame["model"].map(blocks))]


def headline_layers(
    frame: pd.DataFrame, corpus: str | None, shares: Sequence[float]
) -> dict[str, int]:
    """
    The block that the first of the study's layers is in every model, by the model's name.

    corpus : the text read there, for a text may have layers of its own; None takes all rows
    shares : all the layers read of it, as shares of the depth. Deeper shares are higher blocks,
             whatever the number of layers, so the place in the order tells which block is which

    Raises ValueError for a model that was read at another number of layers.
    """
    place = sorted(shares).index(shares[0])
    read = frame if corpus is None else frame[frame["corpus"] == corpus]
    found = {}
    for model, layers in read.groupby("model", sort=False)["layer"]:
        blocks = sorted(map(int, layers.unique()))
        if len(blocks) != len(shares):
            raise ValueError(f"{model}: found the blocks {blocks} for the layers {list(shares)}")
        found[str(model)] = blocks[place]
    return found
