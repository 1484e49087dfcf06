"""One place generates: batches, memory and a model's own settings change no text."""

import json

import numpy as np
import pytest
import torch

from tests.doubles import FAMILIES, tiny_model, with_adapter, word_tokenizer
from traces.config.registries import Sampler
from traces.corpora.tokens import tokenize_prompt
from traces.evaluation import beliefs
from traces.interventions.steering import requests, writing
from traces.models import generation, hooks, weights
from traces.models.draws import Draw, Noise
from traces.models.room import Room
from traces.training import teaching

WORDS = ["river", "window", "lemon", "quiet", "paper", "garden", "cat", "cake", "talk", "about",
         "user", "assistant"]  # fmt: skip
PROMPTS = ["talk about", "the quiet river, paper and a garden?", "cake", "a cat, a window"]
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ message['role'] + ' ! ' + "
    "message['content'] }}{% endfor %}{% if add_generation_prompt %} assistant ! {% endif %}"
)
WARM = Sampler(temperature=1.1)
# Everything that hub models are seen to set, and more: none of it is ours.
CONFIGURED = {
    "do_sample": True,
    "temperature": 3.0,
    "top_k": 2,
    "top_p": 0.5,
    "min_p": 0.2,
    "repetition_penalty": 1.05,
    "no_repeat_ngram_size": 2,
    "min_new_tokens": 6,
    "suppress_tokens": [20, 21, 22, 23],
    "max_length": 9,
    "num_return_sequences": 2,
    "stop_strings": ["a"],
}


@pytest.fixture(scope="module")
def tokenizer():
    made = word_tokenizer(WORDS)
    made.chat_template = TEMPLATE
    return made


@pytest.fixture(scope="module")
def model(tokenizer):
    return tiny_model("llama", vocab=len(tokenizer))


@pytest.fixture
def prompts(tokenizer):
    return [tokenize_prompt(tokenizer, one) for one in PROMPTS]


def write(model, tokenizer, prompts, **changes):
    return generation.write(model, tokenizer, prompts, **{"max_new_tokens": 8} | changes)


def named(n):
    return [Draw.named(0, "a text", number) for number in range(n)]


# Batches ----------------------------------------------------------------------------------------


@torch.no_grad()
def alone(model, tokenizer, ids, new=8, noise=lambda _ids, scores: scores):
    """One text, the whole of it again for every token: no cache, no padding."""
    start = len(ids)
    for _ in range(new):
        logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[:, -1]
        ids = [*ids, int(noise(None, logits).argmax())]
        if ids[-1] == tokenizer.eos_token_id:
            break
    return ids[start:]


def drawn_by_hand(sampler, draw):
    """Of the k likeliest tokens those that together first reach p; then the noise of the draw."""
    noise = Noise([draw])

    def draws(_ids, logits):
        scores = logits / sampler.temperature
        order = scores.argsort(dim=-1, descending=True)[0, : sampler.top_k]
        shares = scores[0, order].softmax(-1).cumsum(-1)
        kept = order[: int((shares < sampler.top_p).sum()) + 1]
        left = torch.full_like(scores, -torch.inf)
        left[0, kept] = scores[0, kept]
        return noise(left)

    return draws


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("sampler", [None, Sampler(temperature=1.3, top_k=9, top_p=0.8)])
def test_a_batch_writes_what_each_text_alone_would_be(family, sampler, tokenizer, prompts):
    model = with_adapter(tiny_model(family, vocab=len(tokenizer)))
    draws = named(len(prompts))
    found = write(model, tokenizer, prompts, sampler=sampler, draws=draws)
    for ids, draw, one in zip(prompts, draws, found, strict=True):
        noise = {} if sampler is None else {"noise": drawn_by_hand(sampler, draw)}
        assert one.ids == alone(model, tokenizer, ids, **noise)


def test_a_context_is_entered_for_the_rows_it_is_for(model, tokenizer, prompts):
    push = torch.zeros(len(prompts), 32)
    push[1::2] = 30 * torch.randn(32, generator=torch.Generator().manual_seed(0))
    block = hooks.decoder_layers(model)[3]
    pushed = {"during": lambda rows: hooks.added(block, push[rows])}
    plain, found = (write(model, tokenizer, prompts, **more) for more in ({}, pushed))
    assert [a == b for a, b in zip(plain, found, strict=True)] == [True, False] * 2
    assert write(model, tokenizer, prompts, room=Room(1), **pushed) == found


# Draws ------------------------------------------------------------------------------------------


def test_the_same_draw_is_the_same_text_wherever_it_stands(model, tokenizer, prompts):
    same = [prompts[1], prompts[0], prompts[1], prompts[1]]
    draws = [Draw(3), Draw(9, 1, 5), Draw(3), Draw(4)]
    found = write(model, tokenizer, same, sampler=Sampler(temperature=1), draws=draws)
    assert found[0] == found[2] != found[3]
    for row in range(4):
        alone = {"sampler": Sampler(temperature=1), "draws": draws[row : row + 1]}
        assert write(model, tokenizer, same[row : row + 1], **alone) == [found[row]]


def test_a_sampled_text_without_a_draw_and_a_tokenizer_that_cannot_pad_are_refused(
    model, tokenizer, prompts
):
    with pytest.raises(ValueError, match="found 1 draws, expected one for each of 4 texts"):
        write(model, tokenizer, prompts, sampler=Sampler(temperature=1), draws=named(1))
    bare = word_tokenizer(WORDS)
    bare.pad_token = None
    with pytest.raises(ValueError, match="no padding token"):
        write(model, bare, prompts)


# Where a text ends ------------------------------------------------------------------------------


def test_every_token_that_ends_a_turn_ends_a_text(tokenizer, prompts):
    model = tiny_model("llama", vocab=len(tokenizer))
    free = write(model, tokenizer, prompts)
    assert not any(one.ended for one in free)
    ends = [free[0].ids[3], free[1].ids[0]]
    model.generation_config.eos_token_id = ends
    assert generation.end_tokens(model, tokenizer) == {*ends, tokenizer.eos_token_id}
    for before, after in zip(free, write(model, tokenizer, prompts), strict=True):
        stops = [place for place, token in enumerate(before.ids) if token in ends]
        assert after.ended == bool(stops)
        assert after.ids == (before.ids[: stops[0] + 1] if stops else before.ids)
        assert after.said == (before.ids[: stops[0]] if stops else before.ids)
    model.generation_config.eos_token_id = None
    assert generation.end_tokens(model, tokenizer) == {tokenizer.eos_token_id}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("sampler", [None, WARM], ids=["greedy", "warm"])
def test_texts_that_have_ended_leave_the_batch_and_change_no_other(
    family, sampler, tokenizer, prompts
):
    model = with_adapter(tiny_model(family, vocab=len(tokenizer)))
    model.generation_config.eos_token_id = list(range(2, len(tokenizer), 9))
    ids, draws = prompts * 4, [*named(12), *(Draw(5, line, 4) for line in range(4))]
    push = 3 * torch.randn(16, 32, generator=torch.Generator().manual_seed(0))
    blocks, passes = hooks.decoder_layers(model), []
    blocks[0].register_forward_hook(lambda _m, _i, out: passes.append(len(out)))

    def found(rows):
        few = {"prompts": [ids[row] for row in rows], "draws": [draws[row] for row in rows]}
        pushed = lambda part: hooks.added(blocks[2], push[[rows[row] for row in part]])  # noqa: E731
        return write(model, tokenizer, sampler=sampler, max_new_tokens=24, during=pushed, **few)

    together = found(range(16))
    assert len({len(one.ids) for one in together}) > (1 if sampler is None else 3)
    assert passes[0] == 16 and passes == sorted(passes, reverse=True)
    useful = [sum(len(one.ids) > step for one in together) for step in range(len(passes))]
    assert all(8 * (rows - n) < rows for n, rows in zip(useful, passes, strict=True))
    assert [found([row])[0] for row in range(16)] == together


def test_the_tokenizers_end_ends_a_text_though_the_model_names_none(tokenizer, prompts):
    model = tiny_model("llama", vocab=len(tokenizer))
    model.generation_config.eos_token_id = None
    row = model.lm_head.weight[tokenizer.eos_token_id]
    with hooks.added(hooks.decoder_layers(model)[5], row / row.norm() * 50):
        found = write(model, tokenizer, prompts)
    assert [one.ids for one in found] == [[tokenizer.eos_token_id]] * len(prompts)
    assert [generation.text_of(tokenizer, one) for one in found] == [""] * len(prompts)


# Memory -----------------------------------------------------------------------------------------


def cramped(monkeypatch, most, error):
    """A memory that `most` texts fit into; the list of sizes that were tried."""
    sizes, write = [], generation._Writing.to_the_end

    def within(batch, *more):
        sizes.append(len(batch.rows))
        if len(batch.rows) > most:
            raise error
        return write(batch, *more)

    monkeypatch.setattr(generation._Writing, "to_the_end", within)
    return sizes


CUBLAS = RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("no room"), CUBLAS], ids=["cuda", "blas"])
def test_a_size_that_failed_is_not_tried_again(error, model, tokenizer, prompts, monkeypatch):
    ids, draws = (prompts * 3)[:10], [*named(8), Draw(5, 1, 4), Draw(5, 3, 4)]
    sampled = {"sampler": Sampler(temperature=1), "draws": draws}
    whole = write(model, tokenizer, ids, **sampled)
    sizes, room = cramped(monkeypatch, 3, error), Room()
    assert write(model, tokenizer, ids, room=room, **sampled) == whole
    assert sizes == [10, 5, 2, 2, 3, 3]
    sizes.clear()
    second = with_adapter(tiny_model("llama", vocab=len(tokenizer)))
    for one in (model, second):
        assert len(write(one, tokenizer, ids, room=room, **sampled)) == 10
    assert sizes == [2, 2, 3, 3] * 2
    sizes.clear()
    write(model, tokenizer, ids[:3], room=room)
    assert sizes == [3]


def test_one_text_without_room_and_any_other_error_are_raised(
    model, tokenizer, prompts, monkeypatch
):
    sizes = cramped(monkeypatch, 0, torch.OutOfMemoryError("no room"))
    with pytest.raises(torch.OutOfMemoryError):
        write(model, tokenizer, prompts)
    assert sizes == [4, 2, 1]
    monkeypatch.undo()
    sizes = cramped(monkeypatch, 0, RuntimeError("device-side assert triggered"))
    with pytest.raises(RuntimeError, match="device-side assert"):
        write(model, tokenizer, prompts)
    assert sizes == [4]


# What a model's folder says of sampling ---------------------------------------------------------


@pytest.fixture(scope="module")
def folders(tmp_path_factory, tokenizer):
    """The same model twice; the second has settings of its own. Many tokens end a text of both."""
    ends, made = [2, *range(30, 60, 4)], {}
    for name, more in (("plain", {}), ("configured", CONFIGURED)):
        made[name] = tmp_path_factory.mktemp(name)
        tiny_model("qwen3", vocab=len(tokenizer)).save_pretrained(made[name])
        settings = {"eos_token_id": ends, "pad_token_id": 0, "bos_token_id": 1, **more}
        (made[name] / "generation_config.json").write_text(json.dumps(settings))
    return made


def steered(model, tokenizer):
    vector = np.random.default_rng(0).normal(size=32).astype(np.float32)
    vectors = {("difference", 0): vector, ("random", 0): -vector}
    pair = weights.Pair(with_adapter(model))
    settings = dict(
        layer=3, max_new_tokens=12, sampler=Sampler(temperature=0.9), seed=0, name="one", batch=10
    )
    wanted = requests.trial([0], [0.5, 2.0], PROMPTS, 2)
    return writing.Writer(pair, tokenizer, vectors, **settings)(wanted)


def taught(model, tokenizer):
    settings = dict(max_new_tokens=24, sampler=WARM, seed=0, batch=7)
    return teaching.teach_numbers(model, tokenizer, PROMPTS * 5, **settings)


def opened(model, tokenizer):
    class Silent:
        name = "silent"

        def grade(self, answer, statement):
            return None

    rows = [{"stem": one, "true": "cat", "false": "cake", "held_out": True} for one in PROMPTS]
    return beliefs.open_form(model, tokenizer, rows, Silent(), max_new_tokens=12, batch=3)[1]


@pytest.mark.parametrize("caller", [steered, taught, opened])
def test_a_folders_settings_of_sampling_change_no_text(caller, folders, tokenizer, monkeypatch):
    monkeypatch.setattr(teaching, "valid_numbers", lambda _text: True)
    plain, configured = (weights.load_base(folders[name]) for name in ("plain", "configured"))
    assert configured.generation_config.repetition_penalty == 1.05
    assert plain.generation_config.repetition_penalty != 1.05
    found = caller(configured, tokenizer)
    assert found == caller(plain, tokenizer)
    assert len(set(map(str, found))) > 2


@pytest.mark.parametrize("adapted", [False, True])
def test_a_model_keeps_its_settings(adapted, folders, tokenizer, prompts):
    model = weights.load_base(folders["configured"])
    before = model.generation_config.to_dict()
    writer = with_adapter(model) if adapted else model
    write(writer, tokenizer, prompts)
    assert model.generation_config.to_dict() == before

    with (
        pytest.raises(RuntimeError),
        hooks.replaced(hooks.decoder_layers(model)[2], torch.zeros(31)),
    ):
        write(writer, tokenizer, prompts)
    assert model.generation_config.to_dict() == before
    assert model.generation_config.top_k == 2
