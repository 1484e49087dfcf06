"""How the check reads the residual stream: the one place that says how it is batched."""

from collections.abc import Iterator, Sequence

import numpy as np
from torch import Tensor

from traces.activations.dump import Window, residual_stream, stream_norm


def streams(
    model: object,
    texts: Sequence[list[int]],
    layers: Sequence[int],
    positions: Sequence[int],
    batch_tokens: int,
) -> Iterator[Tensor]:
    """Yield the residual stream of texts of one length, [layer, rows, position, d_model] a part."""
    options = {"layers": layers, "positions": positions, "batch_tokens": batch_tokens}
    return (resid for resid, _ in residual_stream(model, _windows(texts), **options, pad_id=0))


def norms(
    model: object, texts: Sequence[list[int]], layers: Sequence[int], skip: int, batch_tokens: int
) -> np.ndarray:
    """Read the residual-stream norm, [layer]."""
    windows = _windows(texts)
    return stream_norm(model, windows, layers=layers, skip=skip, batch_tokens=batch_tokens)


def _windows(texts: Sequence[list[int]]) -> list[Window]:
    return [Window(ids, 0) for ids in texts]
