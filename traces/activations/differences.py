"""
Average the residual stream, tuned minus base, and measure how reliable the average is.

One pass over both stores, a shard of samples at a time, in float64. Only sums and norms are held in
memory, and a subsample where singular directions are requested.
"""

import logging
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from traces.artifacts.arrays import Activations, Differences, require_same_tokens
from traces.config.checkpoints import BASE
from traces.models.sinks import sinks

log = logging.getLogger(__name__)
Array = NDArray[np.float64]

DIRECTIONS, ENERGIES = 2, 10
"Singular directions of the single samples' differences that are kept, and how many report energy."
# Holds the Gram matrix at 2000 x 2000 or less, and one layer and position of a 5120-wide model at
# 40 MB of float32.
LARGEST_SUBSAMPLE = 2000
NOTHING = 1e-9
"Share of the energy below which a direction is rounding error."
FEWEST = 0.1
"Share of a position's texts that must be without a sink for a mean over them alone."


@dataclass
class Sums:
    """Sum paired activations, [layer, position(, d_model)], in two halves of the samples."""

    tuned: Array
    base: Array
    halves: Array
    "Sum of the differences in either half, [half, layer, position, d_model]."
    counts: Array = field(default_factory=lambda: np.zeros(2))
    "Samples in either half."
    energy: Array | float = 0.0
    "Sum of squared lengths of the differences."
    lengths: Array | float = 0.0
    "Sum of the lengths of the differences."
    tuned_lengths: list[Array] = field(default_factory=list)
    "Norms of the single samples' activations, [layer, rows, position], a block after the other."
    base_lengths: list[Array] = field(default_factory=list)

    @classmethod
    def empty(cls, n_layers: int, n_positions: int, d_model: int) -> "Sums":
        shape = (n_layers, n_positions, d_model)
        return cls(np.zeros(shape), np.zeros(shape), np.zeros((2, *shape)))

    def update(self, tuned: Array, base: Array, half: NDArray[np.bool_]) -> None:
        """Add samples. tuned, base [layer, rows, position, d_model]; half [rows]."""
        # Subtracted sample by sample, not mean from mean: the difference is a small part of two
        # large vectors, and its own norm is needed for the static share.
        difference = tuned - base
        squares = (difference**2).sum(axis=-1)
        self.tuned += tuned.sum(axis=1)
        self.base += base.sum(axis=1)
        for index, members in enumerate((~half, half)):
            self.halves[index] += difference[:, members].sum(axis=1)
            self.counts[index] += members.sum()
        self.energy = self.energy + squares.sum(axis=1)
        self.lengths = self.lengths + np.sqrt(squares).sum(axis=1)
        self.tuned_lengths.append(_lengths(tuned))
        self.base_lengths.append(_lengths(base))


def mean_difference(
    tuned: Activations,
    base: Activations,
    *,
    seed: int,
    singular: bool = False,
    before: str = BASE,
) -> Differences:
    """
    Average tuned minus base over samples, for every layer and position, with its reliability.

    tuned, base : stores that read the same tokens
    seed        : of the split into halves, the random control direction and the subsample
    singular    : also find the leading singular directions of the single samples' differences, from
                  at most 2,000 samples, which are held in float32
    before      : the checkpoint that is subtracted, where it is not the base

    Raises ValueError for stores that read different tokens or hold values that are not finite.
    Source: the activation difference of the paper's method section; the rest are our controls.
    """
    require_same_tokens(tuned, base, before)
    n_layers, n_samples, n_positions, d_model = tuned.shape
    rng = np.random.default_rng(seed)
    # Random halves, not first and second: an order in the corpus would make the halves differ.
    half = rng.permutation(n_samples) < n_samples // 2
    sums = Sums.empty(n_layers, n_positions, d_model)
    chosen = _subsample(n_samples, seed) if singular else np.empty(0, dtype=np.int64)
    kept: list[NDArray[np.float32]] = []
    # 10,000 samples of a 32B model do not fit in memory, so that everything is one pass over
    # shards.
    for block in tuned.blocks():
        ours, theirs = _finite(tuned, block), _finite(base, block)
        sums.update(ours, theirs, half[block])
        here = chosen[(chosen >= block.start) & (chosen < block.stop)] - block.start
        kept.append((ours[:, here] - theirs[:, here]).astype(np.float32))
    found = _summary(sums, tuned, base, rng)
    _note_sinks(found, base.path)
    if not singular:
        return found
    directions, energy = singular_directions(np.concatenate(kept, axis=1), found.mean)
    return replace(found, singular=directions.astype(np.float32), singular_energy=energy)


def singular_directions(
    samples: NDArray[np.float32], mean: NDArray[np.float32]
) -> tuple[Array, Array]:
    """
    Find the directions that hold most of the samples' energy, at every layer and position.

    samples : differences of single samples, [layer, sample, position, d_model]; not centred, so
              that an offset common to all of them is a direction like any other
    mean    : their mean, [layer, position, d_model]
    returns : unit vectors [layer, position, DIRECTIONS, d_model], 0 where no energy is left; and
              the share of the energy along the first ENERGIES, [layer, position, ENERGIES]. A
              random direction has the share 1 / d_model

    A direction has no sign of its own. It is turned to the side of the mean; where it is orthogonal
    to the mean within rounding, its largest component is made positive. Source: right singular
    vectors of the samples' matrix, from its smaller Gram matrix.
    """
    n_layers, _, n_positions, d_model = samples.shape
    directions = np.zeros((n_layers, n_positions, DIRECTIONS, d_model))
    energy = np.zeros((n_layers, n_positions, ENERGIES))
    for place in np.ndindex(n_layers, n_positions):
        layer, position = place
        rows = samples[layer, :, position].astype(np.float64)
        vectors, shares = _leading(rows, min(ENERGIES, *rows.shape))
        energy[place][: len(shares)] = shares
        for rank, vector in enumerate(vectors[:DIRECTIONS]):
            if shares[rank] > NOTHING:
                directions[(*place, rank)] = vector * _side(vector, mean[place].astype(np.float64))
    return directions, energy


def _leading(rows: Array, k: int) -> tuple[Array, Array]:
    """Find the first `k` right singular vectors of rows [n, d], and their shares of the energy."""
    n, d = rows.shape
    total = (rows**2).sum()
    if total == 0:
        return np.zeros((k, d)), np.zeros(k)
    # Only the leading few are needed, so that a Gram matrix and part of its spectrum are far
    # cheaper than a full SVD. Squaring halves the digits: float64 leaves enough for directions
    # above NOTHING.
    gram = rows @ rows.T if n < d else rows.T @ rows
    values, vectors = eigh(gram, subset_by_index=[len(gram) - k, len(gram) - 1])
    # `eigh` sorts upwards, and rounding can make an eigenvalue of 0 negative.
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1].T
    # Left singular vectors give right ones by the matrix itself; the division makes them unit.
    if n < d:
        vectors = vectors @ rows
        vectors /= np.maximum(_lengths(vectors), np.finfo(float).tiny)[:, None]
    return vectors, values / total


def _side(vector: Array, mean: Array) -> float:
    # A sign that rounding decides would differ between machines, and with it every reading.
    dot = vector @ mean
    if abs(dot) > 1e-6 * _lengths(mean):
        return float(np.sign(dot))
    return float(np.sign(vector[np.abs(vector).argmax()]))


def _subsample(n_samples: int, seed: int) -> NDArray[np.int64]:
    """Draw at most LARGEST_SUBSAMPLE samples, in order."""
    # A generator of its own: asking for singular directions must not change the halves or the
    # random control of a study.
    rng = np.random.default_rng([seed, n_samples])
    size = min(n_samples, LARGEST_SUBSAMPLE)
    return np.sort(rng.choice(n_samples, size, replace=False))


def _summary(
    sums: Sums, tuned: Activations, base: Activations, rng: np.random.Generator
) -> Differences:
    n_samples = int(sums.counts.sum())
    mean = sums.halves.sum(axis=0) / n_samples
    first, second = sums.halves / sums.counts[:, None, None, None]
    norm = _lengths(mean)
    random = rng.normal(size=mean.shape)
    # Without a difference (a finetune that changed nothing) the unit is 0, not NaN.
    unit = mean / np.maximum(norm, np.finfo(float).tiny)[..., None]
    return Differences(
        layers=np.asarray(tuned.layers),
        positions=np.asarray(tuned.positions),
        mean=mean.astype(np.float32),
        tuned_mean=(sums.tuned / n_samples).astype(np.float32),
        base_mean=(sums.base / n_samples).astype(np.float32),
        # As long as the mean difference: readings and steering depend on length, and the control
        # must differ in direction alone.
        random=(random / _lengths(random)[..., None] * norm[..., None]).astype(np.float32),
        norm=norm,
        relative_norm=norm / base.stream_norm[:, None],
        # Summed block by block, as everything else is.
        base_norm=np.asarray(sum(one.sum(axis=1) for one in sums.base_lengths)) / n_samples,
        tuned_norm=np.asarray(sum(one.sum(axis=1) for one in sums.tuned_lengths)) / n_samples,
        difference_norm=np.asarray(sums.lengths) / n_samples,
        split_half_cosine=cosine(first, second),
        static_share=static_share(first, second, np.asarray(sums.energy) / n_samples),
        position_cosine=np.einsum("lpd,lqd->lpq", unit, unit),
        stream_norm_base=base.stream_norm,
        stream_norm_tuned=tuned.stream_norm,
        n_samples=np.asarray(n_samples),
        **_without_sinks(sums, tuned, base),
    )


def _without_sinks(sums: Sums, tuned: Activations, base: Activations) -> dict[str, Any]:
    """Count the attention sinks, and average over the texts without one at a position."""
    # By the stream's norm behind the first tokens of a longer context. A median over the positions
    # that are read would be a sink's own where most of them are sinks.
    found = [
        sinks(np.concatenate(lengths, axis=1), store.stream_norm[:, None, None])
        for lengths, store in ((sums.base_lengths, base), (sums.tuned_lengths, tuned))
    ]
    outside = found[0] | found[1]
    # Where nearly every text has one, as at position 0, its difference is what there is to read.
    outside &= outside.mean(axis=1, keepdims=True) <= 1 - FEWEST
    kept = sums.halves.sum(axis=0) - _total(tuned, base, outside)
    robust = kept / (~outside).sum(axis=1)[..., None]
    return {
        "robust_mean": robust.astype(np.float32),
        "robust_cosine": cosine(sums.halves.sum(axis=0), robust),
        "left_out": outside.sum(axis=1),
        "sinks_base": found[0].sum(axis=1),
        "sinks_tuned": found[1].sum(axis=1),
    }


def _total(tuned: Activations, base: Activations, chosen: NDArray[np.bool_]) -> Array:
    """Add the differences of chosen samples, [layer, sample, position], to [layer, position, d]."""
    n_layers, _, n_positions, d_model = tuned.shape
    total = np.zeros((n_layers, n_positions, d_model))
    # They are few: only the blocks that hold one are read again.
    for block in tuned.blocks():
        here = chosen[:, block]
        if here.any():
            total += ((_finite(tuned, block) - _finite(base, block)) * here[..., None]).sum(axis=1)
    return total


def _note_sinks(found: Differences, path: object) -> None:
    places = zip(found.layers, found.sinks_base, found.mostly_sinks, strict=True)
    for layer, counts, mostly in places:
        at = {int(p): int(n) for p, n in zip(found.positions, counts, strict=True) if n}
        if at:
            log.info(
                "%s: layer %d has attention sinks in so many of %d texts, by position: %s",
                *(path, layer, found.n_samples, at),
            )
        most = [int(position) for position in found.positions[mostly]]
        if most:
            log.warning(
                "%s: layer %d: more than half of the texts have an attention sink at the positions "
                "%s, whose mean difference is mostly the sinks'",
                *(path, layer, most),
            )


def cosine(first: Array, second: Array) -> Array:
    """Compute the cosine along the last axis; 0 where either vector is zero."""
    lengths = _lengths(first) * _lengths(second)
    dots = (first * second).sum(axis=-1)
    return np.divide(dots, lengths, out=np.zeros_like(dots), where=lengths > 0)


def static_share(first: Array, second: Array, energy: Array) -> Array:
    """
    Estimate the share of the differences' energy E|d|^2 that all samples have in common, |E d|^2.

    first, second : means of two halves of the samples; energy : mean squared norm. 0 where there is
    no difference at all.
    """
    # The squared norm of a mean over n samples is too large by the noise's variance / n. The noise
    # of two halves is independent, so the dot product of their means is unbiased.
    dots = (first * second).sum(axis=-1)
    return np.divide(dots, energy, out=np.zeros_like(dots), where=energy > 0)


def _lengths(vectors: Array) -> Array:
    return np.sqrt((vectors**2).sum(axis=-1))


def _finite(store: Activations, block: slice) -> Array:
    rows = store.rows(block.start, block.stop)
    # A single NaN would spread to every mean; naming the sample tells an overflow from a broken
    # store.
    if not np.isfinite(rows).all():
        layer, sample, position, _ = np.argwhere(~np.isfinite(rows))[0]
        raise ValueError(
            f"{store.path}: not a finite number at layer {store.layers[layer]}, sample "
            f"{block.start + sample}, position {store.positions[position]}"
        )
    return rows.astype(np.float64)
