"""
A key-value cache of a known size: all of its memory is taken in the first pass.

transformers' own cache for writing concatenates: every step copies all keys and values. Its static
cache copies nothing, and attention then reads every place, filled or not. Here a step writes the
new token in place, and attention gets a view of the places that are filled.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer


def cache_of(model: Any, columns: int) -> DynamicCache:
    """
    An empty cache for `columns` tokens a text, the filling before prompts among them.

    A layer that keeps something other than keys and values is the library's own.
    """
    cache = DynamicCache(config=model.config)
    for index, layer in enumerate(cache.layers):
        if type(layer) in (DynamicLayer, DynamicSlidingWindowLayer):
            cache.layers[index] = FixedLayer(columns, getattr(layer, "sliding_window", None))
    return cache


class FixedLayer(DynamicLayer):
    """
    Keys and values of one layer, [text, head, column, head_dim], in place.

    columns : tokens that there is room for
    window  : tokens that a token sees, itself among them; None for all before it. All are held,
              and attention gets the view of those that the next tokens see.
    """

    keys: Any
    values: Any

    def __init__(self, columns: int, window: int | None = None) -> None:
        super().__init__()
        self.columns, self.window = columns, window
        # transformers looks here for a layer that has a mask of its own
        self.is_sliding = window is not None
        self.filled = self.texts = 0

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.dtype, self.device = key_states.dtype, key_states.device
        self.texts = len(key_states)
        self.keys, self.values = (
            one.new_empty((*one.shape[:2], self.columns, one.shape[-1]))
            for one in (key_states, value_states)
        )
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Hold the new tokens, and give all that they see."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        seen, start = self.get_mask_sizes(key_states.shape[-2])
        new, self.filled = slice(self.filled, start + seen), start + seen
        self.keys[: self.texts, :, new] = key_states
        self.values[: self.texts, :, new] = value_states
        read = slice(start, self.filled)
        return self.keys[: self.texts, :, read], self.values[: self.texts, :, read]

    def get_seq_length(self) -> int:
        return self.filled

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """How many columns `query_length` new tokens see together, and the first of them."""
        start = 0 if self.window is None else max(0, self.filled + 1 - self.window)
        return self.filled + query_length - start, start

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """
        Go on with the texts of these rows, in this order, in the memory there is.

        beam_idx : [text], on the CPU. Only rows whose place changes are copied.
        """
        if self.is_initialized:
            moved = (beam_idx != torch.arange(len(beam_idx))).nonzero().squeeze(-1)
            to, source = (one.to(self.keys.device) for one in (moved, beam_idx[moved]))
            for held in (self.keys, self.values):
                held[to, :, : self.filled] = held[source, :, : self.filled]
        self.texts = len(beam_idx)
