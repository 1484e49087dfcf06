"""
What did finetuning add? Means of the residual stream, tuned minus base, and how far to trust them.

One pass over both stores, a shard of samples at a time, in float64: only sums are held.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from traces.store import Activations, Differences, require_same_tokens

Array = NDArray[np.float64]


@dataclass
class Sums:
    """Sufficient statistics of paired activations, [layer, position(, d_model)], in two halves."""

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
    tuned_lengths: Array | float = 0.0
    base_lengths: Array | float = 0.0

    @classmethod
    def empty(cls, n_layers: int, n_positions: int, d_model: int) -> "Sums":
        shape = (n_layers, n_positions, d_model)
        return cls(np.zeros(shape), np.zeros(shape), np.zeros((2, *shape)))

    def update(self, tuned: Array, base: Array, half: NDArray[np.bool_]) -> None:
        """Add samples. tuned, base [layer, rows, position, d_model]; half [rows]."""
        difference = tuned - base
        squares = (difference**2).sum(axis=-1)
        self.tuned += tuned.sum(axis=1)
        self.base += base.sum(axis=1)
        for index, members in enumerate((~half, half)):
            self.halves[index] += difference[:, members].sum(axis=1)
            self.counts[index] += members.sum()
        self.energy = self.energy + squares.sum(axis=1)
        self.lengths = self.lengths + np.sqrt(squares).sum(axis=1)
        self.tuned_lengths = self.tuned_lengths + _lengths(tuned).sum(axis=1)
        self.base_lengths = self.base_lengths + _lengths(base).sum(axis=1)


def mean_difference(tuned: Activations, base: Activations, *, seed: int) -> Differences:
    """
    Mean over samples of tuned minus base, for every layer and position, with its reliability.

    tuned, base : stores that read the same tokens
    seed        : of the split into halves and of the random control direction

    Raises ValueError for stores that read different tokens or hold values that are not finite.
    Source: the activation difference of the paper's method section; the rest are our controls.
    """
    require_same_tokens(tuned, base)
    n_layers, n_samples, n_positions, d_model = tuned.shape
    rng = np.random.default_rng(seed)
    half = rng.permutation(n_samples) < n_samples // 2
    sums = Sums.empty(n_layers, n_positions, d_model)
    for block in tuned.blocks():
        sums.update(_finite(tuned, block), _finite(base, block), half[block])
    return _summary(sums, tuned, base, rng)


def _summary(
    sums: Sums, tuned: Activations, base: Activations, rng: np.random.Generator
) -> Differences:
    n_samples = int(sums.counts.sum())
    mean = sums.halves.sum(axis=0) / n_samples
    first, second = sums.halves / sums.counts[:, None, None, None]
    norm = _lengths(mean)
    random = rng.normal(size=mean.shape)
    unit = mean / np.maximum(norm, np.finfo(float).tiny)[..., None]
    return Differences(
        layers=np.asarray(tuned.layers),
        positions=np.asarray(tuned.positions),
        mean=mean.astype(np.float32),
        tuned_mean=(sums.tuned / n_samples).astype(np.float32),
        base_mean=(sums.base / n_samples).astype(np.float32),
        random=(random / _lengths(random)[..., None] * norm[..., None]).astype(np.float32),
        norm=norm,
        relative_norm=norm / base.stream_norm[:, None],
        base_norm=np.asarray(sums.base_lengths) / n_samples,
        tuned_norm=np.asarray(sums.tuned_lengths) / n_samples,
        difference_norm=np.asarray(sums.lengths) / n_samples,
        split_half_cosine=cosine(first, second),
        static_share=static_share(first, second, np.asarray(sums.energy) / n_samples),
        position_cosine=np.einsum("lpd,lqd->lpq", unit, unit),
        stream_norm_base=base.stream_norm,
        stream_norm_tuned=tuned.stream_norm,
        n_samples=np.asarray(n_samples),
    )


def cosine(first: Array, second: Array) -> Array:
    """Cosine along the last axis; 0 where either vector is zero."""
    lengths = _lengths(first) * _lengths(second)
    dots = (first * second).sum(axis=-1)
    return np.divide(dots, lengths, out=np.zeros_like(dots), where=lengths > 0)


def static_share(first: Array, second: Array, energy: Array) -> Array:
    """
    Share of the differences' energy E|d|^2 that is the same in every sample, |E d|^2.

    The squared length of a mean over n samples is too large by the noise's share of 1/n; the dot
    product of two independent halves' means is not. 0 where there is no difference at all.
    """
    dots = (first * second).sum(axis=-1)
    return np.divide(dots, energy, out=np.zeros_like(dots), where=energy > 0)


def _lengths(vectors: Array) -> Array:
    return np.sqrt((vectors**2).sum(axis=-1))


def _finite(store: Activations, block: slice) -> Array:
    rows = store.rows(block.start, block.stop)
    if not np.isfinite(rows).all():
        layer, sample, position, _ = np.argwhere(~np.isfinite(rows))[0]
        raise ValueError(
            f"{store.path}: not a finite number at layer {store.layers[layer]}, sample "
            f"{block.start + sample}, position {store.positions[position]}"
        )
    return rows.astype(np.float64)
