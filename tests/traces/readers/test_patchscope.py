"""Patchscope equals the whole forward pass, whatever the batch."""

import numpy as np
import pytest
import torch

from tests.doubles import FAMILIES, tiny_model, with_adapter
from traces.models import hooks
from traces.readers import patchscope

WORDS = ["river", "window", "lemon", "quiet", "paper", "garden", "cat", "cake"]
PROMPTS = [["river", "57", "window"], ["lemon", "803", "quiet"], ["paper", "garden", "316"]]
SCALES = (0.5, 1.0, 20.0)
SIGNS = (1, -1)


def test_the_identity_prompt_copies_and_asks():
    assert patchscope.identity_prompt(["a", "7"]) == "a -> a\n7 -> 7\n?"


@torch.no_grad()
def straightforward(model, tokenizer, vectors, layer, norm, intersection_top_k):
    """Every prompt whole, for every vector, sign and scale: [n, sign, scale, vocabulary]."""
    block = hooks.decoder_layers(model)[layer]
    scores = []
    for vector in torch.tensor(vectors):
        for sign in SIGNS:
            for scale in SCALES:
                written = sign * scale * norm * vector / vector.norm()
                each = []
                for words in PROMPTS:
                    ids = torch.tensor([tokenizer(patchscope.identity_prompt(words))["input_ids"]])
                    with hooks.replaced(block, written, slice(-1, None)):
                        each.append(model(ids, use_cache=False).logits[0, -1].softmax(-1))
                each = torch.stack(each)
                first = each.topk(intersection_top_k, dim=-1).indices
                common = torch.zeros_like(each).scatter(-1, first, 1).all(dim=0)
                scores.append(each.mean(0) * common)
    return torch.stack(scores).view(len(vectors), len(SIGNS), len(SCALES), -1).numpy()


@pytest.mark.parametrize("adapted", [False, True], ids=["base", "adapted"])
@pytest.mark.parametrize("layer", [0, 2, 5])
@pytest.mark.parametrize("family", FAMILIES)
def test_patchscope_equals_the_whole_forward_pass(family, layer, adapted, tokenizer, vectors):
    model = tiny_model(family)
    model = with_adapter(model) if adapted else model
    expected = straightforward(model, tokenizer, vectors, layer, 3.0, 100)
    found = patchscope.patchscope(
        model,
        tokenizer,
        vectors,
        layer=layer,
        norm=3.0,
        prompts=PROMPTS,
        scales=SCALES,
        signs=SIGNS,
        top_k=20,
        intersection_top_k=100,
        batch=7,
    )
    order = np.argsort(-expected, axis=-1, kind="stable")[..., :20]
    np.testing.assert_array_equal(found.ids, order)
    best = np.take_along_axis(expected, order, axis=-1)
    np.testing.assert_allclose(found.probabilities, best, atol=1e-4)
    assert len(np.unique(found.ids[..., 0])) > 3  # the rows do differ


def test_a_prompt_longer_than_the_sliding_window_is_tested(tokenizer):
    ids = tokenizer(patchscope.identity_prompt(PROMPTS[0]))["input_ids"]
    assert len(ids) > tiny_model("gemma2").config.sliding_window + 1


def options(**changed):
    plain = dict(layer=2, norm=3.0, prompts=PROMPTS, scales=SCALES, intersection_top_k=100)
    return plain | changed


def test_patchscope_does_not_depend_on_the_batch_and_leaves_the_model(tokenizer, vectors):
    model = tiny_model("gemma3")
    ids = torch.arange(4, 24)[None]
    before = model(ids).logits
    one = patchscope.patchscope(model, tokenizer, vectors, **options(batch=1))
    many = patchscope.patchscope(model, tokenizer, vectors, **options(batch=64))
    np.testing.assert_array_equal(one.ids, many.ids)
    np.testing.assert_allclose(one.probabilities, many.probabilities, atol=1e-6)
    assert torch.equal(model(ids).logits, before)


def test_only_the_direction_counts_and_the_sign_turns_it(tokenizer, vectors):
    model = tiny_model("llama")
    found = patchscope.patchscope(model, tokenizer, vectors, **options())
    longer = patchscope.patchscope(model, tokenizer, -100 * vectors, **options(scales=[0.5, 1, 20]))
    np.testing.assert_array_equal(found.ids, longer.ids[:, ::-1])


def test_tokens_outside_the_intersection_or_the_vocabulary_are_not_read(tokenizer, vectors):
    model = tiny_model("qwen2")
    few = patchscope.patchscope(model, tokenizer, vectors, **options(intersection_top_k=10))
    assert ((few.probabilities > 0).sum(-1) <= 10).all()
    allowed = np.arange(40, 80)
    some = patchscope.patchscope(model, tokenizer, vectors, **options(vocabulary=allowed))
    assert np.isin(some.ids, allowed).all()
    every = patchscope.patchscope(model, tokenizer, vectors, **options(top_k=128))
    for index in np.ndindex(3, 2, 3):
        kept = every.ids[index][np.isin(every.ids[index], allowed)][:20]
        present = some.probabilities[index] > 0
        np.testing.assert_array_equal(some.ids[index][present], kept[: present.sum()])


def test_an_adapter_switched_off_is_the_base_model(tokenizer, vectors):
    base = patchscope.patchscope(tiny_model("llama"), tokenizer, vectors, **options())
    model = with_adapter(tiny_model("llama"))
    tuned = patchscope.patchscope(model, tokenizer, vectors, **options())
    with model.disable_adapter():
        off = patchscope.patchscope(model, tokenizer, vectors, **options())
    np.testing.assert_array_equal(off.ids, base.ids)
    assert not np.array_equal(tuned.ids, base.ids)


@pytest.mark.parametrize("bad", [0.0, np.nan])
def test_a_vector_without_direction_is_refused(tokenizer, vectors, bad):
    broken = vectors.copy()
    broken[1] = bad
    with pytest.raises(ValueError, match=r"vectors \[1\] have no direction"):
        patchscope.patchscope(tiny_model("llama"), tokenizer, broken, **options())


def test_half_precision_runs(tokenizer, vectors):
    model = tiny_model("gemma3").to(torch.bfloat16)
    found = patchscope.patchscope(model, tokenizer, vectors, **options())
    assert np.isfinite(found.probabilities).all()
