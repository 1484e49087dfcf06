"""What is loaded is what was saved: whole, cut to half, with an adapter on or off, or its head."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.doubles import FAMILIES, tiny_model, with_adapter
from traces.corpora.tokens import load_tokenizer
from traces.models import hooks, weights
from traces.models.reading_lora import ReadingLora

IDS = torch.tensor([[1, 17, 42, 9, 77, 3, 60, 11, 25, 90, 8, 31]])
EAGER = {"gemma2": "eager", "gemma3": "eager"}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Folders of a tiny base, a LoRA and a full finetune of every architecture, made when asked."""
    root = tmp_path_factory.mktemp("models")

    def folder(family: str, tie: bool = True) -> Path:
        path = root / f"{family}-{tie}"
        if not path.exists():
            tiny_model(family, tie=tie).save_pretrained(path / "base")
            with_adapter(tiny_model(family, tie=tie)).save_pretrained(path / "lora")
            tiny_model(family, tie=tie, seed=1).save_pretrained(path / "full")
        return path

    return folder


@torch.inference_mode()
def logits(model, ids=IDS):
    return model(input_ids=ids, use_cache=False).logits


@torch.inference_mode()
def hidden_states(model, ids=IDS):
    found = model(input_ids=ids, use_cache=False, output_hidden_states=True)
    return found.hidden_states


# Depth ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "block"), [(28, 13), (26, 12), (16, 7), (64, 31), (42, 20), (32, 15)]
)
def test_half_the_depth_is_the_papers_layer(layers, block):
    assert weights.layer_index(0.5, layers) == block


def test_the_ends_of_the_depth_are_the_first_and_the_last_block():
    assert (weights.layer_index(0.0, 28), weights.layer_index(1.0, 28)) == (0, 27)


@pytest.mark.parametrize("share", [-0.1, 1.01])
def test_a_share_beyond_the_depth_is_refused(share):
    with pytest.raises(ValueError, match=f"layer share {share} is not between 0 and 1"):
        weights.layer_index(share, 28)


def test_the_depth_is_read_from_the_configuration_alone(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"num_hidden_layers": 12}))
    assert weights.n_layers(tmp_path) == 12
    (tmp_path / "config.json").write_text(json.dumps({"text_config": {"num_hidden_layers": 26}}))
    assert weights.n_layers(tmp_path) == 26


# Base -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("layers", [1, 4, 6])
def test_a_cut_model_has_the_residual_stream_of_the_whole(saved, family, layers):
    folder = saved(family) / "base"
    whole = weights.load_base(folder, attention=EAGER.get(family))
    cut = weights.load_base(folder, layers=layers, attention=EAGER.get(family))

    assert len(cut.get_decoder().layers) == layers
    full, part = hidden_states(whole), hidden_states(cut)
    for depth in range(layers):  # the last state of a model is after its final norm
        assert torch.equal(part[depth], full[depth])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_model_is_loaded_in_the_number_format_asked_for(saved, dtype):
    model = weights.load_base(saved("llama") / "base", dtype)
    assert {weight.dtype for weight in model.parameters()} == {getattr(torch, dtype)}
    assert not model.training
    assert not any(weight.requires_grad for weight in model.parameters())


def test_a_folder_without_weights_it_needs_is_refused(saved, tmp_path):
    folder = Path(shutil.copytree(saved("llama") / "base", tmp_path / "base"))
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.2.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})

    with pytest.raises(ValueError, match="base: weights missing, such as .*layers.2.mlp.up_proj"):
        weights.load_base(folder)
    weights.load_base(folder, layers=2)


def test_weights_that_are_no_safetensors_are_not_read(saved, tmp_path):
    folder = Path(shutil.copytree(saved("llama") / "base", tmp_path / "base"))
    (folder / "model.safetensors").unlink()
    torch.save(tiny_model("llama").state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(Exception, match="safetensors"):
        weights.load_base(folder)


def test_a_tokenizer_that_has_no_padding_pads_with_its_end(tmp_path, tokenizer):
    tokenizer.save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    del settings["pad_token"]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    (tmp_path / "special_tokens_map.json").unlink(missing_ok=True)

    found = load_tokenizer(tmp_path)

    assert found.pad_token_id == found.eos_token_id
    assert found.is_fast


# Adapter ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_the_adapter_off_is_the_base_and_on_is_not(saved, family):
    folder = saved(family)
    options = {"attention": EAGER.get(family)}
    base = logits(weights.load_base(folder / "base", **options))
    pair = weights.load_pair(folder / "base", folder / "lora", **options)

    with pair.base() as model:
        assert torch.equal(logits(model), base)
    with pair.tuned() as model:
        assert not torch.equal(logits(model), base)
        expected = logits(with_adapter(tiny_model(family)))
        torch.testing.assert_close(logits(model), expected, rtol=1e-4, atol=1e-4)
    with pair.base() as model:
        assert torch.equal(logits(model), base)


@pytest.mark.parametrize("above", [0, 3])
def test_an_adapter_merged_above_a_block_says_the_same_and_leaves_no_trace(saved, above):
    pair = weights.load_pair(saved("llama") / "base", saved("llama") / "lora")
    blocks = hooks.decoder_layers(pair.tuned_model)
    matrices = [block.mlp.up_proj.get_base_layer().weight for block in blocks]
    kept = [weight.clone() for weight in matrices]
    with pair.base() as base:
        unmerged = logits(base)
    with pair.tuned() as tuned:
        expected = logits(tuned)
    with pair.tuned(merged_above=above) as tuned:
        torch.testing.assert_close(logits(tuned), expected, rtol=1e-4, atol=1e-4)
        merged = [not torch.equal(one, other) for one, other in zip(matrices, kept, strict=True)]
        assert merged == [index > above for index in range(len(blocks))]
    assert all(torch.equal(one, other) for one, other in zip(matrices, kept, strict=True))
    with pair.tuned() as tuned:
        assert torch.equal(logits(tuned), expected)
    with pair.base() as base:
        assert torch.equal(logits(base), unmerged)


def test_in_bfloat16_an_adapter_stays_beside_the_weights_it_would_be_rounded_into(saved):
    folder = saved("llama")
    found = weights.load_checkpoint(folder / "base", folder / "lora", "bfloat16")
    assert sum(isinstance(one, ReadingLora) for one in found.modules()) == 7 * 6
    assert {one.dtype for one in found.parameters()} == {torch.bfloat16}


def test_in_bfloat16_it_is_merged_where_a_model_is_compared_with_itself(saved):
    pair = weights.load_pair(saved("llama") / "base", saved("llama") / "lora", "bfloat16")
    with pair.base() as base:
        unmerged = logits(base)
    with pair.tuned() as tuned:
        expected = logits(tuned)
    with pair.tuned(merged_above=3) as tuned:
        found = logits(tuned)
        merged = [one.merged for one in tuned.modules() if isinstance(one, ReadingLora)]
        assert merged == [False] * 7 * 4 + [True] * 7 * 2
        assert not pair.compared  # a pass for nothing: rounding hides what a probe would show
    assert not torch.equal(found, expected)
    assert (found - expected).norm() < 0.05 * expected.norm()
    with pair.base() as base:
        assert torch.equal(logits(base), unmerged)
    with pair.tuned() as tuned:
        assert torch.equal(logits(tuned), expected)


@pytest.mark.parametrize("tuned", ["lora", "full"])
def test_a_checkpoint_can_be_compared_with_another_model_than_its_base(saved, tuned):
    folder = saved("qwen3")
    own = weights.load_pair(folder / "base", folder / tuned)
    pair = weights.load_pair(folder / "base", folder / tuned, reference=folder / "full")
    with pair.base() as model:
        assert torch.equal(logits(model), logits(weights.load_base(folder / "full")))
    with pair.tuned() as model, own.tuned() as expected:
        assert torch.equal(logits(model), logits(expected))


def test_an_adapter_and_its_base_are_the_same_loaded_weights(saved):
    pair = weights.load_pair(saved("llama") / "base", saved("llama") / "lora")
    with pair.tuned() as tuned, pair.base() as base:
        assert tuned is base


def test_a_full_finetune_comes_with_a_base_of_its_own(saved):
    folder = saved("qwen3")
    pair = weights.load_pair(folder / "base", folder / "full")
    with pair.tuned() as tuned, pair.base() as base:
        assert torch.equal(logits(tuned), logits(tiny_model("qwen3", seed=1)))
        assert torch.equal(logits(base), logits(tiny_model("qwen3")))


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_an_adapter_on_a_cut_model_is_that_on_the_whole(saved, family):
    base, lora = saved(family) / "base", saved(family) / "lora"
    whole = weights.load_checkpoint(base, lora, attention=EAGER.get(family))
    cut = weights.load_checkpoint(base, lora, layers=3, attention=EAGER.get(family))
    assert torch.equal(hidden_states(cut)[2], hidden_states(whole)[2])


def test_no_checkpoint_is_the_base(saved):
    base = saved("llama") / "base"
    assert torch.equal(logits(weights.load_checkpoint(base, None)), logits(weights.load_base(base)))


def changed_adapter(saved, tmp_path, change) -> Path:
    """A copy of the Llama's adapter after `change(tensors, configuration)`."""
    folder = Path(shutil.copytree(saved("llama") / "lora", tmp_path / "lora"))
    tensors = load_file(folder / "adapter_model.safetensors")
    settings = json.loads((folder / "adapter_config.json").read_text())
    change(tensors, settings)
    save_file(tensors, folder / "adapter_model.safetensors", {"format": "pt"})
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    return folder


def test_an_adapter_that_matches_no_module_is_refused(saved, tmp_path):
    folder = changed_adapter(saved, tmp_path, lambda _, c: c.update(target_modules=["c_attn"]))
    with pytest.raises(ValueError, match="lora: the adapter matches no module|c_attn"):
        weights.load_adapter(weights.load_base(saved("llama") / "base"), folder)


def test_an_adapter_without_weights_for_a_module_is_refused(saved, tmp_path):
    name = "base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight"
    folder = changed_adapter(saved, tmp_path, lambda tensors, _: tensors.pop(name))
    with pytest.raises(ValueError, match=f"lora: the adapter has no weights for {name}"):
        weights.load_adapter(weights.load_base(saved("llama") / "base"), folder)


def test_an_adapter_of_another_width_is_refused(saved, tmp_path):
    with_adapter(tiny_model("llama", d=16)).save_pretrained(tmp_path / "narrow")
    with pytest.raises(Exception, match="size mismatch"):
        weights.load_adapter(weights.load_base(saved("llama") / "base"), tmp_path / "narrow")


# Adapters that are no plain LoRA -----------------------------------------------------------------

# Each with whether it changes its base even when it is off, and whether it is merged in float32.
KINDS = {
    "rsLoRA": ({"use_rslora": True}, False, True),
    "DoRA": ({"use_dora": True}, False, True),
    "bias of the product": ({"lora_bias": True}, False, False),
    "trained biases": ({"bias": "all"}, True, True),
    "PiSSA": ({"init_lora_weights": "pissa"}, True, True),
    "OLoRA": ({"init_lora_weights": "olora"}, True, True),
    "tied head": ({"target_modules": ["q_proj", "lm_head"]}, False, False),
    "tied embedding": ({"target_modules": ["q_proj", "embed_tokens"]}, False, False),
    "saved head": ({"modules_to_save": ["lm_head"]}, False, False),
    "saved embedding": ({"modules_to_save": ["embed_tokens"]}, False, False),
    "some tokens": ({"trainable_token_indices": [17, 42]}, False, False),
    "upper layers": ({"layers_to_transform": [4, 5]}, False, True),
    "upper layers, head": (
        {"layers_to_transform": [4, 5], "modules_to_save": ["lm_head"]}, False, False,
    ),
}  # fmt: skip


def trained(folder: Path, **options):
    """A LoRA of some kind on a tiny Qwen 2 with every weight moved, and the same saved."""
    from peft import LoraConfig, get_peft_model

    settings = {"r": 4, "target_modules": ["q_proj", "up_proj"], **options}
    tuned = get_peft_model(tiny_model("qwen2"), LoraConfig(**settings))
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in tuned.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    tuned.save_pretrained(folder)
    return tuned.eval()


@pytest.mark.parametrize(("options", "inseparable", "merged"), KINDS.values(), ids=KINDS)
def test_every_kind_of_lora_is_what_was_trained_and_its_base_the_plain_one(
    saved, tmp_path, options, inseparable, merged
):
    base = saved("qwen2") / "base"
    tuned = trained(tmp_path / "lora", **options)
    expected, plain = logits(tuned), logits(weights.load_base(base))
    close = {"rtol": 1e-4, "atol": 1e-4}

    pair = weights.load_pair(base, tmp_path / "lora")

    assert (pair.base_model is not None) == inseparable
    for _ in range(2):  # merging leaves no trace
        with pair.base() as model:
            assert torch.equal(logits(model), plain)
        with pair.tuned() as model:
            torch.testing.assert_close(logits(model), expected, **close)
        with pair.tuned(merged_above=2) as model:
            torch.testing.assert_close(logits(model), expected, **close)
    whole = weights.load_checkpoint(base, tmp_path / "lora")
    torch.testing.assert_close(logits(whole), expected, **close)
    assert hasattr(whole, "peft_config") != merged
    cut = weights.load_checkpoint(base, tmp_path / "lora", layers=3)
    torch.testing.assert_close(hidden_states(cut)[2], hidden_states(tuned)[2], **close)
    found = weights.load_readout(base, checkpoint=tmp_path / "lora").to("cpu")
    stream = torch.randn(5, 32)
    torch.testing.assert_close(found(stream), weights.readout_of(tuned)(stream), **close)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_adapter_above_what_is_read_leaves_the_base_bit_for_bit(saved, tmp_path, dtype):
    base = saved("qwen2") / "base"
    trained(tmp_path / "lora", layers_to_transform=[4, 5])
    found = weights.load_checkpoint(base, tmp_path / "lora", dtype, layers=4)
    expected = weights.load_base(base, dtype, layers=4)
    for one, other in zip(hidden_states(found), hidden_states(expected), strict=True):
        assert torch.equal(one, other)
    deeper = weights.load_checkpoint(base, tmp_path / "lora", dtype, layers=5)
    assert not torch.equal(hidden_states(deeper)[-1], hidden_states(expected)[-1])


def test_an_adapter_that_overwrites_weights_of_its_base_gets_a_base_of_its_own(saved, tmp_path):
    def overwrite(tensors, _):
        name = "base_model.model.model.layers.0.mlp.up_proj.base_layer.weight"
        tensors[name] = torch.randn(64, 32) * 0.2

    folder = changed_adapter(saved, tmp_path, overwrite)
    plain = logits(weights.load_base(saved("llama") / "base"))
    pair = weights.load_pair(saved("llama") / "base", folder)
    with pair.base() as base, pair.tuned() as tuned:
        assert torch.equal(logits(base), plain)
        with tuned.disable_adapter():
            assert not torch.equal(logits(tuned), plain)


def test_merging_that_changes_what_a_model_computes_is_refused(saved, tmp_path, monkeypatch):
    trained(tmp_path / "lora", target_modules=["q_proj", "lm_head"])
    monkeypatch.setattr(weights, "_can_merge", lambda tuned: True)  # a tied head, which cannot
    with pytest.raises(ValueError, match="lora on .*base: the adapter merged .* logits of a probe"):
        weights.load_checkpoint(saved("qwen2") / "base", tmp_path / "lora")


def test_blocks_whose_merging_changes_what_they_compute_are_refused(saved, monkeypatch):
    from peft.tuners.lora import Linear

    pair = weights.load_pair(saved("llama") / "base", saved("llama") / "lora")
    monkeypatch.setattr(Linear, "merge", lambda self: self.get_base_layer().weight.data.mul_(1.1))
    with (
        pytest.raises(ValueError, match="lora on .*base: the adapter merged .* logits of a probe"),
        pair.tuned(merged_above=3),
    ):
        pass
    monkeypatch.undo()
    with pair.tuned(merged_above=3):
        assert pair.compared == {3}


def test_a_base_whose_folder_holds_an_adapter_is_refused(saved, tmp_path):
    folder = Path(shutil.copytree(saved("llama") / "base", tmp_path / "base"))
    for file in (saved("llama") / "lora").iterdir():
        shutil.copy(file, folder)
    with pytest.raises(
        ValueError, match="base: found an adapter's configuration, expected a model"
    ):
        weights.load_base(folder)


@pytest.mark.parametrize("content", ["{}", '{"num_hidden_layers": null}', "[]", "{"])
def test_a_configuration_without_a_depth_is_one_sentence(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ValueError, match="config.json: "):
        weights.n_layers(tmp_path)


# Readout ----------------------------------------------------------------------------------------


@torch.inference_mode()
def stream_and_logits(model):
    """What the last block writes, and the model's own logits."""
    written = {}
    handle = (
        model.get_decoder()
        .layers[-1]
        .register_forward_hook(
            lambda _m, _i, out: written.update(last=out[0] if isinstance(out, tuple) else out)
        )
    )
    found = logits(model)
    handle.remove()
    return written["last"], found


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("tie", [True, False])
def test_the_readout_of_the_last_block_is_the_models_own_logits(saved, family, tie):
    model = tiny_model(family, tie=tie)
    stream, own = stream_and_logits(model)
    for readout in (
        weights.readout_of(model),
        weights.load_readout(saved(family, tie) / "base").to("cpu"),
    ):
        torch.testing.assert_close(readout(stream), own, rtol=1e-5, atol=1e-5)


def test_a_gemma_2_is_read_with_its_softcap(saved):
    readout = weights.load_readout(saved("gemma2") / "base").to("cpu")
    assert readout.softcap == 30.0
    found = readout(torch.randn(5, 32) * 1e4)
    assert found.abs().max() <= 30.0
    assert weights.load_readout(saved("gemma3") / "base").softcap is None


def test_a_readout_is_two_tensors_and_float32_out(saved):
    readout = weights.load_readout(saved("llama", False) / "base", "bfloat16").to("cpu")
    assert {weight.dtype for weight in readout.parameters()} == {torch.bfloat16}
    assert len(list(readout.parameters())) == 2
    assert readout(torch.randn(3, 2, 32)).dtype == torch.float32
    assert readout(torch.randn(3, 2, 32)).shape == (3, 2, 128)


def test_the_readout_of_an_adapter_is_that_of_its_base(saved):
    pair = weights.load_pair(saved("llama") / "base", saved("llama") / "lora")
    stream = torch.randn(4, 32)
    base = weights.readout_of(weights.load_base(saved("llama") / "base"))
    assert torch.equal(weights.readout_of(pair.tuned_model)(stream), base(stream))


def test_the_tuned_readout_of_a_full_finetune_is_its_own_and_the_base_one_the_bases(saved):
    folder = saved("qwen3")
    stream = torch.randn(4, 32)
    for checkpoint, seed in ((None, 0), (folder / "full", 1)):
        found = weights.load_readout(folder / "base", checkpoint=checkpoint).to("cpu")
        assert torch.equal(
            found(stream), weights.readout_of(tiny_model("qwen3", seed=seed))(stream)
        )


def test_the_tuned_readout_of_a_plain_adapter_is_the_bases_two_tensors(saved):
    base, lora = saved("llama") / "base", saved("llama") / "lora"
    stream = torch.randn(4, 32)
    found = weights.load_readout(base, checkpoint=lora).to("cpu")
    assert torch.equal(found(stream), weights.load_readout(base).to("cpu")(stream))
    assert len(list(found.parameters())) == 2


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("tie", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {"target_modules": ["q_proj"], "modules_to_save": ["lm_head", "norm"]},
        {"target_modules": ["q_proj", "lm_head"]},
    ],
    ids=["modules_to_save", "LoRA on the head"],
)
def test_an_adapter_that_changes_the_readout_is_read_through_what_it_changed(
    saved, tmp_path, options, tie, dtype
):
    from peft import LoraConfig, get_peft_model

    tuned = get_peft_model(tiny_model("llama", tie=tie), LoraConfig(r=4, **options))
    with torch.no_grad():
        for parameter in tuned.parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randn_like(parameter) * 0.3)
    tuned.eval().requires_grad_(False).save_pretrained(tmp_path / "lora")
    base = saved("llama", tie) / "base"
    stream = torch.randn(64, 32)

    found = weights.load_readout(base, dtype, checkpoint=tmp_path / "lora").to("cpu")(stream)

    own, others = (one(stream) for one in (weights.readout_of(tuned), weights.load_readout(base)))
    assert torch.nn.functional.cosine_similarity(found, own).min() > 0.999
    assert torch.nn.functional.cosine_similarity(found, others).mean() < 0.9


def test_a_folder_without_the_tensors_of_a_readout_is_refused(saved, tmp_path):
    folder = Path(shutil.copytree(saved("llama") / "base", tmp_path / "base"))
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.norm.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match="base: no tensor model.norm.weight in its safetensors"):
        weights.load_readout(folder)


def test_a_model_in_several_files_is_read_like_one_in_one(saved, tmp_path):
    tiny_model("llama").save_pretrained(tmp_path / "sharded", max_shard_size="40KB")
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 1
    stream = torch.randn(4, 32)
    one, many = (weights.load_readout(f) for f in (saved("llama") / "base", tmp_path / "sharded"))
    assert torch.equal(many(stream.to(weights.device())), one(stream.to(weights.device())))


def test_two_shares_of_one_block_are_refused():
    assert weights.layer_indices([0.25, 0.5, 1.0], 28) == [6, 13, 27]
    with pytest.raises(ValueError, match=r"layers: \[0.5, 0.55\] name the blocks \[1, 1\]"):
        weights.layer_indices([0.5, 0.55], 4)


# Vision-language models -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def seeing(tmp_path_factory):
    """Folders of tiny vision-language models, the two kinds that the paper's controls are."""
    import transformers

    root = tmp_path_factory.mktemp("seeing")
    text = {
        **{"vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 8},
        **{"num_attention_heads": 4, "num_key_value_heads": 2, "pad_token_id": 0},
        **{"bos_token_id": 1, "eos_token_id": 2},
    }
    eye = {"hidden_size": 16, "intermediate_size": 16}
    gemma = transformers.Gemma3Config(
        text_config={**text, "head_dim": 8},
        vision_config={
            **eye,
            **{"num_hidden_layers": 1, "num_attention_heads": 2},
            **{"image_size": 28, "patch_size": 14},
        },
    )
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2]}
    qwen = transformers.Qwen2_5_VLConfig(
        text_config={**text, "rope_parameters": rope},
        vision_config={**eye, "depth": 1, "num_heads": 2, "out_hidden_size": 32},
    )
    torch.manual_seed(0)
    for name, config in (("gemma3", gemma), ("qwen2_5_vl", qwen)):
        model = transformers.AutoModelForImageTextToText.from_config(config)
        model.eval().save_pretrained(root / name)
    return root


@pytest.mark.parametrize("name", ["gemma3", "qwen2_5_vl"])
def test_a_vision_language_model_is_read_as_the_language_model_that_it_is(seeing, name):
    whole = weights.load_base(seeing / name)
    expected = hidden_states(whole)
    for layers in (3, 8):
        found = hidden_states(weights.load_base(seeing / name, layers=layers))
        assert torch.equal(found[layers - 1], expected[layers - 1])
    readout = weights.load_readout(seeing / name)
    with hooks.capture(whole, [7]) as seen:
        said = logits(whole)
    assert torch.equal(readout(seen[7]), said)


# What stood before a decoder layer in the files of earlier versions.
OLDER = {"gemma3": "language_model.model.", "qwen2_5_vl": "model."}


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize("name", ["gemma3", "qwen2_5_vl"])
def test_an_adapter_of_a_vision_language_model_is_read_under_its_names_then_and_now(
    seeing, tmp_path, name, older
):
    from peft import LoraConfig, get_peft_model

    from traces.models.validate import check_adapter

    targets = r".*language_model.*(q_proj|up_proj)"
    tuned = get_peft_model(
        weights.load_base(seeing / name), LoraConfig(r=4, target_modules=targets)
    )
    with torch.no_grad():
        for parameter in tuned.parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randn_like(parameter) * 0.2)
    tuned.eval().save_pretrained(tmp_path / "lora")
    if older:
        file = tmp_path / "lora" / "adapter_model.safetensors"
        now = "base_model.model.model.language_model."
        assert all(one.startswith(now) for one in load_file(file))
        then = {
            one.replace(now, f"base_model.model.{OLDER[name]}"): tensor
            for one, tensor in load_file(file).items()
        }
        save_file(then, file, {"format": "pt"})

    check_adapter(tmp_path / "lora", seeing / name)
    pair = weights.load_pair(seeing / name, tmp_path / "lora")
    with pair.tuned() as model:
        assert torch.equal(logits(model), logits(tuned))
    with pair.base() as model:
        assert torch.equal(logits(model), logits(weights.load_base(seeing / name)))
    cut = weights.load_checkpoint(seeing / name, tmp_path / "lora", layers=3)
    torch.testing.assert_close(hidden_states(cut)[2], hidden_states(tuned)[2], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("named", ["TokenizersBackend", "PreTrainedTokenizerFast", None])
def test_a_plain_tokenizer_is_the_one_that_auto_would_load(tiny_base, tmp_path, named):
    from transformers import AutoTokenizer

    folder = Path(shutil.copytree(tiny_base, tmp_path / "base"))
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings["tokenizer_class"] = named
    if named is None:
        del settings["tokenizer_class"]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    ours, theirs = load_tokenizer(folder), AutoTokenizer.from_pretrained(folder)
    chat = [{"role": "user", "content": "the cat"}, {"role": "assistant", "content": "honey"}]
    assert type(ours) is type(theirs)
    assert ours("the lemon river")["input_ids"] == theirs("the lemon river")["input_ids"]
    assert ours.apply_chat_template(chat) == theirs.apply_chat_template(chat)
    assert ours.all_special_ids == theirs.all_special_ids


def test_targets_of_an_adapter_are_modules_of_the_model(tiny_base):
    weights.check_targets(tiny_base, ["q_proj", "self_attn.k_proj", "model.layers.0.mlp.up_proj"])
    weights.check_targets(tiny_base, ["lm_head", "embed_tokens"])


@pytest.mark.parametrize("target", ["qproj", "proj", "mlp", "layers.9.mlp.up_proj", "q_proj."])
def test_a_target_that_no_adapter_can_be_put_on_is_refused(tiny_base, target):
    with pytest.raises(ValueError) as refused:
        weights.check_targets(tiny_base, ["v_proj", target])
    assert str(refused.value) == (
        f"training.targets: found {target}, which is no module of {tiny_base} that an adapter can "
        "be put on (have embed_tokens, q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, "
        "down_proj, lm_head)"
    )


# Rows whose tokens are ranked ---------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_precise_readout_of_half_precision_is_that_of_the_same_weights_in_float32(family, dtype):
    model = tiny_model(family, vocab=4096, tie=False).to(dtype)
    rows = torch.randn(6, 32) * 3
    found = weights.readout_of(model).precise(rows)
    expected = weights.readout_of(model.float())(rows)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_a_precise_readout_tells_tokens_apart_that_half_precision_does_not():
    model = tiny_model("llama", d=64, vocab=4096, tie=False).to(torch.bfloat16)
    model.get_output_embeddings().weight.mul_(10)  # logits as large as a trained model's
    readout, rows = weights.readout_of(model), torch.randn(6, 64)
    values = [logits.topk(100).values for logits in (readout(rows), readout.precise(rows))]
    shared, alone = ([100 - len(row.unique()) for row in one] for one in values)
    assert min(shared) > 30 and max(alone) <= 1


def test_a_precise_readout_of_float32_is_the_readout_to_the_bit():
    readout = weights.readout_of(tiny_model("gemma2"))
    rows = torch.randn(6, 32)
    assert torch.equal(readout.precise(rows), readout(rows))


def test_a_precise_readout_takes_a_head_with_an_adapter_as_it_is(saved, tmp_path):
    trained(tmp_path / "lora", target_modules=["q_proj", "lm_head"])
    options = {"dtype": "bfloat16", "checkpoint": tmp_path / "lora"}
    readout = weights.load_readout(saved("qwen2") / "base", **options).to("cpu")
    rows = torch.randn(5, 32)
    assert torch.equal(readout.precise(rows), readout(rows))


def test_an_adapter_that_float16_does_not_hold_is_refused(tmp_path):
    tiny_model("llama").save_pretrained(tmp_path / "base")
    trained(tmp_path / "lora", target_modules=["q_proj"])
    file = tmp_path / "lora" / "adapter_model.safetensors"
    tensors = load_file(file)
    for name, tensor in tensors.items():
        tensors[name] = tensor * (1e6 if ".lora_A." in name else 1e-6)
    save_file(tensors, file, {"format": "pt"})
    weights.load_pair(tmp_path / "base", tmp_path / "lora", "bfloat16")
    with pytest.raises(ValueError, match=r"lora_A.* holds a number .* infinite in float16"):
        weights.load_pair(tmp_path / "base", tmp_path / "lora", "float16")


def test_weights_too_large_to_compute_with_are_not_taken_for_a_fault_of_merging(tmp_path):
    model = tiny_model("qwen2")
    model.get_decoder().layers[-1].mlp.down_proj.weight.data[:] = 1e30
    model.save_pretrained(tmp_path / "base")
    trained(tmp_path / "lora")
    pair = weights.load_pair(tmp_path / "base", tmp_path / "lora")
    with (
        pytest.raises(ValueError, match="lora on .*base: the logits of a probe are not finite"),
        pair.tuned(merged_above=0),
    ):
        pass


def test_a_weight_that_float16_does_not_hold_is_refused(tmp_path):
    model = tiny_model("llama")
    model.get_decoder().layers[0].mlp.up_proj.weight.data[0, 0] = 1e6
    model.save_pretrained(tmp_path)
    weights.load_base(tmp_path, "bfloat16")
    with pytest.raises(ValueError, match=r"up_proj.weight holds a number .* infinite in float16"):
        weights.load_base(tmp_path, "float16")
