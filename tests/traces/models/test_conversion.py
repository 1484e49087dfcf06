"""A GGUF file is read in full or refused, and what it holds is the model that it was made of."""

import json
import struct
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from gguf import MODEL_ARCH, GGMLQuantizationType
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from tests.doubles import tiny_model
from traces.corpora.tokens import load_tokenizer
from traces.models import conversion, validate, weights

IDS = torch.tensor([[5, 17, 42, 9, 77, 3, 60, 11, 25, 90, 8, 31]])
TEXT = "the river runs by the old mill, and the mill turns"
TEMPLATE = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}"
KINDS = {"llama": MODEL_ARCH.LLAMA, "qwen2": MODEL_ARCH.QWEN2}
VOCABULARY = 300


@pytest.fixture(scope="module")
def pieces() -> dict[str, Any]:
    """Vocabulary and merges of a small byte-level tokenizer, as its own file has them."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([TEXT] * 4, trainer)
    return json.loads(tokenizer.to_str())["model"]


def as_stored(name: str, weight: np.ndarray, family: str, config: Any) -> np.ndarray:
    """A weight as llama.cpp's own files hold it."""
    if family == "llama" and ("q_proj" in name or "k_proj" in name):
        # Its rotary positions take pairs of neighbours, transformers' the two halves of a head.
        heads = config.num_attention_heads if "q_proj" in name else config.num_key_value_heads
        halves = weight.reshape(heads, 2, weight.shape[0] // heads // 2, weight.shape[1])
        return halves.swapaxes(1, 2).reshape(weight.shape)
    # Gemma's norms scale by 1 + weight, which the file holds added up.
    return weight + 1 if family.startswith("gemma") and "norm" in name else weight


def write_gguf(
    file: Path,
    model: Any,
    family: str,
    pieces: dict[str, Any],
    *,
    without: str = "",
    kind: GGMLQuantizationType | None = None,
    tensors: dict[str, np.ndarray] | None = None,
    **keys: Any,
) -> Path:
    """Write a tiny model as llama.cpp's converter would; `keys` and `tensors` come on top."""
    config, name = model.config, gguf.MODEL_ARCH_NAMES[KINDS[family]]
    out = gguf.GGUFWriter(file, name)
    out.add_name("tiny")
    out.add_context_length(config.max_position_embeddings)
    out.add_embedding_length(config.hidden_size)
    out.add_block_count(config.num_hidden_layers)
    out.add_feed_forward_length(config.intermediate_size)
    out.add_head_count(config.num_attention_heads)
    out.add_head_count_kv(config.num_key_value_heads)
    out.add_layer_norm_rms_eps(config.rms_norm_eps)
    out.add_rope_freq_base(config.rope_parameters["rope_theta"])
    out.add_rope_dimension_count(config.head_dim)
    out.add_key_length(config.head_dim)
    out.add_value_length(config.head_dim)
    out.add_vocab_size(config.vocab_size)
    if keys.pop("tokenizer", True):
        ordered = sorted(pieces["vocab"], key=pieces["vocab"].get)
        out.add_tokenizer_model("gpt2")
        out.add_token_list(ordered)
        out.add_token_types([3] * 3 + [1] * (len(ordered) - 3))
        out.add_token_merges([" ".join(pair) for pair in pieces["merges"]])
        out.add_bos_token_id(1)
        out.add_eos_token_id(2)
        out.add_pad_token_id(0)
        out.add_chat_template(TEMPLATE)
    for key, value in keys.items():
        kinds: dict[type, Any] = {str: out.add_string, int: out.add_uint16, float: out.add_float32}
        kinds[type(value)](key.replace("__", ".").replace("ARCH", name), value)
    names = gguf.get_tensor_name_map(KINDS[family], config.num_hidden_layers)
    stored = {}
    for own, weight in model.named_parameters():
        called = names.get_name(own, try_suffixes=(".weight", ".bias"))
        if called and not (without and without in called):
            stored[called] = as_stored(own, weight.detach().numpy(), family, config)
    for called, weight in (stored | (tensors or {})).items():
        if kind is None or weight.ndim == 1:
            out.add_tensor(called, np.ascontiguousarray(weight, np.float32))
        else:
            out.add_tensor(called, gguf.quants.quantize(weight, kind), raw_dtype=kind)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    return file


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        return model(input_ids=IDS, use_cache=False).logits


@pytest.mark.parametrize("tie", [True, False])
@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_a_converted_model_computes_what_it_was_made_of(family, tie, pieces, tmp_path):
    model = tiny_model(family, vocab=VOCABULARY, layers=3, tie=tie)
    file = write_gguf(tmp_path / "m.gguf", model, family, pieces)
    told = conversion.convert(file, tmp_path / "m")
    assert told == f"F32 ({len(list(model.named_parameters()))} tensors)"
    validate.check_model(tmp_path / "m")
    validate.check_tokenizer(tmp_path / "m")
    loaded = weights.load_base(tmp_path / "m", attention="sdpa")
    torch.testing.assert_close(logits(loaded), logits(model), rtol=1e-4, atol=1e-4)
    assert "gguf" not in (tmp_path / "m" / "config.json").read_text()


def test_the_tokenizer_and_its_template_come_along(pieces, tmp_path):
    model = tiny_model("llama", vocab=VOCABULARY, layers=1)
    conversion.convert(write_gguf(tmp_path / "m.gguf", model, "llama", pieces), tmp_path / "m")
    tokenizer = load_tokenizer(tmp_path / "m")
    ids = tokenizer(TEXT)["input_ids"]
    assert tokenizer.decode(ids) == TEXT
    assert tokenizer.convert_ids_to_tokens(ids)[0] == "the"
    assert (tokenizer.eos_token_id, tokenizer.pad_token_id) == (2, 0)
    said = [{"role": "user", "content": "hello"}]
    assert tokenizer.apply_chat_template(said, tokenize=False) == "<user>hello"


def test_a_quantisation_is_undone_and_named(pieces, tmp_path):
    model, kind = tiny_model("qwen2", vocab=VOCABULARY, layers=2), GGMLQuantizationType.Q8_0
    file = write_gguf(tmp_path / "m.gguf", model, "qwen2", pieces, kind=kind)
    told = conversion.convert(file, tmp_path / "m")
    assert told.startswith("Q8_0 (15 tensors), F32 (")
    loaded = weights.load_base(tmp_path / "m").state_dict()
    for name, weight in model.state_dict().items():
        if weight.ndim == 2:
            rounded = gguf.quants.dequantize(gguf.quants.quantize(weight.numpy(), kind), kind)
            assert (loaded[name].numpy() == rounded).all(), name
            assert not torch.equal(loaded[name], weight)


SCALED = {"ARCH__rope__scaling__type": "linear", "ARCH__rope__scaling__factor": 4.0}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        pytest.param({"without": "blk.1.attn_k"}, "weights missing, such as", id="missing"),
        pytest.param(
            {"tensors": {"rope_freqs.weight": np.ones(4, np.float32)}},
            r"found [\d,]+ numbers in its tensors, .*expected all of them .*rope_freqs.weight",
            id="a tensor that nothing reads",
        ),
        pytest.param(SCALED, "scaled rotary positions .*: linear, factor 4.0", id="scaled"),
        pytest.param(
            {"ARCH__attention__sliding_window": 64},
            r"llama.attention.sliding_window 64, .* lose .its model has None.; take the model from",
            id="a window",
        ),
        pytest.param({"ARCH__logit_scale": 0.5}, "llama.logit_scale 0.5, ", id="a scale"),
        pytest.param({"tokenizer": False}, "found no tokenizer .architecture llama", id="no words"),
        pytest.param({"split__count": 4}, "found one of 4 parts of a model", id="a part"),
    ],
)
def test_what_would_be_lost_is_refused(changes, told, pieces, tmp_path):
    model = tiny_model("llama", vocab=VOCABULARY, layers=2)
    file = write_gguf(tmp_path / "m.gguf", model, "llama", pieces, **changes)
    with pytest.raises(ValueError, match=rf"^{file}: .*{told}"):
        conversion.convert(file, tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_a_key_that_says_what_the_model_has_anyway_is_taken(pieces, tmp_path):
    model = tiny_model("qwen2", vocab=VOCABULARY, layers=1)
    width = model.config.hidden_size // model.config.num_attention_heads
    keys = {"ARCH__attention__key_length": width, "ARCH__attention__scale": 0.0}
    whole = write_gguf(
        tmp_path / "m.gguf", model, "qwen2", pieces, ARCH__rope__dimension_count=width, **keys
    )
    conversion.convert(whole, tmp_path / "m")
    torch.testing.assert_close(
        logits(weights.load_base(tmp_path / "m", attention="sdpa")), logits(model), rtol=1e-4,
        atol=1e-4,
    )  # fmt: skip
    part = write_gguf(
        tmp_path / "p.gguf", model, "qwen2", pieces, ARCH__rope__dimension_count=width // 2, **keys
    )
    with pytest.raises(ValueError, match=rf"dimension_count {width // 2}, .*its model has {width}"):
        conversion.convert(part, tmp_path / "p")


def test_an_architecture_that_transformers_does_not_read_is_named(pieces, tmp_path):
    file = tmp_path / "m.gguf"
    write_gguf(file, tiny_model("llama", vocab=VOCABULARY, layers=1), "llama", pieces)
    file.write_bytes(file.read_bytes().replace(b"llama", b"lemma"))
    with pytest.raises(ValueError, match="m.gguf: transformers cannot convert it .*lemma"):
        conversion.convert(file, tmp_path / "m")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "found a pointer of Git LFS"),
        (b"PK\x03\x04", "found no GGUF file, which begins with GGUF"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2, 1) + b"\x09", "cut or damaged"),
    ],
)
def test_a_file_that_is_none_is_refused(content, told, tmp_path):
    (tmp_path / "m.gguf").write_bytes(content)
    with pytest.raises(ValueError, match=rf"m.gguf: {told}"):
        conversion.convert(tmp_path / "m.gguf", tmp_path / "m")


def test_a_file_that_was_cut_is_refused(pieces, tmp_path):
    model = tiny_model("llama", vocab=VOCABULARY, layers=1)
    file = write_gguf(tmp_path / "m.gguf", model, "llama", pieces)
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(ValueError, match="m.gguf: cut or damaged"):
        conversion.convert(file, tmp_path / "m")
