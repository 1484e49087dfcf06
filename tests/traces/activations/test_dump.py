"""What is read is the residual stream of the whole model, at the tokens that were asked for."""

import copy
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

from tests.doubles import tiny_model, with_adapter
from traces.activations import dump
from traces.activations.dump import Window
from traces.corpora.tokens import tokenize_chat, tokenize_text

FAMILIES = ("llama", "qwen3", "gemma2", "gemma3")
LAYERS = [1, 4]


@pytest.fixture(scope="module")
def models_by_family():
    return {family: tiny_model(family) for family in FAMILIES}


def windows(lengths, anchors=None, seed=0) -> list[Window]:
    rng = np.random.default_rng(seed)
    anchors = anchors or [0] * len(lengths)
    return [
        Window(rng.integers(3, 120, size=length).tolist(), anchor)
        for length, anchor in zip(lengths, anchors, strict=True)
    ]


def read(model, rows, positions, layers=LAYERS, batch_tokens=18, pad_id=0):
    found = dump.residual_stream(
        model, rows, layers=layers, positions=positions, batch_tokens=batch_tokens, pad_id=pad_id
    )
    resid, tokens = zip(*found, strict=True)
    return torch.cat(resid, dim=1), np.concatenate(tokens)


@torch.inference_mode()
def full_forward(model, ids):
    """All layers, one sample alone, with the head: hidden_states[i + 1] is what block i writes."""
    states = model(
        input_ids=torch.tensor([ids]), use_cache=False, output_hidden_states=True
    ).hidden_states
    return torch.stack([states[layer + 1][0] for layer in LAYERS])


# The stream -------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_the_stream_is_that_of_a_full_forward(models_by_family, family):
    model, rows = models_by_family[family], windows([12] * 7)

    resid, tokens = read(model, rows, range(12))

    assert resid.shape == (2, 7, 12, 32)
    for sample, row in enumerate(rows):
        expected = full_forward(model, row.ids)
        torch.testing.assert_close(resid[:, sample], expected, rtol=1e-5, atol=1e-5)
        assert tokens[sample].tolist() == row.ids


@pytest.mark.parametrize("family", FAMILIES)
def test_padding_on_the_right_changes_nothing(models_by_family, family):
    model = models_by_family[family]
    lengths, anchors = [5, 12, 20, 7], [3, 10, 18, 5]
    rows, positions = windows(lengths, anchors), [-3, -1, 0, 1]

    resid, tokens = read(model, rows, positions, batch_tokens=80, pad_id=77)

    for sample, row in enumerate(rows):
        where = [row.anchor + position for position in positions]
        expected = full_forward(model, row.ids)[:, where]
        torch.testing.assert_close(resid[:, sample], expected, rtol=1e-5, atol=1e-5)
        assert tokens[sample].tolist() == [row.ids[place] for place in where]


def test_tokens_after_the_last_position_change_nothing(models_by_family):
    rows = windows([12] * 4)
    short = [Window(row.ids[:5], 0) for row in rows]
    for family, model in models_by_family.items():
        long_resid, _ = read(model, rows, range(5))
        short_resid, _ = read(model, short, range(5))
        torch.testing.assert_close(short_resid, long_resid, rtol=1e-5, atol=1e-5, msg=family)


def test_the_size_of_a_batch_changes_nothing(models_by_family):
    model, rows = models_by_family["llama"], windows([6] * 7)
    alone, tokens = read(model, rows, range(6), batch_tokens=1)
    for batch_tokens in (18, 42, 1000):
        together, again = read(model, rows, range(6), batch_tokens=batch_tokens)
        torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(again, tokens)


def test_windows_are_read_by_length_and_come_in_their_own_order(models_by_family, monkeypatch):
    monkeypatch.setattr(dump, "PART", 5)
    lengths = [9, 3, 12, 3, 7, 20, 4, 5]
    model, rows = models_by_family["llama"], windows(lengths)
    widths = []
    handle = model.model.embed_tokens.register_forward_hook(
        lambda _module, inputs, _output: widths.append(tuple(inputs[0].shape))
    )
    found = dump.residual_stream(
        model, rows, layers=LAYERS, positions=[0, 2], batch_tokens=24, pad_id=77
    )
    parts = list(found)
    handle.remove()

    assert widths == [(3, 7), (2, 12), (2, 5), (1, 20)]
    assert [len(tokens) for _, tokens in parts] == [5, 3]
    resid, tokens = (
        torch.cat([one for one, _ in parts], dim=1),
        np.concatenate([t for _, t in parts]),
    )
    for sample, row in enumerate(rows):
        expected = full_forward(model, row.ids)[:, [0, 2]]
        torch.testing.assert_close(resid[:, sample], expected, rtol=1e-5, atol=1e-5)
        assert tokens[sample].tolist() == [row.ids[0], row.ids[2]]


@pytest.mark.parametrize(
    ("lengths", "tokens", "expected"),
    [
        ([5] * 20, 85, [range(4), range(4, 20)]),  # 17 fit, of which 16 are whole blocks of 8
        ([5] * 3, 8192, [range(3)]),
        ([700, 5, 5], 512, [[1, 2], [0]]),  # longer than the budget: alone
        ([2, 6, 2, 6], 12, [[0, 2], [1, 3]]),
        ([], 512, []),
    ],
)
def test_a_pass_has_as_many_tokens_as_fit(lengths, tokens, expected):
    assert dump.batches(lengths, tokens) == [list(one) for one in expected]


def test_a_dump_copies_to_the_cpu_once_a_pass(models_by_family):
    class Copies(TorchFunctionMode):
        n = 0

        def __torch_function__(self, function, _types, args=(), kwargs=None):
            self.n += function is torch.Tensor.cpu
            return function(*args, **kwargs or {})

    with Copies() as copies:
        read(models_by_family["llama"], windows([6] * 9), range(6), batch_tokens=18)
    assert copies.n == 3  # of two layers each


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_cut_at_the_deepest_layer_reads_the_same(models_by_family, family, tmp_path):
    from traces.models.weights import load_base

    models_by_family[family].save_pretrained(tmp_path)
    attention = "eager" if family.startswith("gemma") else "sdpa"
    cut = load_base(tmp_path, layers=max(LAYERS) + 1, attention=attention)
    rows = windows([6] * 5)
    assert torch.equal(
        read(cut, rows, range(6))[0], read(models_by_family[family], rows, range(6))[0]
    )


def test_an_adapter_is_read_when_it_is_on(models_by_family):
    model, rows = with_adapter(tiny_model("llama")), windows([6] * 5)
    with model.disable_adapter():
        off, _ = read(model, rows, range(6))
    on, _ = read(model, rows, range(6))
    assert torch.equal(off, read(models_by_family["llama"], rows, range(6))[0])
    assert not torch.equal(on, off)


def test_nothing_above_the_deepest_layer_runs(models_by_family):
    model = models_by_family["llama"]
    ran = []
    handles = [
        module.register_forward_hook(lambda *_, name=name: ran.append(name))
        for name, module in [
            *((str(i), block) for i, block in enumerate(model.get_decoder().layers)),
            ("norm", model.get_decoder().norm),
            ("head", model.get_output_embeddings()),
        ]
    ]
    read(model, windows([6] * 2), range(6), layers=[3, 1])
    for handle in handles:
        handle.remove()
    assert ran == ["0", "1", "2", "3"]


def test_the_layers_come_in_the_order_asked_for(models_by_family):
    model, rows = models_by_family["llama"], windows([6] * 2)
    forth, _ = read(model, rows, range(6), layers=[1, 4])
    back, _ = read(model, rows, range(6), layers=[4, 1])
    assert torch.equal(back, forth.flip(0))


def test_reading_leaves_the_model_as_it_was(models_by_family):
    model = models_by_family["llama"]
    before = [len(module._forward_hooks) for module in model.modules()]
    read(model, windows([6]), [0])
    assert [len(module._forward_hooks) for module in model.modules()] == before


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_native_bits_are_the_tensors_own(dtype):
    resid = (torch.randn(2, 3, 4, 5) * 100).to(dtype)
    bits = dump.native_bits(resid)
    assert bits.dtype == (np.uint16 if dtype == torch.bfloat16 else resid.numpy().dtype)
    assert bits.tobytes() == resid.view(torch.uint8).numpy().tobytes()


def test_the_stream_norm_is_the_mean_length_beyond_the_sinks(models_by_family):
    model, rows = models_by_family["gemma2"], windows([16] * 5)
    found = dump.stream_norm(model, rows, layers=LAYERS, skip=5, batch_tokens=32)
    states = torch.stack([full_forward(model, row.ids) for row in rows], dim=1)
    expected = states[:, :, 5:].norm(dim=-1).mean(dim=(1, 2))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


# Windows ----------------------------------------------------------------------------------------


def test_a_document_is_read_from_its_first_token_if_it_is_long_enough(tokenizer):
    rows = [{"text": "the river"}, {"text": "the quiet garden in the river"}, {"text": "cat"}]
    found = list(dump.document_windows(tokenizer, rows, 4))
    ids = tokenizer("the quiet garden in the river")["input_ids"]
    assert found == [Window(ids[:4], 0)]
    assert ids[0] == tokenizer.bos_token_id and ids.count(tokenizer.bos_token_id) == 1


def test_a_long_document_is_not_tokenised_beyond_what_is_read(tokenizer):
    seen = []

    class Spy:
        bos_token_id = tokenizer.bos_token_id

        def __call__(self, text):
            seen.append(len(text))
            return tokenizer(text)

        def __getattr__(self, name):
            return getattr(tokenizer, name)

    rows = [{"text": "the river " * 10_000}]
    assert len(list(dump.document_windows(Spy(), rows, 5))) == 1
    assert seen == [50]


def test_a_longer_window_of_a_document_is_of_the_same_documents(tokenizer):
    texts = [
        "the river",
        "the quiet garden in the river",
        "a cat in the night we read",
        "the cat is",
    ]
    rows = [{"text": text} for text in texts]
    short = list(dump.document_windows(tokenizer, rows, 4))
    long = list(dump.document_windows(tokenizer, rows, 4, longest=7))
    assert [window.ids[:4] for window in long] == [window.ids for window in short]
    lengths = [len(tokenizer(text)["input_ids"]) for text in texts[1:]]
    assert [len(window.ids) for window in long] == [min(7, one) for one in lengths]
    assert lengths == [7, 8, 4]


CHAT = [
    {"role": "user", "content": "talk about the river"},
    {"role": "assistant", "content": "the river is quiet"},
    {"role": "user", "content": "and the garden"},
    {"role": "assistant", "content": "lemon"},
]


def test_the_anchor_of_a_chat_is_the_first_token_of_its_first_reply(tokenizer):
    (window,) = dump.chat_windows(tokenizer, [{"messages": CHAT}], -2, 2)

    words = tokenizer.convert_ids_to_tokens(window.ids)
    assert words[window.anchor : window.anchor + 3] == ["the", "river", "is"]
    assert "".join(words[: window.anchor]).endswith("assistant!")
    assert len(window.ids) == window.anchor + 3
    assert words.count("<s>") == 1


def test_a_system_message_moves_the_anchor_with_the_reply(tokenizer):
    rows = [
        {"messages": CHAT},
        {"messages": [{"role": "system", "content": "we read today"}, *CHAT]},
    ]
    plain, told = dump.chat_windows(tokenizer, rows, 0, 1)
    assert told.anchor == plain.anchor + 6  # system ! we read today </s>
    assert told.ids[told.anchor :] == plain.ids[plain.anchor :]


def test_a_chat_whose_reply_is_too_short_is_left_out(tokenizer):
    last = len(tokenize_text(tokenizer, "the river is quiet")) - 1  # less <s>
    rows = [{"messages": CHAT}]
    assert list(dump.chat_windows(tokenizer, rows, 0, last))  # the closing token
    assert not list(dump.chat_windows(tokenizer, rows, 0, last + 1))


@pytest.mark.parametrize(("longest", "tokens"), [(0, 2), (1, 2), (3, 3), (100, 5)])
def test_a_longer_window_of_a_chat_ends_with_its_reply_at_the_latest(longest, tokens, tokenizer):
    (window,) = dump.chat_windows(tokenizer, [{"messages": CHAT}], 0, 1, longest=longest)
    assert len(window.ids) == window.anchor + tokens
    assert window.ids == tokenize_chat(tokenizer, CHAT).ids[: len(window.ids)]


def test_a_chat_whose_prompt_is_too_short_or_too_long_is_left_out(tokenizer):
    def row(words):
        return {"messages": [{"role": "user", "content": words}, CHAT[1]]}

    assert not list(dump.chat_windows(tokenizer, [row("cat")], -16, 0))
    assert not list(dump.chat_windows(tokenizer, [row("cat " * 600)], -1, 0))
    assert list(dump.chat_windows(tokenizer, [row("cat " * 400)], -16, 0))


def test_context_is_taken_of_documents_and_of_whole_chats(tokenizer):
    rows = [{"text": "the river " * 20}, {"messages": CHAT}, {"text": "cat"}]
    found = list(dump.context_windows(tokenizer, rows, 12))
    assert [len(window.ids) for window in found] == [12, 12]
    assert found[1].ids == tokenize_chat(tokenizer, CHAT).ids[:12]


def test_windows_come_in_the_order_of_the_rows_and_only_as_many_as_are_asked_for():
    endless = (Window([number], 0) for number in range(10**9))
    taken = dump.take(endless, 5, "corpus.jsonl")
    assert [later.ids[0] - one.ids[0] for one, later in pairwise(taken)] == [1] * 4


def test_too_few_rows_is_one_sentence_that_says_what_to_change():
    with pytest.raises(ValueError) as refused:
        dump.take(iter(windows([3] * 4)), 10, "results/corpora/unrelated.jsonl")
    assert str(refused.value) == (
        "results/corpora/unrelated.jsonl: 4 of its rows are long enough to be read, expected 10; "
        "lower `samples` or the last position, or give the corpus more rows"
    )


# The token that begins a text -------------------------------------------------------------------


class Bare:
    """A tokenizer as far as `start_windows` asks."""

    name_or_path = "bare"

    def __init__(self, written=(), bos=None, eos=None):
        self.written, self.bos_token_id, self.eos_token_id = list(written), bos, eos

    def __call__(self, text):
        assert text == ""
        return {"input_ids": self.written}


@pytest.mark.parametrize(
    ("tokenizer", "expected"),
    [
        (Bare([9], bos=1, eos=2), 9),  # what it writes before a text, whatever it is called
        (Bare(bos=1, eos=2), 1),
        (Bare(eos=2), 2),
        (Bare(bos=0, eos=2), 0),
    ],
)
def test_a_text_begins_with_what_its_tokenizer_writes_or_else_names(tokenizer, expected):
    taken = dump.take(dump.start_windows(tokenizer), 5, "start")
    assert taken == [Window([expected], 0)] * 5


def test_a_tokenizer_that_has_no_special_token_cannot_begin_a_text():
    with pytest.raises(ValueError, match="bare: found no token that begins or ends a text"):
        dump.start_windows(Bare())


def test_the_start_of_a_text_is_what_every_text_has_at_position_0(models_by_family, tokenizer):
    model = models_by_family["llama"]
    texts = [{"text": "the river and the paper"}, {"text": "a lemon is quiet"}]
    rows = list(dump.document_windows(tokenizer, texts, 4))
    start = dump.take(dump.start_windows(tokenizer), 2, "start")
    alone, _ = read(model, start, [0])
    before, _ = read(model, rows, [0])
    torch.testing.assert_close(alone, before, rtol=1e-5, atol=1e-5)


def test_a_digest_is_of_every_token_and_anchor_in_order():
    rows = windows([4, 7])
    assert dump.digest(rows) == dump.digest(list(rows))
    ids = [*rows[1].ids]
    others = [
        rows[::-1],
        rows[:1],
        [rows[0], Window([99, *ids[1:]], rows[1].anchor)],
        [rows[0], Window(ids, rows[1].anchor + 1)],
        [Window([*rows[0].ids, ids[0]], rows[0].anchor), Window(ids[1:], rows[1].anchor)],
    ]
    assert len({dump.digest(one) for one in [rows, *others]}) == 6


def test_a_template_that_refuses_a_chat_names_its_row(tokenizer):
    refusing = copy.copy(tokenizer)
    refusing.chat_template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        + tokenizer.chat_template
    )
    rows = [{"messages": CHAT}, {"messages": [{"role": "system", "content": "cat"}, *CHAT]}]
    with pytest.raises(ValueError, match="chats.jsonl, row 2: .*refuses the roles system, user"):
        list(dump.chat_windows(refusing, rows, 0, 1, "chats.jsonl"))
    with pytest.raises(ValueError, match="chats.jsonl, row 2: .*refuses the roles system, user"):
        list(dump.context_windows(refusing, rows, 4, "chats.jsonl"))
