"""Steered text on tiny random models, and the search for a strength with a planted truth."""

import math
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.doubles import tiny_model, with_adapter, word_tokenizer
from traces.config.registries import Sampler
from traces.corpora.tokens import tokenize_prompt
from traces.interventions.steering import requests, writing
from traces.interventions.steering.requests import Choice, Request, trial
from traces.interventions.steering.writing import Writer
from traces.models import draws, generation, hooks, likelihood, weights

WORDS = ["river", "window", "lemon", "quiet", "paper", "garden", "cat", "cake", "talk", "about"]
PROMPTS = ["talk about", "the quiet river, paper and a garden?"]
POSITIONS = [0, 3]
LAYER = 3


@pytest.fixture(scope="module")
def tokenizer():
    made = word_tokenizer([*WORDS, "user", "assistant"])
    made.chat_template = (
        "{{ bos_token }}{% for message in messages %}{{ message['role'] + ' ! ' + "
        "message['content'] }}{% endfor %}{% if add_generation_prompt %} assistant ! {% endif %}"
    )
    return made


@pytest.fixture(scope="module")
def pair(tokenizer):
    return weights.Pair(with_adapter(tiny_model("llama", vocab=len(tokenizer))))


@pytest.fixture(scope="module")
def vectors():
    rng = np.random.default_rng(0)
    names = [(vector, position) for vector in ("difference", "random") for position in POSITIONS]
    return {name: 3 * rng.normal(size=32).astype(np.float32) for name in names}


def writer(pair, tokenizer, vectors, **changes):
    plain = dict(
        layer=LAYER, max_new_tokens=8, sampler=Sampler(temperature=1), seed=0, name="one", batch=100
    )
    return Writer(pair, tokenizer, vectors, **plain | changes)


def difference(strength, position=0, **more):
    return Request("tuned", "difference", position, strength, PROMPTS[0], 0, **more)


# -- writing


@torch.no_grad()
def straightforward(pair, tokenizer, vectors, request, *, name="one", seed=0, new=8):
    """One text alone: the whole sequence again for every token, no cache, no padding."""
    with pair.tuned() if request.steered_model == "tuned" else pair.base() as model:
        ids = tokenize_prompt(tokenizer, request.prompt)
        start, block = len(ids), hooks.decoder_layers(model)[LAYER]
        push = torch.zeros(32)
        if request.position is not None:
            push = torch.tensor(vectors[request.vector, request.position]) * request.strength
        draw = draws.Draw.named(seed, name, request.prompt, request.sample)
        noise = draws.Noise([draw])
        for _ in range(new):
            with hooks.added(block, push):
                logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[:, -1]
            ids = [*ids, int(noise(logits).argmax())]
            if ids[-1] == tokenizer.eos_token_id:
                break
    return tokenizer.decode(ids[start:], skip_special_tokens=True).strip(), len(ids) - start


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma3"])
def test_a_batch_writes_what_each_text_alone_would_be(family, tokenizer, vectors):
    pair = weights.Pair(with_adapter(tiny_model(family, vocab=len(tokenizer))))
    wanted = trial(POSITIONS, [0.3, 2.0], PROMPTS, 2)
    found = writer(pair, tokenizer, vectors, batch=37)(wanted)
    assert len({row["text"] for row in found}) > len(found) / 4
    for request, row in list(zip(wanted, found, strict=True))[::11]:
        truth = straightforward(pair, tokenizer, vectors, request)
        assert (row["text"], row["n_tokens"]) == truth, request


@pytest.mark.parametrize("model", ["tuned", "base"])
def test_strength_0_is_token_for_token_the_unsteered_sample(model, pair, tokenizer, vectors):
    plain = requests.unsteered(model, PROMPTS, 4)
    pushed = [Request(model, "difference", 3, 0.0, one.prompt, one.sample) for one in plain]
    far = [Request(model, "difference", 3, 5.0, one.prompt, one.sample) for one in plain]
    rows = writer(pair, tokenizer, vectors)([*plain, *far, *pushed])
    texts = [(row["text"], row["n_tokens"], row["nll"]) for row in rows]
    assert texts[:8] == texts[16:]
    assert texts[:8] != texts[8:16]


def test_both_models_remember_what_there_was_no_room_for(pair, tokenizer, vectors, monkeypatch):
    wanted = [one for kind in requests.MODELS for one in requests.unsteered(kind, PROMPTS, 5)]
    whole, write = writer(pair, tokenizer, vectors)(wanted), generation._Writing.to_the_end
    sizes = []

    def cramped(batch, *more):
        sizes.append(len(batch.rows))
        if len(batch.rows) > 3:
            raise torch.OutOfMemoryError
        return write(batch, *more)

    monkeypatch.setattr(generation._Writing, "to_the_end", cramped)
    assert writer(pair, tokenizer, vectors)(wanted) == whole
    assert sizes == [10, 5, 2, 2, 3, 3, 2, 2, 3, 3]


def test_a_direction_of_a_word_is_written_as_that_word(tokenizer):
    model = tiny_model("llama", vocab=len(tokenizer))
    word = tokenizer.convert_tokens_to_ids("cake")
    row = model.lm_head.weight[word].numpy()
    pair = weights.Pair(model, model)
    planted = {("difference", 0): row / np.linalg.norm(row) * 50}
    write = writer(pair, tokenizer, planted, layer=5, sampler=Sampler(temperature=0.1))
    assert write([difference(1.0)])[0]["text"] == "cake" * 8


def test_the_base_is_steered_with_the_adapter_off(pair, tokenizer, vectors):
    base = tiny_model("llama", vocab=len(tokenizer))
    wanted = [one for one in trial([3], [0.5], PROMPTS, 2) if one.steered_model == "base"]
    alone = writer(weights.Pair(base, base), tokenizer, vectors)(wanted)
    assert writer(pair, tokenizer, vectors)(wanted) == alone


def test_texts_are_measured_by_the_unsteered_base(pair, tokenizer, vectors):
    found = writer(pair, tokenizer, vectors)(trial([3], [2.0], PROMPTS, 1))
    base = tiny_model("llama", vocab=len(tokenizer))
    for row in found:
        start = tokenize_prompt(tokenizer, row["prompt"])
        new = tokenizer(row["text"], add_special_tokens=False)["input_ids"]
        if len(new) != row["n_tokens"]:
            continue  # letters that the text ran together, or a special token
        logits = base(input_ids=torch.tensor([[*start, *new]])).logits[0, len(start) - 1 : -1]
        truth = torch.nn.functional.cross_entropy(logits, torch.tensor(new)).item()
        assert row["nll"] == pytest.approx(truth, rel=1e-4)
        break
    else:
        pytest.fail("no text survived its decoding")


def test_measures_do_not_depend_on_how_many_tokens_are_measured_at_once(
    pair, tokenizer, vectors, monkeypatch
):
    wanted = trial([3], [2.0], PROMPTS, 3)
    whole = writer(pair, tokenizer, vectors)(wanted)
    for tokens in (1, 40):
        monkeypatch.setattr(likelihood, "AT_ONCE", tokens)
        assert writer(pair, tokenizer, vectors)(wanted) == whole


def test_tokens_after_the_end_are_neither_text_nor_measured(tokenizer, vectors):
    model = tiny_model("llama", vocab=len(tokenizer))
    row = model.lm_head.weight[tokenizer.eos_token_id].numpy()
    planted = {("difference", 0): row / np.linalg.norm(row) * 50}
    write = writer(
        weights.Pair(model, model), tokenizer, planted, layer=5, sampler=Sampler(temperature=0.1)
    )
    (found,) = write([difference(1.0)])
    assert (found["text"], found["n_tokens"]) == ("", 1)
    assert found["nll"] > 0 and found["repetition"] == 0


def test_checkpoints_and_seeds_have_their_own_draws(pair, tokenizer, vectors):
    wanted = requests.unsteered("base", PROMPTS, 4)
    texts = [
        [row["text"] for row in writer(pair, tokenizer, vectors, name=name, seed=seed)(wanted)]
        for name, seed in (("one", 0), ("one", 0), ("two", 0), ("one", 1))
    ]
    assert texts[0] == texts[1]
    assert texts[0] != texts[2] and texts[0] != texts[3]


def test_repetition_is_the_share_of_pairs_seen_before():
    assert writing.repetition([1, 2, 3, 4]) == 0
    assert writing.repetition([7, 7, 7, 7, 7]) == 0.75
    assert writing.repetition([1]) == writing.repetition([]) == 0


# -- what is added


def found_differences(mean):
    return SimpleNamespace(
        positions=np.arange(len(mean)), mean=mean[None], stream_norm_tuned=np.array([4.0])
    )


def test_vectors_are_as_long_as_the_stream_and_point_along_the_difference():
    mean = np.random.default_rng(0).normal(size=(5, 16)).astype(np.float32)
    found = writing.vectors(found_differences(mean), [1, 4], seed=0, name="a")
    assert set(found) == {(v, p) for v in ("difference", "random") for p in (1, 4)}
    for (vector, position), one in found.items():
        assert np.linalg.norm(one) == pytest.approx(4.0, rel=1e-5)
        cosine = one @ mean[position] / np.linalg.norm(mean[position]) / 4
        assert (cosine > 0.999) == (vector == "difference")
    other = writing.vectors(found_differences(mean), [1, 4], seed=0, name="b")
    assert (other["difference", 1] == found["difference", 1]).all()
    assert (other["random", 1] != found["random", 1]).any()
    assert (found["random", 1] != found["random", 4]).any()


def test_a_position_that_was_not_read_and_an_empty_difference_are_refused():
    mean = np.zeros((2, 16), np.float32)
    with pytest.raises(ValueError, match="steering.positions: found 7"):
        writing.vectors(found_differences(mean), [7], seed=0, name="a")
    with pytest.raises(ValueError, match="position 1: a difference of length 0.0 has no direction"):
        writing.vectors(found_differences(mean), [1], seed=0, name="a")


# -- the plan


def test_the_grid_has_every_strength_and_the_unsteered_text_once():
    wanted = trial(range(5), [0.5, 1.0], PROMPTS, 3)
    kinds = Counter((one.steered_model, one.vector) for one in wanted)
    steered, plain = 5 * 2 * 2 * 3, 5 * 2 * 3
    assert kinds == {
        (model, vector): n
        for model in ("tuned", "base")
        for vector, n in (("difference", steered), ("none", plain))
    }
    assert len(set(wanted)) == len(wanted)
    draws = [
        {(one.prompt, one.sample) for one in wanted if one.strength == s and one.position == p}
        for s, p in ((0.5, 0), (1.0, 0), (0.5, 1), (0.0, None))
    ]
    assert draws[0] == draws[1] and not draws[0] & draws[2]
    assert draws[0] | draws[2] < draws[3]


def test_one_position_is_judged_against_more_than_its_own_draws():
    kinds = Counter(one.vector for one in trial([7], [0.5], PROMPTS, 3))
    assert kinds == {"difference": 2 * 2 * 3, "none": requests.REFERENCES * 2 * 2 * 3}


def test_the_samples_hold_a_random_direction_at_the_same_strengths():
    chosen = [
        Choice(model, position, 0.1 * position + 0.2, 1.0, True, 3)
        for model in ("tuned", "base")
        for position in POSITIONS
    ]
    wanted = requests.final(chosen, PROMPTS, 5)
    by_vector = {
        vector: [one for one in wanted if one.vector == vector]
        for vector in ("difference", "random", "none")
    }
    assert [replace(one, vector="random") for one in by_vector["difference"]] == by_vector["random"]
    assert {(one.steered_model, one.position, one.strength) for one in by_vector["random"]} == {
        (one.steered_model, one.position, one.strength) for one in chosen
    }
    # every position has draws of its own, and unsteered text has all of them
    draws = {
        vector: sorted((one.steered_model, one.prompt, one.sample) for one in some)
        for vector, some in by_vector.items()
    }
    assert draws["difference"] == draws["none"]
    assert len(set(draws["none"])) == len(draws["none"]) == 2 * 2 * 2 * 5


@pytest.mark.parametrize("size", [1, 7, 12, 100])
def test_batches_are_as_few_as_can_be_and_hold_every_request_once(size):
    wanted = trial([0], [0.5, 1.0], ["a"], 2)
    parts = list(requests.batches(wanted, size))
    assert sorted(map(repr, wanted)) == sorted(repr(one) for _, part in parts for one in part)
    assert all(len(part) <= size for _, part in parts)
    assert all(one.steered_model == model for model, part in parts for one in part)
    assert len(parts) == 2 * math.ceil(len(wanted) / 2 / size)
    assert requests.decode_steps(wanted, size, 10) == 10 * len(parts)
