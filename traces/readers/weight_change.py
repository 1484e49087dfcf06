"""
The weight change: in which directions a finetune's blocks write something new, as tokens.

It needs no text and no forward pass. A direction is a left singular vector of the change of what
a block writes into the residual stream (`models.weight_changes`), sent through the readout as in
the logit lens.

A singular vector has no sign of its own. Sign 1 is the side of the mean difference of the lowest
layer that is read at the block or above it, else of the highest one, averaged over positions
without attention sinks; sign -1 is the other side. So only the choice of a side rests on text.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pydantic import BaseModel

from traces import job
from traces.artifacts.scores import Scores, standard
from traces.config.readers import PLAIN, SIGNS
from traces.config.vocabularies import Side
from traces.models.hooks import decoder_layers
from traces.models.weight_changes import Change, block_change, block_matrix, leading
from traces.models.weights import readout_of
from traces.readers import directions
from traces.readers.ranking import allowed_ids, log_probabilities, named
from traces.readers.reading import Found, Loaded, Probe
from traces.seeding import array_generator, named_seed

FLAT = 1e-6
"A side is arbitrary where the cosine with the mean is below this: then the largest entry decides."


ROWS = 128
"Directions that are decoded at once."


class Settings(BaseModel, frozen=True, extra="forbid"):
    """The study's section `lenses.weight_change`, and whose readout decodes."""

    heads: tuple[Side, ...]
    rank: int


class Directions(NamedTuple):
    """Directions that are read together."""

    values: NDArray[np.float64]
    "Their singular values, [n]."
    vectors: NDArray[np.float32]
    "Unit vectors of the residual stream, [n, d_model]."

    @property
    def weights(self) -> NDArray[np.float64]:
        return self.values / self.values.sum()


Blocks = Mapping[str, Mapping[int, Directions]]


def read(loaded: Loaded, probe: Probe, settings: Mapping[str, Any]) -> Found:
    """
    The reader's function: a row a reading, layer, sign, head and rank, for each layer that is read.

    difference reads the first `rank` directions of the block's change, base_mean and tuned_mean
    those of the base's and of the tuned model's own matrices, random as many Gaussian directions.
    Several are read together: a token's score is its mean log-probability over them, in nats,
    weighted by their singular values. A block that did not change has no list.

    It also measures the change of every block: `weight_norm` (its Frobenius norm as a share of the
    base's), `weight_first` (the share of its energy along the first direction) and `weight_rank`
    (effective rank, the participation ratio of the squared singular values).

    Source: readings of the singular vectors of a weight change, in several studies; the choice of
    side, the weights and the controls are ours.
    """
    own = Settings.model_validate(settings)
    every = _directions(loaded, probe, own)
    layers = list(map(int, probe.differences.layers))
    groups = {
        (reading, layer): blocks[layer]
        for reading, blocks in every.items()
        for layer in layers
        if layer in blocks
    }
    rows = pd.DataFrame(list(groups), columns=["reading", "layer"])
    found = _read(loaded, probe, own, rows, list(groups.values()))
    return Found(*found, statistics=_measured_once(loaded))


def read_all(loaded: Loaded, probe: Probe, settings: Mapping[str, Any]) -> Found:
    """
    The same with the directions of all blocks read together: a row a reading, sign, head and rank.

    So the blocks that changed most say the most, and no layer has to be chosen.
    """
    own = Settings.model_validate(settings)
    groups = {
        reading: Directions(*map(np.concatenate, zip(*blocks.values(), strict=True)))
        for reading, blocks in _directions(loaded, probe, own).items()
        if blocks
    }
    rows = pd.DataFrame({"reading": list(groups)})
    found = _read(loaded, probe, own, rows, list(groups.values()))
    return Found(*found, statistics=_measured_once(loaded))


def _measured_once(loaded: Loaded) -> pd.DataFrame | None:
    """What was measured of the blocks, for the first of the readers that asks; then nothing."""
    return loaded.shared.pop("weight_statistics", None)


def _directions(loaded: Loaded, probe: Probe, own: Settings) -> Blocks:
    """The directions of blocks by reading, once in a job; what is measured is kept beside."""
    if "weight_directions" in loaded.shared:
        return loaded.shared["weight_directions"]
    names = [one for one in PLAIN if one in probe.readings]
    found: dict[str, dict[int, Directions]] = {one: {} for one in names}
    measured = []
    all_blocks = range(len(decoder_layers(loaded.pair.tuned_model)))
    # Every block is measured, which is cheap. Of those whose directions nobody reads the models'
    # own matrices are left alone, which are far larger than the change.
    read_blocks = all_blocks if "weight_change_all" in loaded.asked else probe.differences.layers
    for block in job.progress(all_blocks, "blocks"):
        seed = named_seed(probe.seed, "weight change", block)
        change = block_change(loaded.pair, block)
        measured.append(_measured(change, block, seed))
        for reading in found if block in read_blocks else ():
            made = _of_block(loaded.pair, reading, block, change, own.rank, seed)
            if len(made.values):
                found[reading][block] = _turned(made, reading, block, probe)
    loaded.shared["weight_statistics"] = pd.concat(measured, ignore_index=True)
    loaded.shared["weight_directions"] = found
    return found


def _of_block(
    pair: Any, reading: str, block: int, change: Change, rank: int, seed: int
) -> Directions:
    """The directions of one block that one reading is made of."""
    if reading == "random":
        d_model = len(change.matrix)
        vectors = array_generator(seed, "random").normal(size=(rank, d_model))
        units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return Directions(np.ones(rank), units.astype(np.float32))
    if reading == "difference":
        matrix = change.matrix
    else:
        matrix = block_matrix(pair, "tuned" if reading == "tuned_mean" else "base", block)
    values, vectors = leading(matrix, rank, seed)
    return Directions(values.cpu().double().numpy(), vectors.cpu().numpy())


def _turned(made: Directions, reading: str, block: int, probe: Probe) -> Directions:
    """Directions turned to the side of the mean that the reading is named after."""
    if reading == "random":
        return made
    layers = np.asarray(probe.differences.layers)
    above = np.flatnonzero(layers >= block)
    index = above[layers[above].argmin()] if len(above) else layers.argmax()
    vectors = directions.READINGS[reading](probe.differences)
    mean = directions.over_positions(probe.differences, vectors)[index].astype(np.float64)
    dots = made.vectors @ mean
    largest = np.abs(made.vectors).argmax(axis=1)
    by_entry = made.vectors[np.arange(len(dots)), largest]
    clear = np.abs(dots) > FLAT * np.linalg.norm(mean)
    side = np.sign(np.where(clear, dots, by_entry)).astype(np.float32)
    return Directions(made.values, made.vectors * side[:, None])


def _measured(change: Change, block: int, seed: int) -> pd.DataFrame:
    """The numbers of one block's change."""
    values, _ = leading(change.matrix, 1, seed)
    first = float(values[0]) ** 2 / change.energy if len(values) else np.nan
    numbers = {
        "weight_norm": np.sqrt(change.energy / change.base_energy),
        "weight_first": first,
        "weight_rank": change.effective_rank if len(values) else np.nan,
    }
    frame = pd.DataFrame({"statistic": list(numbers), "value": list(numbers.values())})
    return frame.assign(layer=block, position=pd.NA)


def _read(
    loaded: Loaded, probe: Probe, own: Settings, rows: pd.DataFrame, groups: Sequence[Directions]
) -> tuple[pd.DataFrame, Scores]:
    """Read groups of directions in every head: tokens, and scores of the lists with sign 1."""
    tokens, lists, scores, standards = [], [], [], []
    drawn = probe.nulls.get("random", np.empty((0, 1, 1), dtype=np.float32))
    for head in own.heads:
        with loaded.pair.tuned() if head == "tuned" else loaded.pair.base() as model:
            readout = readout_of(model)
            said = {sign: _weighted(readout, groups, sign, probe.vocabulary) for sign in SIGNS}
            nulls = _said(readout, drawn.reshape(-1, drawn.shape[-1]), probe.vocabulary)
        for sign, score in said.items():
            best = named(
                *(rows.assign(sign=sign, head=head), score, np.exp(score), loaded.tokenizer),
                *(probe.vocabulary, probe.top_k, 0.0),
            )
            # The probability says as much.
            tokens.append(best.drop(columns="score"))
        lists.append(rows.assign(head=head))
        scores.append(said[1])
        standards.append(_standard(said[1], nulls, groups))
    frame = pd.concat(tokens, ignore_index=True)
    joined = pd.concat(lists, ignore_index=True)
    return frame, Scores(joined, np.concatenate(scores), np.concatenate(standards))


def _weighted(
    readout: Any, groups: Sequence[Directions], sign: int, vocabulary: Sequence[int] | None
) -> NDArray[np.float32]:
    """Mean log-probabilities over each group's directions, by their weights, [group, token]."""
    vectors = [sign * one.vectors for one in groups]
    nothing = np.empty((0, 1), dtype=np.float32)
    said = _said(readout, np.concatenate(vectors) if vectors else nothing, vocabulary)
    ends = np.cumsum([len(one) for one in vectors])[:-1]
    parts = np.split(said, ends) if groups else []
    found = [one.weights @ part for one, part in zip(groups, parts, strict=True)]
    return np.array(found, dtype=np.float32).reshape(len(groups), said.shape[1])


@torch.inference_mode()
def _said(
    readout: Any, vectors: NDArray[np.float32], vocabulary: Sequence[int] | None
) -> NDArray[np.float32]:
    """Log-probabilities of the tokens that may be ranked under each vector, [n, token]."""
    parts = []
    for some in torch.as_tensor(vectors, dtype=torch.float32).split(ROWS):
        if not some.numel():
            continue
        logits = readout.precise(some)
        every = torch.ones(len(some), dtype=torch.bool)
        parts.append(log_probabilities(logits[None], every, allowed_ids(vocabulary, logits)))
    return np.concatenate(parts) if parts else np.empty((0, 0), dtype=np.float32)


def _standard(
    scores: NDArray[np.float32], nulls: NDArray[np.float32], groups: Sequence[Directions]
) -> NDArray[np.float32]:
    """
    Scores in standard deviations from the mean over random directions, read together as they are.

    A weighted mean over independent directions varies less than one of them, by the root of the sum
    of its squared weights.
    """
    if not len(nulls) or not groups:
        return np.full_like(scores, np.nan)
    mean = nulls.mean(axis=0, dtype=np.float64)
    spread = nulls.std(axis=0, dtype=np.float64, ddof=1)
    narrower = np.sqrt([[(one.weights**2).sum()] for one in groups])
    return standard((scores - mean).astype(np.float32), (spread * narrower).astype(np.float32))
