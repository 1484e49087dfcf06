"""
Tabulate how the readings change as one factor is varied, all else at the study's first values.

A pure function of the relevance and norms tables.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from traces.analysis.positions import to_average
from traces.analysis.readability import seed_table
from traces.analysis.selection import headline_layers
from traces.config.readers import reader

SERIES = ("difference", "benign", "random")
_BY = ["organism", "seed"]


def ablation_table(
    relevance: pd.DataFrame,
    norms: pd.DataFrame,
    *,
    over: str,
    values: Sequence[Any],
    model: str,
    organisms: Sequence[str],
    recipe: str,
    corpus: str,
    layers: Sequence[float],
    control: str | None,
) -> pd.DataFrame:
    """
    Tabulate relevance and norm of some organisms for every value of one factor, with controls.

    over      : layer, position, recipe, corpus, reading, head, model or organism
    values    : its values; layers as shares of the depth
    model, organisms, recipe, corpus, layers : fixed where they are not varied. `layers`
                are all that are read, and the first of them is the fixed one
    control   : name of the benign organism, None for a study without one
    returns   : one row an organism (empty where organisms are varied), seed, `value`, `measure`
                (relevance by a reader, under its name, or the relative norm) and `series`: the
                difference, the benign organism graded on the same words, a random direction;
                `number`, and `n_samples`. A head or a reading has no norm of its own, a norm no
                random direction; heads are varied of the readers that have them as an axis

    Raises ValueError for a value of which the tables hold no row.
    """
    # Filtered first: what is not shown need not be averaged for every value.
    shown = [*(values if over == "organism" else organisms), *([control] if control else [])]
    relevance, norms = (one[one["organism"].isin(shown)] for one in (relevance, norms))
    parts = []
    for value in values:
        at: dict[str, Any] = {"model": model, "recipe": recipe, "corpus": corpus}
        at |= {"layer": layers[0], "position": None, "organism": None} | {over: value}
        mine = [value] if over == "organism" else organisms
        read = _of_lenses(_at(relevance, at, corpus, layers), over, value)
        # A reader without heads has nothing that differs.
        if over == "head":
            read = read[[over in reader(name).axes for name in read["lens"]]]
        seeds = seed_table(read, control, position=at["position"])
        seeds = seeds.rename(columns={"lens": "measure", "relevance": "number"})
        rows = [seeds[seeds["reading"].isin(SERIES) & (seeds["recipe"] == at["recipe"])]]
        sizes = _at(norms, at, corpus, layers)
        # How a difference is read does not change its norm.
        if over not in ("head", "reading"):
            rows.append(_norms(sizes, at, control))
        found = pd.concat(rows)
        found = found[found["organism"].isin(mine)]
        if found.empty:
            raise ValueError(f"the tables hold no row of {over} {value} in {', '.join(mine)}")
        # The organism is then the value; left in both columns it would split every line in one
        # point each.
        if over == "organism":
            found = found.assign(organism="")
        texts = sizes.loc[sizes["organism"].isin(mine), "n_samples"]
        parts.append(found.assign(value=value, n_samples=int(texts.max())))
    table = pd.concat(parts, ignore_index=True).rename(columns={"reading": "series"})
    return table[[*_BY, "value", "measure", "series", "number", "n_samples"]]


def _at(
    frame: pd.DataFrame, at: Mapping[str, Any], corpus: str, layers: Sequence[float]
) -> pd.DataFrame:
    """Select the rows of one model, corpus and layer; `layers` are all those read of `corpus`."""
    frame = frame[frame["model"] == at["model"]]
    first = at["layer"]
    # Tables hold block numbers, a study shares of the depth: the wanted share goes first, which is
    # the one that headline_layers looks up.
    blocks = headline_layers(frame, corpus, [first, *(one for one in layers if one != first)])
    here = frame["corpus"] == at["corpus"]
    return frame[here & (frame["layer"] == blocks.get(at["model"]))]


def _of_lenses(relevance: pd.DataFrame, over: str, value: Any) -> pd.DataFrame:
    """Relabel another head's or another reading's rows as the difference's."""
    if over == "head":
        return relevance[relevance["head"] == value]
    if over == "reading" and value != "difference":
        others = relevance[relevance["reading"] != "difference"]
        renamed = others[others["reading"] == value].assign(reading="difference")
        return pd.concat([renamed, others[others["reading"] != value]])
    return relevance


def _norms(norms: pd.DataFrame, at: Mapping[str, Any], control: str | None) -> pd.DataFrame:
    """Average relative norms, with the benign organism's in the same recipe, else in `plain`."""
    position = at["position"]
    norms = to_average(norms) if position is None else norms[norms["position"] == position]
    means = norms.groupby([*_BY, "recipe"], sort=False)["relative_norm"].mean()
    means = means.reset_index(name="number").assign(measure="relative_norm", reading="difference")
    ours = means[means["recipe"] == at["recipe"]]
    theirs = means[means["organism"] == control]
    same = theirs[theirs["recipe"] == at["recipe"]]
    theirs = same if len(same) else theirs[theirs["recipe"] == "plain"]
    copies = [theirs.assign(organism=name, reading="benign") for name in set(ours["organism"])]
    return pd.concat([ours, *copies])
