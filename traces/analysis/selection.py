"""Select the rows of a figure or a summary metric: its corpus, layer and recipes."""

from collections.abc import Collection, Mapping, Sequence

import pandas as pd

from traces.config.readers import reader


def headline_rows(
    frame: pd.DataFrame, corpus: str | None = None, layers: Mapping[str, int] | None = None
) -> pd.DataFrame:
    """
    Select the rows of one corpus and, for each model named in `layers`, one block.

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


def at_headline(read: pd.DataFrame, free: Collection[str] = ()) -> pd.DataFrame:
    """
    The rows that each reader's summary metric is made of, such as one scale or one head.

    read : one row a list of tokens, or a token, with the reader's name as `lens`
    free : axes along which every value is kept

    A reading that has none of an axis' values but one, such as the base's mean activation that
    Patchscope reads in the base alone, is kept at that one.
    """
    keep = pd.Series(True, index=read.index)
    for name in read["lens"].unique():
        mine = read["lens"] == name
        for axis, preferred in reader(name).headline.items():
            if axis in free:
                continue
            chosen = {}
            for reading, values in read[mine].groupby("reading", sort=False)[axis]:
                there = set(values)
                chosen[reading] = next((one for one in preferred if one in there), preferred[0])
            keep &= ~mine | (read[axis] == read["reading"].map(chosen))
    return read[keep]


def of_recipes(frame: pd.DataFrame, recipes: Sequence[str]) -> pd.DataFrame:
    """Select the rows of these recipes, and all rows of an organism that has none of them."""
    # By model: an organism may be published on one model only, under a recipe of its own, and would
    # otherwise vanish from the figure.
    mine = frame["recipe"].isin(recipes)
    return frame[mine | ~mine.groupby([frame["model"], frame["organism"]]).transform("any")]


def around_the_headline(frame: pd.DataFrame, corpus: str, shares: Sequence[float]) -> pd.DataFrame:
    """Select `corpus` at every layer, and every other corpus at the first layer of `shares`."""
    blocks = headline_layers(frame, corpus, shares)
    return frame[(frame["corpus"] == corpus) | (frame["layer"] == frame["model"].map(blocks))]


def headline_layers(
    frame: pd.DataFrame,
    corpus: str | None,
    shares: Sequence[float],
    share: float | None = None,
) -> dict[str, int]:
    """
    Find the block that one of `shares` is in every model, by the model's name.

    corpus : the text read there, since a text may have layers of its own; None takes all rows
    shares : all the layers read of it, as shares of the depth
    share  : the one that is looked for; None takes the first

    Raises ValueError for a model that was read at another number of layers.
    """
    # By rank: tables hold block numbers only, and a deeper share is a higher block whatever the
    # number of layers. So no model need be opened to draw a figure.
    place = sorted(shares).index(shares[0] if share is None else share)
    read = frame if corpus is None else frame[frame["corpus"] == corpus]
    found = {}
    for model, layers in read.groupby("model", sort=False)["layer"]:
        blocks = sorted(map(int, layers.unique()))
        if len(blocks) != len(shares):
            raise ValueError(f"{model}: found the blocks {blocks} for the layers {list(shares)}")
        found[str(model)] = blocks[place]
    return found
