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
    windows, batch = _windows(texts, batch_tokens)
    read = residual_stream(
        model, windows, layers=layers, positions=positions, batch=batch, pad_id=0
    )
    return (resid for resid, _ in read)


def norms(
    model: object, texts: Sequence[list[int]], layers: Sequence[int], skip: int, batch_tokens: int
) -> np.ndarray:
    """Read the residual-stream norm, [layer]."""
    windows, batch = _windows(texts, batch_tokens)
    return stream_norm(model, windows, layers=layers, skip=skip, batch=batch)


def _windows(texts: Sequence[list[int]], batch_tokens: int) -> tuple[list[Window], int]:
    return [Window(ids, 0) for ids in texts], max(1, batch_tokens // len(texts[0]))
