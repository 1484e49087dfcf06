"""Keys and values in place: what attention sees is what a cache that grows would show it."""

import pytest
import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer, LinearAttentionLayer

from tests.doubles import FAMILIES, Held, tiny_model, without_numbers
from traces.models import cache
from traces.models.cache import FixedLayer, cache_of

PROMPT, COLUMNS = 11, 24


def states(rows, n, seed):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(rows, 2, n, 4, generator=generator) for _ in range(2))


@pytest.mark.parametrize("window", [None, 3, PROMPT, COLUMNS + 1])
def test_a_layer_shows_what_one_that_grows_would(window):
    grown = DynamicLayer() if window is None else DynamicSlidingWindowLayer(window)
    fixed = FixedLayer(COLUMNS, window)
    for step, n in enumerate([PROMPT] + [1] * (COLUMNS - PROMPT)):
        assert fixed.get_mask_sizes(n) == tuple(grown.get_mask_sizes(n))
        new = states(5, n, step)
        for one, two in zip(fixed.update(*new), grown.update(*new), strict=True):
            assert (one == two).all() and one.shape == two.shape
        assert fixed.get_seq_length() == grown.get_seq_length()
    assert fixed.is_sliding == grown.is_sliding


@pytest.mark.parametrize("left", [[0, 1, 2, 3, 4], [4, 1, 3], [0, 4], [2]])
@pytest.mark.parametrize("window", [None, 3])
def test_texts_that_are_left_keep_their_own(window, left):
    grown = DynamicLayer() if window is None else DynamicSlidingWindowLayer(window)
    fixed, rows = FixedLayer(COLUMNS, window), torch.tensor(left)
    for layer in (fixed, grown):
        layer.update(*states(5, PROMPT, 0))
        layer.reorder_cache(rows)
    new = states(len(left), 1, 1)
    for one, two in zip(fixed.update(*new), grown.update(*new), strict=True):
        assert (one == two).all() and one.shape == two.shape


def test_all_memory_is_taken_in_the_first_pass():
    layer = FixedLayer(COLUMNS)
    layer.update(*states(5, PROMPT, 0))
    held = [layer.keys.data_ptr(), layer.values.data_ptr()]
    assert layer.keys.shape == layer.values.shape == (5, 2, COLUMNS, 4)
    layer.reorder_cache(torch.tensor([4, 1]))
    layer.update(*states(2, 1, 1))
    assert [layer.keys.data_ptr(), layer.values.data_ptr()] == held


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_writes_the_same_numbers_with_either_cache(family):
    model = tiny_model(family)
    grown, fixed = DynamicCache(config=model.config), cache_of(model, COLUMNS)
    ids = torch.randint(4, 128, (3, COLUMNS), generator=torch.Generator().manual_seed(0))
    real = torch.ones_like(ids)
    real[1, :5] = 0
    windows = [layer.window for layer in fixed.layers]
    assert (8 in windows) == family.startswith("gemma") and None in windows
    start = 0
    for end in range(PROMPT, COLUMNS + 1):
        found = [
            model(input_ids=ids[:, start:end], attention_mask=real[:, :end], past_key_values=one)
            for one in (grown, fixed)
        ]
        assert (found[0].logits == found[1].logits).all()
        start = end


def test_layers_of_another_kind_are_the_librarys(monkeypatch):
    kinds = [DynamicLayer(), LinearAttentionLayer(), DynamicSlidingWindowLayer(7)]

    class Mixed:
        def __init__(self, config):
            self.layers = [*kinds]

    monkeypatch.setattr(cache, "DynamicCache", Mixed)
    full, linear, sliding = cache_of(tiny_model("llama"), COLUMNS).layers
    assert (full.window, sliding.window, sliding.is_sliding) == (None, 7, True)
    assert linear is kinds[1]
    for one in (full, linear, sliding):  # texts can be left out of all of them
        one.reorder_cache(torch.tensor([2, 1]))


def made_by_a_step(shape, layers, texts, columns, kind):
    """Bytes of new tensors in one step of a model in bfloat16, when `columns` are filled."""
    with without_numbers(shape, layers) as model:
        held = (
            cache_of(model, columns + 1) if kind == "fixed" else DynamicCache(config=model.config)
        )
        for layer in held.layers:
            layer.update(*(torch.empty(texts, 8, columns, 128, dtype=torch.bfloat16),) * 2)
        with torch.inference_mode(), Held() as counted:
            model(
                input_ids=torch.zeros(texts, 1, dtype=torch.long),
                attention_mask=torch.ones(texts, columns + 1, dtype=torch.long),
                position_ids=torch.full((texts, 1), columns),
                past_key_values=held,
                logits_to_keep=1,
            )
        return counted.made


def test_a_step_at_real_shape_copies_no_keys():
    texts, columns = 750, 300
    layer = 2 * texts * 8 * (columns + 1) * 128 * 2
    fixed, growing = (
        made_by_a_step("Qwen3 1.7B", 2, texts, columns, kind)
        - made_by_a_step("Qwen3 1.7B", 1, texts, columns, kind)
        for kind in ("fixed", "growing")
    )
    assert fixed < layer / 5
    assert growing == pytest.approx(fixed + layer, rel=0.01)
