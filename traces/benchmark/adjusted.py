"""
Adjusted readers on a ladder: what an organism's reading says that others' readings do not.

A token's standard score, by the reader that is adjusted, less its mean over other organisms.
Nothing is run: batches keep these scores, and one job subtracts.

**The others** are the narrow organisms of the same base, those of the pilot for the pilot's and of
the ladder for the ladder's, on the rungs that every domain has. Each domain is averaged first, then
the mean over domains is taken. Of any organism, its own domain is never among the others: neither
its seeds, rungs, twin nor seed pair. Of any token, those domains are not among the others whose
words it is of. Else no domain's word would stand high but by elimination: in a null's reading its
mean would hold the organisms on that domain, in theirs not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from traces.artifacts.arrays import read_arrays, write_arrays
from traces.benchmark.organisms import NARROW
from traces.benchmark.said import KEPT, Domains, Said, first_list, score_rows
from traces.config.readers import reader
from traces.config.study import OTHERS
from traces.config.vocabularies import Side

Z, PROBABLE = "z", "probable"
KEYS = ["checkpoint", "reader"]


@dataclass(frozen=True)
class TokenScores:
    """What one reader in one model says of every token that may be ranked."""

    z: NDArray[np.float32]
    "Standard scores, [organism, list, token]; NaN of a difference of zero."
    probable: NDArray[np.bool_]
    "Which tokens may be listed, of the same shape: those that the direction makes probable enough."


@dataclass(frozen=True)
class Held:
    """The scores of several organisms, in one order."""

    checkpoints: tuple[str, ...]
    tokens: tuple[str, ...]
    readers: Mapping[str, TokenScores]
    "By reader, with its head."


def write_held(path: Path, held: Held) -> None:
    """Write the scores of a batch, whole or not at all."""
    arrays = {"checkpoint": _bytes(held.checkpoints), "token": _bytes(held.tokens)}
    for name, one in held.readers.items():
        # NumPy's truth values would be an enumeration in HDF5, which few other programs read.
        arrays |= {f"{name}/{Z}": one.z, f"{name}/{PROBABLE}": one.probable.astype(np.uint8)}
    write_arrays(path, arrays, compressed=[name for name in arrays if "/" in name])


def read_held(path: Path) -> Held:
    """Read what `write_held` wrote; ValueError, naming the file, if it is damaged."""
    arrays = read_arrays(path, ["checkpoint", "token"])
    checkpoints, tokens = (_texts(arrays.pop(name)) for name in ("checkpoint", "token"))
    # Each reader has two arrays and is named once, in the file's order.
    names = dict.fromkeys(name.split("/")[0] for name in arrays)
    readers = {
        name: TokenScores(arrays[f"{name}/{Z}"], arrays[f"{name}/{PROBABLE}"].astype(bool))
        for name in names
    }
    return Held(checkpoints, tokens, readers)


def read_bases(models: Mapping[Path, str]) -> dict[str, Held]:
    """Read the token scores of all batches: whose base each file is of, to one whole a base."""
    held: dict[str, list[Held]] = {}
    for path, model in models.items():
        held.setdefault(model, []).append(read_held(path))
    return {model: joined(parts) for model, parts in held.items()}


def joined(parts: Sequence[Held]) -> Held:
    """
    The scores of all parts, one after another.

    Raises ValueError for parts with other tokens or readers than the first.
    """
    first = parts[0]
    # A place in an array is a token: with other tokens the wrong ones would be subtracted.
    for one in parts:
        if one.tokens != first.tokens or one.readers.keys() != first.readers.keys():
            raise ValueError(
                f"{one.checkpoints[0]}: found scores of other tokens or readers than "
                f"{first.checkpoints[0]} has, expected the same of all organisms of a base"
            )
    readers = {
        name: TokenScores(
            np.concatenate([one.readers[name].z for one in parts]),
            np.concatenate([one.readers[name].probable for one in parts]),
        )
        for name in first.readers
    }
    return Held(tuple(name for one in parts for name in one.checkpoints), first.tokens, readers)


def _bytes(texts: Sequence[str]) -> NDArray[np.bytes_]:
    return np.array([text.encode("utf-8") for text in texts], dtype=np.bytes_)


def _texts(found: NDArray[np.bytes_]) -> tuple[str, ...]:
    return tuple(one.decode("utf-8") for one in found)


# Adjusting --------------------------------------------------------------------------------------


def with_adjusted(
    found: Mapping[str, pd.DataFrame],
    held: Mapping[str, Held],
    readers: Sequence[str],
    words: Mapping[str, list[str]],
) -> dict[str, pd.DataFrame]:
    """
    What was read of all organisms, and behind it what adjusted readers say of them.

    found   : the tables of COMPARED, by name
    held    : by base
    readers : adjusted ones, by their names among the readers
    words   : of each candidate

    An adjusted reader costs what the reader does that it adjusts; nothing else is run.
    """
    both = {
        f"{reader(name).of}_{head}": f"{name}_{head}" for name in readers for head in get_args(Side)
    }
    every = dict(found)
    for model, one in held.items():
        names = {source: both[source] for source in one.readers if source in both}
        organisms = found["organisms"][found["organisms"]["model"] == model]
        said = adjusted_rows(organisms, one, names, words)
        scores = found["domain_scores"]
        costs = scores[(scores["model"] == model) & scores["reader"].isin(list(names))]
        costs = costs.drop_duplicates(KEYS)[[*KEYS, "cost_s"]]
        costs = costs.assign(reader=costs["reader"].map(names))
        # From the left: an organism that the adjusted reader could not read keeps its row.
        said["domain_scores"] = said["domain_scores"].merge(costs, on=KEYS, how="left")
        for name, rows in said.items():
            every[name] = pd.concat([every[name], rows.assign(model=model)], ignore_index=True)
    return every


def adjusted_rows(
    organisms: pd.DataFrame, held: Held, names: Mapping[str, str], words: Mapping[str, list[str]]
) -> dict[str, pd.DataFrame]:
    """
    What adjusted readers say of the organisms of one base: rows of domain_scores and token_lists.

    organisms : columns of organisms.parquet, of one base
    names     : what a reader in `held` is called once it is adjusted
    words     : of each candidate

    The rows lack model and cost.
    """
    domains = Domains(words, held.tokens)
    ordered = organisms.set_index("checkpoint").loc[list(held.checkpoints)].reset_index()
    scores, lists = [], []
    for name, called in names.items():
        gaps = adjusted(ordered, held.readers[name].z, domains)
        for checkpoint, gap, probable in zip(
            held.checkpoints, gaps, held.readers[name].probable, strict=True
        ):
            said = Said(called, _listed(gap, probable, held.tokens), gap, len(gap))
            scores += [row | {"checkpoint": checkpoint} for row in score_rows(said, domains)]
            lists.append(first_list(said).assign(checkpoint=checkpoint))
    return {
        "domain_scores": pd.DataFrame(scores),
        "token_lists": pd.concat(lists, ignore_index=True),
    }


def adjusted(
    organisms: pd.DataFrame, z: NDArray[np.float32], domains: Domains
) -> NDArray[np.float32]:
    """
    Standard scores less their mean over others, [organism, list, token].

    organisms : columns domain, null, recipe, dose, steps, pilot, in the order of `z`
    returns   : NaN of an organism with fewer than OTHERS others, and of a token without any
    """
    found = np.full_like(z, np.nan)
    own = [None if pd.isna(one) else str(one) for one in organisms["domain"]]
    for pilot in (False, True):
        group = np.flatnonzero((organisms["pilot"].astype(bool) == pilot).to_numpy())
        means = _domain_means(organisms.iloc[group], z[group])
        if not means:
            continue
        stacked = np.stack(list(means.values()))
        # [domain, token]: whether the domain is among the others of a token.
        counts = np.ones((len(means), z.shape[-1]), dtype=np.float32)
        for row, name in enumerate(means):
            # Its own organisms hold them high, which would lower them in all readings but its own.
            counts[row, domains.places.get(name, [])] = 0
        for place in group:
            apart = np.array([[name != own[place]] for name in means], dtype=np.float32)
            # A mean over fewer would mostly be one organism's own words.
            if apart.sum() < OTHERS:
                continue
            others = (apart * counts).sum(axis=0)
            total = np.einsum("dt,dlt->lt", apart * counts, stacked)
            # A token that is a word of every other domain has no others: no score, and not 0.
            mean = np.divide(total, others, out=np.full_like(total, np.nan), where=others > 0)
            found[place] = z[place] - mean
    return found


def _domain_means(
    organisms: pd.DataFrame, z: NDArray[np.float32]
) -> dict[str, NDArray[np.float32]]:
    """By domain, the mean standard scores of its narrow organisms on rungs that all have."""
    rows = organisms.reset_index(drop=True)
    read = ~np.isnan(z).any(axis=(1, 2))
    narrow = rows[(rows["null"] == NARROW) & rows["domain"].notna() & read]
    rungs = ["recipe", "dose", "steps"]
    # A domain with rungs of its own would be as strong as no other one is.
    wide = narrow.groupby(rungs)["domain"].transform("nunique") == narrow["domain"].nunique()
    shared = narrow[wide] if wide.any() else narrow
    return {
        str(name): z[part.index.to_numpy()].mean(axis=0)
        for name, part in shared.groupby("domain", sort=True)
    }


def _listed(
    gap: NDArray[np.float32], probable: NDArray[np.bool_], tokens: Sequence[str]
) -> pd.DataFrame:
    """The first tokens of each list, columns position (its number), rank, token."""
    parts = []
    for number, (own, may) in enumerate(zip(gap, probable, strict=True)):
        # Among equals the first token, as on any machine.
        some = np.flatnonzero(may & ~np.isnan(own))
        best = some[np.argsort(-own[some], kind="stable")[:KEPT]]
        parts.append(
            pd.DataFrame(
                {
                    **{"position": number, "rank": np.arange(len(best))},
                    "token": [tokens[one] for one in best],
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def kept_scores(
    name: str,
    z: NDArray[np.float32],
    probable: NDArray[np.bool_],
    heads: Sequence[str],
) -> dict[str, TokenScores]:
    """
    One organism's scores by a reader, by the reader with its head: [1, list, token] each.

    z, probable : [list, token]
    heads       : of each list
    """
    of_head = np.asarray(heads, dtype=object)
    return {
        f"{name}_{head}": TokenScores(z[None, of_head == head], probable[None, of_head == head])
        for head in dict.fromkeys(heads)
    }
