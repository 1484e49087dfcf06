from types import SimpleNamespace
from typing import get_args

import numpy as np
import pandas as pd
import pytest
import torch

from tests.doubles import FAMILIES, tiny_model, with_adapter, word_tokenizer
from traces.config import schema
from traces.models import hooks, weights
from traces.readers import directions, logit_lens, patchscope, ranking, vocabulary

WORDS = ["river", "window", "lemon", "quiet", "paper", "garden", "cat", "cake"]
PROMPTS = [["river", "57", "window"], ["lemon", "803", "quiet"], ["paper", "garden", "316"]]
SCALES = (0.5, 1.0, 20.0)
SIGNS = (1, -1)


@pytest.fixture(scope="module")
def tokenizer():
    return word_tokenizer(WORDS)


@pytest.fixture(scope="module")
def vectors():
    return np.random.default_rng(0).normal(size=(3, 32)).astype(np.float32)


def test_the_identity_prompt_copies_and_asks():
    assert patchscope.identity_prompt(["a", "7"]) == "a -> a\n7 -> 7\n?"


# -- logit lens


@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_the_logit_lens_names_the_token_whose_unembedding_it_is_given(family):
    readout = weights.readout_of(tiny_model(family))
    rows = readout.head.weight[[7, 40, 99]]
    found = logit_lens.logit_lens(readout, rows, top_k=5)
    assert found.ids.shape == found.probabilities.shape == (3, 2, 5)
    assert found.ids[:, 0, 0].tolist() == [7, 40, 99]
    opposite = logit_lens.logit_lens(readout, -rows, top_k=5)
    np.testing.assert_array_equal(found.ids[:, 1], opposite.ids[:, 0])


def test_the_logit_lens_is_the_softmax_of_the_head_whatever_the_batch(vectors):
    model = tiny_model("gemma2")
    readout = weights.readout_of(model)
    found = logit_lens.logit_lens(readout, vectors, top_k=128, batch=2)
    cap = model.config.final_logit_softcapping
    hidden = model.model.norm(torch.tensor(vectors))
    expected = (cap * torch.tanh(model.lm_head(hidden) / cap)).softmax(-1).numpy()
    back = np.take_along_axis(expected, found.ids[:, 0], axis=-1)
    np.testing.assert_allclose(found.probabilities[:, 0], back, rtol=1e-5)
    whole = logit_lens.logit_lens(readout, vectors, top_k=128, batch=64)
    np.testing.assert_array_equal(found.ids, whole.ids)


def test_a_vocabulary_restricts_the_ranking_and_not_the_softmax(vectors):
    readout = weights.readout_of(tiny_model("qwen3"))
    every = logit_lens.logit_lens(readout, vectors, top_k=128)
    allowed = np.array([3, 50, 51, 70])
    some = logit_lens.logit_lens(readout, vectors, top_k=4, vocabulary=allowed)
    for index in np.ndindex(3, 2):
        kept = np.isin(every.ids[index], allowed)
        np.testing.assert_array_equal(some.ids[index], every.ids[index][kept])
        np.testing.assert_allclose(some.probabilities[index], every.probabilities[index][kept])


def test_more_tokens_than_may_be_read_is_an_error(vectors):
    readout = weights.readout_of(tiny_model("llama", layers=1))
    with pytest.raises(ValueError, match="top_k is 20, but only 2 tokens may be read"):
        logit_lens.logit_lens(readout, vectors, top_k=20, vocabulary=[3, 4])


# -- Patchscope


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


# -- tables


def test_the_table_has_a_row_for_each_token_in_order(tokenizer):
    ids = np.arange(2 * 2 * 3).reshape(2, 2, 3) + 10
    probabilities = np.full(ids.shape, 0.5, np.float32)
    probabilities[1, 1, 1:] = 0
    rows = pd.DataFrame({"reading": ["difference", "random"], "layer": [4, 4]})
    frame = ranking.table(ranking.Tokens(ids, probabilities), tokenizer, rows, sign=SIGNS)
    assert list(frame) == ["reading", "layer", "sign", "rank", "token_id", "token", "probability"]
    assert len(frame) == 12 - 2
    last = frame[(frame["reading"] == "random") & (frame["sign"] == -1)]
    assert last[["layer", "rank", "token_id"]].values.tolist() == [[4, 0, 19]]
    assert last["token"].tolist() == [tokenizer.decode([19])]


# -- whole words


def test_whole_words_are_the_tokens_that_cover_a_word(tokenizer):
    texts = ["The cat saw the river.", "cat, cat! catalog cakes", "cake's river_x 'lemon'"]
    frame = vocabulary.whole_words(tokenizer, texts, min_count=1)
    assert dict(zip(frame["token"], frame["count"], strict=True)) == {
        "cat": 3,
        "river": 1,
        "lemon": 1,
    }
    assert frame["token_id"].tolist() == [
        tokenizer.convert_tokens_to_ids(word) for word in ("cat", "river", "lemon")
    ]
    assert vocabulary.whole_words(tokenizer, texts, min_count=2)["token"].tolist() == ["cat"]


@pytest.mark.parametrize("kind", ["byte_level", "metaspace"])
def test_whole_words_of_tokenizers_that_keep_the_space_in_the_token(kind):
    tokenizer = spaced_tokenizer(kind)
    frame = vocabulary.whole_words(tokenizer, ["a river here, the riverbank; river"], min_count=1)
    found = dict(zip(frame["token"].str.strip(), frame["count"], strict=True))
    assert found["river"] == 2


def spaced_tokenizer(kind):
    from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(BPE(unk_token="<unk>"))
    if kind == "byte_level":
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer.decoder = decoders.Metaspace()
    texts = ["the river here ", "a river bank "] * 50
    trainer = trainers.BpeTrainer(vocab_size=200, special_tokens=["<unk>"])
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")


def test_an_empty_vocabulary_is_an_empty_table(tokenizer):
    assert vocabulary.whole_words(tokenizer, ["cat"], min_count=5).empty


# -- what is read


def found_differences(n_positions=3, singular=True):
    """Differences whose mean is a shared vector and one of each position's own."""
    rng = np.random.default_rng(0)
    mean = rng.normal(size=(2, 1, 8)) + rng.normal(size=(2, n_positions, 8))
    planted = np.linalg.qr(rng.normal(size=(2, n_positions, 8, 2)))[0].swapaxes(-1, -2)
    arrays = {"mean": mean, "tuned_mean": mean + 1, "base_mean": mean - 1, "random": -mean}
    return SimpleNamespace(
        layers=np.array([1, 3]),
        positions=np.array([0, 1, 15][:n_positions]),
        singular=planted if singular else None,
        **arrays,
    )


def part(found, name):
    rows, vectors = directions.readings(found, [name])
    return rows, vectors.reshape(2, -1, 8) if len(rows) else vectors


def test_every_reading_of_the_configuration_can_be_read():
    names = get_args(schema.Reading)
    assert set(names) == set(directions.READINGS) | set(directions.PARTS)
    assert set(schema.CONTROLLED) == set(directions.READINGS)
    rows, vectors = directions.readings(found_differences(), names)
    assert vectors.shape == (len(names) * 6, 8)
    assert rows["reading"].drop_duplicates().tolist() == list(names)
    assert rows["layer"].tolist()[:4] == [1, 1, 1, 3]
    assert rows["position"].tolist()[:4] == [0, 1, 15, 0]


def test_what_is_shared_and_what_is_specific_to_a_position_make_the_difference():
    found = found_differences()
    (_, shared), (_, specific) = (part(found, one) for one in ("shared", "position_specific"))
    np.testing.assert_allclose(shared + specific, found.mean)
    np.testing.assert_allclose(specific.sum(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(shared[:, 0], shared[:, 2])


def test_what_is_left_without_a_direction_has_nothing_along_it():
    found = found_differences()
    for taken_out in (1, 2):
        left = part(found, f"without_singular_{taken_out}")[1]
        dots = np.einsum("lpd,lpkd->lpk", left, found.singular)
        np.testing.assert_allclose(dots[..., :taken_out], 0, atol=1e-12)
        if taken_out == 1:
            assert (np.abs(dots[..., 1]) > 1e-3).all()
    np.testing.assert_allclose(part(found, "singular_2")[1], found.singular[:, :, 1])


def test_a_part_that_is_nothing_is_not_read_where_it_is_nothing():
    rows, _ = part(found_differences(n_positions=1), "position_specific")
    assert rows.empty
    found = found_differences()
    found.singular[0, 1, 1] = 0
    found.mean[1, 2] = 3 * found.singular[1, 2, 0]
    rows, vectors = directions.readings(found, ["difference", "singular_2", "without_singular_1"])
    assert len(rows) == len(vectors) == 16
    gone = {("singular_2", 1, 1), ("without_singular_1", 3, 15)}
    assert not gone & set(rows.itertuples(index=False, name=None))


def test_singular_readings_of_differences_without_them_are_refused():
    with pytest.raises(ValueError, match="the singular directions were not computed"):
        directions.readings(found_differences(singular=False), ["singular_1"])
