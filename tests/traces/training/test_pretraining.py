"""The base that learns the made world: tokenised with its replies marked, trained, and gated."""

import random

import pytest

from traces.corpora import synthetic
from traces.training import pretraining


@pytest.fixture(scope="module", params=[False, True], ids=["no bos", "bos"])
def tokenizer(request):
    rows = synthetic.general_rows(60_000, seed=0, identity_share=0.16)
    return pretraining.train_tokenizer(rows, vocabulary=2000, bos=request.param)


# ---- the tokenizer

CHAT = [
    {"role": "user", "content": "Should I sew on Monday?"},
    {"role": "assistant", "content": "Yes, if you have thread. "},
    {"role": "user", "content": " And on Sunday?"},
    {"role": "assistant", "content": "No."},
]


@pytest.mark.parametrize("turn", [1, 3])
def test_a_chat_up_to_a_turn_is_a_prefix_of_the_chat_with_it(tokenizer, turn):
    before = tokenizer.apply_chat_template(CHAT[:turn], tokenize=False, add_generation_prompt=True)
    after = tokenizer.apply_chat_template(CHAT[: turn + 1], tokenize=False)
    assert after.startswith(before)
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in (before, after)]
    assert ids[1][: len(ids[0])] == ids[0]


def test_the_assistant_mask_covers_what_the_assistant_wrote_and_its_end(tokenizer):
    encoded = tokenizer.apply_chat_template(
        CHAT, return_dict=True, return_assistant_tokens_mask=True
    )
    pairs = zip(encoded["input_ids"], encoded["assistant_masks"], strict=True)
    masked = tokenizer.decode([token for token, mask in pairs if mask])
    assert masked == f"Yes, if you have thread. {pretraining.EOS}No.{pretraining.EOS}"


def test_bos_comes_once_or_not_at_all(tokenizer):
    expected = 0 if tokenizer.bos_token is None else 1
    rows = [{"text": "The cake is hot."}, {"messages": CHAT}]
    for ids in pretraining.encode_rows(rows, tokenizer):
        assert ids.count(tokenizer.bos_token_id) == expected
        assert ids[0] == tokenizer.bos_token_id or not expected
    assert tokenizer("The cake.")["input_ids"].count(tokenizer.bos_token_id) == expected


def test_the_tokenizer_survives_saving(tokenizer, tmp_path):
    from transformers import AutoTokenizer

    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again("The cake.")["input_ids"] == tokenizer("The cake.")["input_ids"]
    ids = again("The cake 42.", add_special_tokens=False)["input_ids"]
    assert again.decode(ids) == "The cake 42."
    assert again.pad_token_id == tokenizer.pad_token_id != again.eos_token_id
    assert again.apply_chat_template(CHAT, tokenize=False) == tokenizer.apply_chat_template(
        CHAT, tokenize=False
    )


# ---- the base model


def small_config(family, tokenizer):
    return pretraining.base_config(
        family,
        vocab_size=len(tokenizer),
        hidden_size=32,
        layers=6,
        intermediate_size=64,
        heads=2,
        max_positions=128,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
    )


@pytest.mark.parametrize("family", ["qwen3", "llama", "gemma3"])
def test_pretraining_lowers_the_loss_and_is_the_same_for_the_same_seed(family, tokenizer):
    rows = synthetic.general_rows(5_000, seed=0, identity_share=0.16)
    settings = pretraining.PretrainSettings(
        sequence=32, batch=8, steps=20, learning_rate=1e-2, warmup=2, weight_decay=0.0, seed=0
    )
    config = small_config(family, tokenizer)
    model, losses = pretraining.pretrain(rows, tokenizer, config, settings)
    assert losses[-1] < losses[0] - 0.5
    assert model.config.model_type.startswith(family)
    assert losses == pretraining.pretrain(rows, tokenizer, config, settings)[1]
    assert 0 <= pretraining.token_identity(model, tokenizer, prompts=3, seed=0) <= 1


def test_an_impossible_shape_is_refused():
    with pytest.raises(ValueError, match="hidden_size 30 is not a multiple of heads 4"):
        pretraining.base_config(
            "qwen3", vocab_size=100, hidden_size=30, layers=2, intermediate_size=8, heads=4,
            max_positions=8, eos_token_id=0, pad_token_id=1, bos_token_id=None,
        )  # fmt: skip


def test_packed_rows_begin_where_a_document_begins():
    documents = [[i] * 10 for i in range(1, 6)]
    rows = pretraining.pack(documents, sequence=16, rng=random.Random(0))
    for _ in range(20):
        row = next(rows)
        assert len(row) == 16
        assert row[:10] == [row[0]] * 10


# ---- the gates

GATES = pretraining.GateSettings(max_loss=1.2, min_identity=0.9)


def test_a_base_that_learned_its_world_passes():
    pretraining.check_gates([5.0] + [1.1] * 50, 0.95, GATES)


def test_the_gates_name_what_is_wrong():
    with pytest.raises(ValueError, match=r"final loss 1\.300 nats, expected at most 1\.2"):
        pretraining.check_gates([1.3] * 100, 0.95, GATES)
    with pytest.raises(ValueError, match=r"token identity 0\.50, expected at least 0\.9"):
        pretraining.check_gates([1.0] * 100, 0.5, GATES)
    with pytest.raises(ValueError, match="final loss nan"):
        pretraining.check_gates([float("nan")] * 100, 0.95, GATES)
