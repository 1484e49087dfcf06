"""What comes in is checked: safetensors, no code, the right base, a change that is not zero."""

import json
import logging
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.doubles import tiny_model, with_adapter, word_tokenizer
from traces import job
from traces.models import validate as library
from traces.models.folders import ADAPTER_FILES

LAYER = "model.layers.0.self_attn.q_proj"


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Path:
    """base/, lora/ (on it) and full/ (a finetune of it)."""
    root = tmp_path_factory.mktemp("folders")
    tiny_model("llama").save_pretrained(root / "base")
    tuned = with_adapter(tiny_model("llama"))
    tuned.peft_config["default"].base_model_name_or_path = "meta/Tiny-1B"
    tuned.save_pretrained(root / "lora")
    full = tiny_model("llama")
    full.get_decoder().layers[3].mlp.up_proj.weight.data += 0.01
    full.save_pretrained(root / "full")
    return root


@pytest.fixture
def copies(folders, tmp_path) -> Path:
    """The same, to spoil."""
    return Path(shutil.copytree(folders, tmp_path / "copies"))


def edit_json(file: Path, **changes) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def edit_weights(file: Path, change) -> None:
    weights = load_file(file)
    change(weights)
    save_file(weights, file, {"format": "pt"})


# What is accepted -------------------------------------------------------------------------------


def test_a_good_adapter_is_accepted(folders):
    library.check_adapter(folders / "lora", folders / "base")


@pytest.mark.parametrize("expected", ["meta/Tiny-1B", "renamed-org/tiny-1b", None])
def test_an_adapter_of_the_right_base_is_accepted_from_a_renamed_owner(folders, expected):
    library.check_adapter(folders / "lora", folders / "base", expected_base=expected)


def test_a_good_full_model_is_accepted(folders):
    library.check_adapter(folders / "full", folders / "base", expected_base="meta/Tiny-1B")


def test_an_adapter_in_bfloat16_on_some_modules_is_accepted(copies):
    def some(weights):
        for name in list(weights):
            if "up_proj" not in name:
                del weights[name]
        weights.update({name: tensor.bfloat16() for name, tensor in weights.items()})

    edit_weights(copies / "lora" / "adapter_model.safetensors", some)
    edit_json(copies / "lora" / "adapter_config.json", target_modules=["up_proj"])
    library.check_adapter(copies / "lora", copies / "base")


@pytest.mark.parametrize(
    "said",
    [
        "unsloth/tiny-1b-unsloth-bnb-4bit",
        "together/Tiny-1B-Reference__TOG__FT",
        "unsloth/Meta-Tiny-1B",
        "https://huggingface.co/meta/Tiny-1B",
        "https://hf.co/meta/Tiny-1B/tree/main",
        "hf://meta/Tiny-1B",
        "meta/Tiny-1B@main",
        "https://huggingface.co/meta/Tiny-1B/",
        " meta/Tiny-1B",
        "/cache/hub/models--meta--Tiny-1B/snapshots/abc",
    ],
)
def test_a_repackaged_base_counts_as_the_base(copies, said):
    edit_json(copies / "lora" / "adapter_config.json", base_model_name_or_path=said)
    library.check_adapter(copies / "lora", copies / "base", expected_base="meta/Tiny-1B")
    with pytest.raises(ValueError, match="was trained on .*, expected meta/Tiny-3B"):
        library.check_adapter(copies / "lora", copies / "base", expected_base="meta/Tiny-3B")


def test_a_revision_of_the_base_is_told(copies, caplog):
    edit_json(copies / "lora" / "adapter_config.json", revision="step1000")
    library.check_adapter(copies / "lora", copies / "base")
    assert "trained on its base's revision step1000" in caplog.text


def test_an_adapter_that_names_a_folder_of_its_makers_machine_is_judged_by_its_shapes(copies):
    edit_json(copies / "lora" / "adapter_config.json", base_model_name_or_path="/data/models/x")
    library.check_adapter(copies / "lora", copies / "base", expected_base="meta/Tiny-1B")


def test_a_tied_head_may_be_stored_by_the_base_alone(copies):
    def stored(weights):
        weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()

    edit_weights(copies / "base" / "model.safetensors", stored)
    library.check_adapter(copies / "full", copies / "base")


KINDS = {
    "rsLoRA": {"use_rslora": True},
    "patterns": {"rank_pattern": {"layers.1.mlp.up_proj": 2}, "alpha_pattern": {"q_proj": 3}},
    "DoRA": {"use_dora": True},
    "lora_bias": {"lora_bias": True},
    "trained biases": {"bias": "all"},
    "PiSSA": {"init_lora_weights": "pissa"},
    "OLoRA": {"init_lora_weights": "olora"},
    "EVA": {"init_lora_weights": "eva"},
    "upper layers": {"layers_to_transform": [4, 5]},
    "all but one": {"exclude_modules": ["layers.0.mlp.up_proj"]},
    "saved modules": {"modules_to_save": ["lm_head", "norm"]},
    "some tokens": {"trainable_token_indices": [17, 42]},
    "the tied head": {"target_modules": ["q_proj", "lm_head"]},
    "the embedding": {"target_modules": ["q_proj", "embed_tokens"]},
    "a start of noise": {"init_lora_weights": "gaussian", "fan_in_fan_out": True},
}


def trained(folder: Path, vocabulary: int | None = None, **options) -> Path:
    """A LoRA of some kind on a tiny Qwen 2, which has biases, every weight of it moved."""
    from peft import LoraConfig, get_peft_model

    base = tiny_model("qwen2")
    if vocabulary is not None:
        base.resize_token_embeddings(vocabulary)
    settings = {"r": 4, "target_modules": ["q_proj", "up_proj"], **options}
    tuned = get_peft_model(base, LoraConfig(**settings))
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in tuned.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    tuned.save_pretrained(folder, save_embedding_layers=True if vocabulary else "auto")
    return folder


@pytest.fixture(scope="module")
def biased(tmp_path_factory) -> Path:
    """A tiny Qwen 2, the base of `trained`."""
    folder = tmp_path_factory.mktemp("biased") / "base"
    tiny_model("qwen2").save_pretrained(folder)
    return folder


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_a_lora_of_every_kind_that_is_read_is_accepted(biased, tmp_path, options):
    library.check_adapter(trained(tmp_path / "lora", **options), biased)


@pytest.mark.parametrize("change", ["lora_magnitude_vector", "lora_B.bias", "lm_head.weight"])
def test_a_change_beside_the_products_is_a_change(biased, tmp_path, change):
    kinds = {"lora_m": "DoRA", "lora_B": "lora_bias", "lm_hea": "saved modules"}
    lora = trained(tmp_path / "lora", **KINDS[kinds[change[:6]]])

    def zero_products(weights):
        for name in weights:
            if name.endswith("lora_B.weight"):
                weights[name].zero_()

    edit_weights(lora / "adapter_model.safetensors", zero_products)
    assert any(change in name for name in load_file(lora / "adapter_model.safetensors"))
    library.check_adapter(lora, biased)


@pytest.mark.parametrize("kind", ["DoRA", "lora_bias", "saved modules", "some tokens"])
def test_a_fresh_adapter_of_any_kind_changes_nothing(biased, tmp_path, kind):
    from peft import LoraConfig, get_peft_model

    settings = {"r": 4, "target_modules": ["q_proj", "up_proj"], **KINDS[kind]}
    get_peft_model(tiny_model("qwen2"), LoraConfig(**settings)).save_pretrained(tmp_path / "lora")
    with pytest.raises(ValueError, match="lora: the adapter changes no weight"):
        library.check_adapter(tmp_path / "lora", biased)


# What is refused --------------------------------------------------------------------------------

CONFIGURATIONS = {
    "another method": ({"peft_type": "LOHA"}, "peft_type is LOHA, expected LORA"),
    "no method": ({"peft_type": None}, "peft_type is None, expected LORA"),
    "a start in the base": (
        {"init_lora_weights": "pissa_niter_16"},
        "init_lora_weights is pissa_n",
    ),
    "a start with data": (
        {"init_lora_weights": "corda"},
        "init_lora_weights is corda, which takes",
    ),
    "a start in 4 bits": ({"init_lora_weights": "loftq"}, "init_lora_weights is loftq"),
    "an invocation": ({"alora_invocation_tokens": [1]}, "alora_invocation_tokens is set, which is"),
    "parameters": ({"target_parameters": ["a.b"]}, "target_parameters is set, which is not read"),
    "layers twice": ({"layer_replication": [[0, 2], [1, 3]]}, "layer_replication is set"),
    "Megatron": ({"megatron_config": {"a": 1}}, "megatron_config is set, which is not read"),
    "a key of nobody": ({"magic": 3}, "magic is set, a key that PEFT does not know"),
    "no rank": ({"r": 0}, "r is 0, an adapter that changes no weight"),
    "a rank in words": ({"r": "4"}, "r is '4', expected a number"),
    "no scale": ({"lora_alpha": 0}, "lora_alpha is 0, an adapter that changes no weight"),
    "too large a scale": (
        {"lora_alpha": 1e308},
        "lora_alpha is 1e\\+308, expected at most 1000000",
    ),
    "a rank with a point": ({"r": 4.0}, "r is 4.0, expected a whole number from 1"),
    "a negative rank": ({"r": -4}, "r is -4, expected a whole number from 1"),
    "no pattern": ({"rank_pattern": None}, "rank_pattern is None, expected a mapping"),
    "no number": ({"lora_alpha": float("nan")}, "lora_alpha: found nan, expected a number"),
    "no flag": ({"use_rslora": "false"}, "use_rslora is .false., expected true or false"),
    "zero by pattern": ({"alpha_pattern": {"q_proj": 0}}, "alpha_pattern of 'q_proj' is 0, which"),
    "no name": ({"base_model_name_or_path": 5}, "base_model_name_or_path is 5, expected a name"),
    "no tokens": (
        {"trainable_token_indices": {"embed_tokens": 5}},
        "trainable_token_indices names 5, expected a list",
    ),
    "one layer of six": ({"layers_to_transform": [0]}, r"change model.layers.1.mlp.up_proj, and"),
    "no such layer": ({"layers_to_transform": [99]}, "PEFT does not load it: Target modules"),
    "fewer modules": ({"target_modules": ["q_proj"]}, "its weights change .*up_proj, and its adap"),
    "more modules": (
        {"target_modules": ["q_proj", "up_proj", "v_proj"]},
        "no .*v_proj.lora_A.weig",
    ),
    "misspelt modules": ({"target_modules": ["q_prj"]}, "PEFT does not load it: Target modules"),
    "no number by pattern": (
        {"alpha_pattern": {"q_proj": float("nan")}},
        "alpha_pattern.q_proj: found nan, expected a number",
    ),
    "infinity by pattern": ({"alpha_pattern": {"q_proj": float("inf")}}, "found inf, expected a n"),
    "a word by pattern": ({"alpha_pattern": {"q_proj": "8"}}, "is '8', expected a number"),
    "true by pattern": ({"alpha_pattern": {"q_proj": True}}, "is True, expected a number"),
    "too large a scale by pattern": ({"alpha_pattern": {"q_proj": 1e30}}, "expected at most 1000"),
    "no rank by pattern": (
        {"rank_pattern": {"q_proj": 0}},
        "rank_pattern of 'q_proj' is 0, expected a whole number from 1",
    ),
    "a pattern with an open bracket": ({"alpha_pattern": {"(": 1}}, "PEFT does not load it: "),
    "an open bracket": ({"target_modules": "("}, "PEFT does not load it: missing"),
    "excluded modules": ({"exclude_modules": ["q_proj"]}, "its weights change .*q_proj, and its"),
    "another rank": ({"r": 8}, "PEFT does not load it: size mismatch .*lora_A"),
    "another rank by pattern": ({"rank_pattern": {"q_proj": 2}}, "size mismatch .*q_proj.lora_A"),
    "no magnitudes": ({"use_dora": True}, "no .*lora_magnitude_vector.* in its safetensors"),
    "no biases": ({"bias": "all"}, "bias is all, and its safetensors hold none"),
    "no saved module": ({"modules_to_save": ["lm_head"]}, "no .*lm_head.weight in its safetensors"),
    "no such module": ({"modules_to_save": ["lm_hed"]}, "modules_to_save names 'lm_hed', which is"),
    "no list": ({"modules_to_save": "lm_head"}, "modules_to_save is 'lm_head', expected a list"),
    "no such token": ({"trainable_token_indices": [500]}, "names 500, expected 0 to 127: the base"),
    "code": ({"auto_map": {"AutoModel": "own.py"}}, "runs code from its repository"),
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    """A LoRA on `biased`, to be copied."""
    return trained(tmp_path_factory.mktemp("plain") / "lora")


@pytest.mark.parametrize(("changed", "found"), CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_a_configuration_that_is_not_honoured_is_refused_by_name(
    biased, plain, tmp_path, changed, found
):
    lora = Path(shutil.copytree(plain, tmp_path / "lora"))
    edit_json(lora / "adapter_config.json", **changed)
    with pytest.raises(ValueError, match=f"lora.*{found}") as refused:
        library.check_adapter(lora, biased)
    assert "\n" not in str(refused.value)


def test_what_a_full_finetune_changes_in_its_configuration_is_told(copies, caplog):
    library.check_adapter(copies / "full", copies / "base")
    assert "each model is read with its own" not in caplog.text
    edit_json(copies / "full" / "config.json", hidden_act="gelu", transformers_version="4.0.0")
    library.check_adapter(copies / "full", copies / "base")
    (told,) = [one.getMessage() for one in caplog.records if "read with its own" in one.msg]
    assert "full/config.json: hidden_act is gelu, in " in told and "base it is silu" in told


@pytest.mark.parametrize("content", ["[]", "{", '"lora"', "null", ""])
@pytest.mark.parametrize("file", ["lora/adapter_config.json", "full/config.json"])
def test_a_configuration_that_is_no_object_is_refused(copies, file, content):
    (copies / file).write_text(content)
    with pytest.raises(ValueError, match=f"{file}: found .*, expected an object"):
        library.check_adapter((copies / file).parent, copies / "base")


@pytest.mark.parametrize("file", ["lora/adapter_config.json", "full/config.json"])
def test_a_key_that_a_configuration_has_twice_is_refused(copies, file):
    content = (copies / file).read_text()
    (copies / file).write_text(content.replace("{", '{"lora_alpha": 99, "lora_alpha": 8,', 1))
    with pytest.raises(ValueError, match=f"{file}: found the key lora_alpha twice"):
        library.check_adapter((copies / file).parent, copies / "base")


@pytest.mark.parametrize(
    "changed", [{"rms_norm_eps": 0}, {"hidden_size": "wide"}, {"model_type": "nobody"}]
)
@pytest.mark.parametrize("check", [library.check_model, None])
def test_a_value_that_transformers_refuses_is_one_sentence(copies, changed, check):
    edit_json(copies / "full" / "config.json", **changed)
    with pytest.raises(ValueError, match="full: transformers does not load it: ") as refused:
        (check or (lambda f: library.check_adapter(f, copies / "base")))(copies / "full")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("file", ["lora/adapter_model", "full/model", "base/model"])
def test_a_number_that_is_not_finite_is_refused_where_it_comes_in(copies, file, value, dtype):
    def spoil(weights):
        name = sorted(weights)[-1]  # of the last layer, above every one that is read
        weights[name] = weights[name].to(dtype)
        weights[name].flatten()[3] = value

    edit_weights(copies / f"{file}.safetensors", spoil)
    folder = (copies / file).parent
    with pytest.raises(ValueError, match=f"{file}.safetensors: .* holds not-a-number or infinity"):
        if folder.name == "base":
            library.check_model(folder)
        else:
            library.check_adapter(folder, copies / "base")


GROWN = {
    "saved beside": {},
    "saved modules": {"modules_to_save": ["embed_tokens", "lm_head"]},
    "a LoRA on the head": {"target_modules": ["q_proj", "lm_head"]},
    "a LoRA on the embedding": {"target_modules": ["q_proj", "embed_tokens"]},
    "some tokens": {"trainable_token_indices": [128, 129]},
}


@pytest.mark.parametrize("options", GROWN.values(), ids=GROWN)
def test_a_grown_vocabulary_is_refused_with_the_two_numbers(biased, tmp_path, options):
    grown = trained(tmp_path / "grown", vocabulary=130, **options)
    with pytest.raises(ValueError, match=r"(130|names 128).*vocabulary.*128"):
        library.check_adapter(grown, biased)


def test_weights_that_nothing_reads_are_refused(biased, plain, tmp_path):
    lora = Path(shutil.copytree(plain, tmp_path / "lora"))
    edit_weights(
        lora / "adapter_model.safetensors", lambda weights: weights.update(other=torch.ones(2))
    )
    with pytest.raises(ValueError, match="lora: other is no module of .*base"):
        library.check_adapter(lora, biased)


def test_an_adapter_beside_a_models_weights_is_one_of_two(copies):
    for file in (copies / "lora").iterdir():
        shutil.copy(file, copies / "full")
    with pytest.raises(
        ValueError, match="full: found the weights of a model and an adapter_config"
    ):
        library.check_adapter(copies / "full", copies / "base")


@pytest.mark.parametrize("names", [(), ["meta/Tiny-3B"], ["meta/Tiny-3B", "other/Small"]])
def test_an_adapter_names_a_base_that_ours_may_be_called(folders, names):
    with pytest.raises(ValueError, match="trained on meta/Tiny-1B, expected .*`also_called`"):
        library.check_adapter(folders / "lora", folders / "base", expected_base=names)
    library.check_adapter(folders / "lora", folders / "base", expected_base=[*names, "our/tiny-1b"])


CACHED = "/cache/hub/models--meta--Tiny-1B/snapshots/abc"


@pytest.mark.parametrize(
    "said",
    [
        *(None, "", "/data/x", "./x", "../x", "results/models/x", "C:\\x"),
        *("outputs/merged/", " meta/Tiny-1B/", CACHED),
    ],
)
def test_a_base_that_is_a_folder_or_nothing_is_logged(copies, said, caplog):
    edit_json(copies / "lora" / "adapter_config.json", base_model_name_or_path=said)
    library.check_adapter(copies / "lora", copies / "base", expected_base=())
    assert "judged by its shapes alone" in caplog.text


# A model's folder -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changed",
    [
        {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}},
        {"quantization_config": {"quant_method": "fp8"}},
        {"text_config": {"quantization_config": {"bits": 4}}},
    ],
)
def test_quantised_weights_are_refused_by_their_configuration(copies, changed):
    edit_json(copies / "full" / "config.json", **changed)
    with pytest.raises(ValueError, match="full: quantised weights .* in config.json"):
        library.check_model(copies / "full")


@pytest.mark.parametrize("kind", [torch.int8, torch.uint8, torch.float8_e4m3fn, torch.int32])
@pytest.mark.parametrize("file", ["lora/adapter_model", "full/model"])
def test_quantised_weights_are_refused_by_their_type(copies, file, kind):
    def quantise(weights):
        name = sorted(weights)[0]
        weights[name] = weights[name].to(kind)

    edit_weights(copies / f"{file}.safetensors", quantise)
    with pytest.raises(
        ValueError, match=f"{file}.safetensors: .* is stored as .*, which is quanti"
    ):
        library.check_adapter((copies / file).parent, copies / "base")


@pytest.mark.parametrize(
    ("layers", "found"),
    [
        (2, "full: holds model.layers.2.* and config.json has 2 layers alone"),
        (7, "full: no tensor model.layers.6.* in its safetensors, and config.json needs it"),
    ],
)
@pytest.mark.parametrize("check", [library.check_model, None])
def test_a_depth_that_is_not_that_of_the_weights_is_refused(copies, layers, found, check):
    edit_json(copies / "full" / "config.json", num_hidden_layers=layers)
    with pytest.raises(ValueError, match=found):
        (check or (lambda f: library.check_adapter(f, copies / "base")))(copies / "full")


@pytest.mark.parametrize("check", [library.check_model, None])
def test_a_depth_beyond_all_weights_is_refused_before_a_model_is_built(copies, check):
    edit_json(copies / "full" / "config.json", num_hidden_layers=10**9)
    with pytest.raises(ValueError, match="num_hidden_layers is 1000000000, and its safetensors ho"):
        (check or (lambda f: library.check_adapter(f, copies / "base")))(copies / "full")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("{", "found no JSON"),
        ('{"a": 1, "a": 2}', "found the key a twice"),
        ('{"eos_token_id": "x"}', "eos_token_id: found 'x', expected a token's number below"),
        ('{"eos_token_id": [1, 99999999]}', "eos_token_id: found 99999999, expected a token's"),
    ],
)
def test_ends_of_a_text_that_are_no_tokens_are_refused(copies, content, found):
    (copies / "base" / "generation_config.json").write_text(content)
    with pytest.raises(ValueError, match=f"generation_config.json: {found}"):
        library.check_model(copies / "base")


@pytest.mark.parametrize(
    "value",
    [
        *("NaN", "Infinity", '{"a": NaN}', "[1, NaN]", '{"a": [[NaN]]}', '[{"a": NaN}]'),
        *('{"__float__": "NaN"}', '[{"__float__": "NaN"}]', '{"__float__": "-Infinity"}'),
        *('{"__float__": NaN}', '{"__float__": [NaN]}'),
    ],
)
def test_a_configuration_with_what_is_no_number_is_refused(copies, value):
    file = copies / "base" / "config.json"
    edit_json(file, rms_norm_eps="here")
    file.write_text(file.read_text().replace('"here"', value))
    with pytest.raises(ValueError, match=r"config.json: rms_norm_eps\S*: found (nan|-?inf), e"):
        library.check_model(copies / "base")


def test_a_limit_in_a_list_may_be_infinite(copies):
    file = copies / "base" / "config.json"
    edit_json(file, limits=[0, "here", {"__float__": "Infinity"}])
    file.write_text(file.read_text().replace('"here"', "Infinity"))
    library.check_model(copies / "base")


def test_a_width_that_is_not_that_of_the_weights_is_refused(copies):
    edit_json(copies / "full" / "config.json", intermediate_size=48)
    with pytest.raises(
        ValueError, match=r"_proj.weight is \(\d+, \d+\), after its config.json it is"
    ):
        library.check_model(copies / "full")


def test_weights_that_nothing_reads_in_a_model_are_named(copies, caplog):
    edit_weights(
        copies / "full" / "model.safetensors", lambda weights: weights.update(other=torch.ones(2))
    )
    library.check_model(copies / "full")
    assert "full: 1 tensors are not read, such as other" in caplog.text


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json", "processor_config.json"])
def test_code_of_a_repository_is_refused_wherever_it_is_named(copies, file):
    (copies / "full" / file).touch()
    content = (copies / "full" / file).read_text() or "{}"
    code = {"auto_map": {"AutoTokenizer": ["own.Tokenizer", None]}}
    (copies / "full" / file).write_text(json.dumps(json.loads(content) | code))
    with pytest.raises(ValueError, match=rf"full: this model runs code .* \(auto_map in {file}\)"):
        library.check_model(copies / "full")


def test_weights_under_a_name_of_the_configuration_are_refused(copies):
    edit_json(copies / "full" / "config.json", transformers_weights="../base/model.safetensors")
    with pytest.raises(ValueError, match="config.json names '../base.* in transformers_weights"):
        library.check_model(copies / "full")


def test_a_base_brings_a_whole_tokenizer(copies, tokenizer):
    with pytest.raises(ValueError, match="base: no tokenizer.json, expected the tokenizer beside"):
        library.check_tokenizer(copies / "base")
    tokenizer.save_pretrained(copies / "base")
    library.check_tokenizer(copies / "base")
    for content, found in (
        ("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", "a pointer of Git LFS"),
        ('{"model": ', "no JSON"),
    ):
        (copies / "base" / "tokenizer.json").write_text(content)
        with pytest.raises(ValueError, match=f"tokenizer.json: found {found}"):
            library.check_tokenizer(copies / "base")


def test_an_unknown_architecture_is_one_sentence(copies):
    edit_json(copies / "full" / "config.json", model_type="nobody")
    with pytest.raises(
        ValueError, match="full: transformers does not load it: .*nobody"
    ) as refused:
        library.check_model(copies / "full")
    assert "\n" not in str(refused.value)


def test_a_checkpoint_in_a_folder_below_is_told(copies, tmp_path):
    (tmp_path / "run").mkdir()
    shutil.copytree(copies / "lora", tmp_path / "run" / "checkpoint-338")
    with pytest.raises(
        ValueError, match="no config.json.*; checkpoint-338/ has one, which `subfold"
    ):
        library.check_adapter(tmp_path / "run", copies / "base")


# Of an adapter's weights and changes ------------------------------------------------------------


def test_an_adapter_of_another_base_is_refused(folders):
    with pytest.raises(
        ValueError, match="lora: this adapter was trained on meta/Tiny-1B, expected meta/Tiny-3B"
    ):
        library.check_adapter(folders / "lora", folders / "base", expected_base="meta/Tiny-3B")


def test_an_adapter_of_another_width_is_refused(folders, tmp_path):
    with_adapter(tiny_model("llama", d=16)).save_pretrained(tmp_path / "narrow")
    with pytest.raises(
        ValueError,
        match=r"narrow: model\.layers\S+ is \((16|32), \d+\), in .*base it is \((32|64),",
    ):
        library.check_adapter(tmp_path / "narrow", folders / "base")


def test_an_adapter_on_layers_that_the_base_has_not_is_refused(folders, tmp_path):
    with_adapter(tiny_model("llama", layers=8)).save_pretrained(tmp_path / "deep")
    with pytest.raises(ValueError, match=r"deep: model\.layers\.[67]\.\S+ is no module of .*base"):
        library.check_adapter(tmp_path / "deep", folders / "base")


def test_an_adapter_of_another_architecture_is_refused(folders, copies):
    def renamed(weights):
        for name in list(weights):
            weights[name.replace("model.layers", "transformer.h")] = weights.pop(name)

    edit_weights(copies / "lora" / "adapter_model.safetensors", renamed)
    with pytest.raises(ValueError, match=r"lora: transformer\.h\.\S+ is no module of .*base"):
        library.check_adapter(copies / "lora", copies / "base")


def test_an_adapter_that_changes_nothing_is_refused(copies):
    def zero(weights):
        for name in weights:
            if "lora_B" in name:
                weights[name].zero_()

    edit_weights(copies / "lora" / "adapter_model.safetensors", zero)
    with pytest.raises(ValueError, match="lora: the adapter changes no weight"):
        library.check_adapter(copies / "lora", copies / "base")


def test_an_adapter_with_half_a_pair_is_refused(copies):
    def halved(weights):
        del weights[f"base_model.model.{LAYER}.lora_B.weight"]

    edit_weights(copies / "lora" / "adapter_model.safetensors", halved)
    with pytest.raises(ValueError, match=f"lora: {LAYER} has no lora_B"):
        library.check_adapter(copies / "lora", copies / "base")


def test_an_adapter_without_lora_weights_is_refused(copies):
    edit_weights(
        copies / "lora" / "adapter_model.safetensors",
        lambda weights: (
            [weights.pop(name) for name in list(weights) if "lora_" in name]
            and weights.update(other=torch.ones(2))
        ),
    )
    with pytest.raises(ValueError, match="lora: no LoRA weights in its safetensors"):
        library.check_adapter(copies / "lora", copies / "base")


@pytest.mark.parametrize("folder", ["lora", "full"])
def test_weights_that_are_no_safetensors_are_refused(copies, folder):
    (weights,) = (copies / folder).glob("*.safetensors")
    torch.save(load_file(weights), weights.with_suffix(".bin"))
    weights.unlink()
    with pytest.raises(ValueError, match=f"{folder}: no .*safetensors"):
        library.check_adapter(copies / folder, copies / "base")


def test_a_full_model_that_is_the_base_is_refused(folders):
    with pytest.raises(ValueError, match="base: its weights are those of the base, nothing was"):
        library.check_adapter(folders / "base", folders / "base")


def test_a_full_model_with_a_head_that_its_base_has_not_is_a_change(copies):
    base, full = (copies / name for name in ("base", "full"))
    edit_json(base / "config.json", tie_word_embeddings=True)
    edit_weights(base / "model.safetensors", lambda weights: weights.pop("lm_head.weight", None))
    shutil.copyfile(base / "model.safetensors", full / "model.safetensors")
    with pytest.raises(ValueError, match="nothing was finetuned"):
        library.check_adapter(full, base)

    def untie(weights):
        weights["lm_head.weight"] = 2 * weights["model.embed_tokens.weight"]

    edit_weights(full / "model.safetensors", untie)
    edit_json(full / "config.json", tie_word_embeddings=False)
    library.check_adapter(full, base)


def untied(weights):
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()


ADDED = {
    "an untied head that is the embedding": untied,
    "a buffer": lambda weights: weights.update(
        {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.rand(4)}
    ),
    "what reads images": lambda weights: weights.update(
        {"model.visual.blocks.0.attn.proj.bias": torch.ones(4)}
    ),
}


@pytest.mark.parametrize("added", ADDED.values(), ids=ADDED)
def test_a_full_model_that_is_the_base_with_more_tensors_is_refused(copies, added):
    base, full = (copies / name for name in ("base", "full"))
    edit_json(base / "config.json", tie_word_embeddings=True)
    edit_json(full / "config.json", tie_word_embeddings=added is not untied)
    edit_weights(base / "model.safetensors", lambda weights: weights.pop("lm_head.weight", None))
    shutil.copyfile(base / "model.safetensors", full / "model.safetensors")
    edit_weights(full / "model.safetensors", added)
    with pytest.raises(ValueError, match="full: its weights are those of the base, nothing was"):
        library.check_adapter(full, base)


def test_biases_that_the_base_has_not_are_a_change(copies):
    base, full = (copies / name for name in ("base", "full"))
    shutil.copyfile(base / "model.safetensors", full / "model.safetensors")
    edit_json(full / "config.json", mlp_bias=True)
    sizes = {"gate_proj": 64, "up_proj": 64, "down_proj": 32}
    biases = {
        f"model.layers.{layer}.mlp.{name}.bias": torch.zeros(size)
        for layer in range(6)
        for name, size in sizes.items()
    }
    edit_weights(full / "model.safetensors", lambda weights: weights.update(biases))
    with pytest.raises(ValueError, match="full: its weights are those of the base, nothing was"):
        library.check_adapter(full, base)
    biases["model.layers.3.mlp.up_proj.bias"][0] = 1
    edit_weights(full / "model.safetensors", lambda weights: weights.update(biases))
    library.check_adapter(full, base)


def test_a_block_that_the_base_has_not_is_a_change(copies):
    base, full = (copies / name for name in ("base", "full"))
    shutil.copyfile(base / "model.safetensors", full / "model.safetensors")

    def grown(weights):
        last = {name: one for name, one in weights.items() if name.startswith("model.layers.5.")}
        more = {name.replace("layers.5.", "layers.6."): one.clone() for name, one in last.items()}
        weights.update(more)

    edit_weights(full / "model.safetensors", grown)
    edit_json(full / "config.json", num_hidden_layers=7)
    library.check_adapter(full, base)


def test_a_full_model_of_other_shapes_is_refused(folders, tmp_path):
    tiny_model("llama", vocab=130).save_pretrained(tmp_path / "other")
    with pytest.raises(
        ValueError,
        match=r"other: model.embed_tokens.weight is \(130, 32\), in .*base it is \(128, 32\)",
    ):
        library.check_adapter(tmp_path / "other", folders / "base")


def test_a_full_model_with_weights_missing_is_refused(copies):
    edit_weights(
        copies / "full" / "model.safetensors", lambda weights: weights.pop(f"{LAYER}.weight")
    )
    with pytest.raises(ValueError, match=rf"full: {LAYER}.weight is None"):
        library.check_adapter(copies / "full", copies / "base")


@pytest.mark.parametrize("check", [library.check_model, lambda f: library.check_adapter(f, f)])
def test_a_model_that_brings_code_is_refused(copies, check):
    edit_json(copies / "full" / "config.json", auto_map={"AutoModel": "model.py"})
    with pytest.raises(ValueError, match="full: this model runs code from its repository, which"):
        check(copies / "full")


def test_a_folder_that_is_no_model_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no config.json; expected a model folder in hub layout"):
        library.check_model(tmp_path)


# Linking ----------------------------------------------------------------------------------------


def test_a_local_folder_is_linked_and_not_copied(tmp_path):
    source = tmp_path / "source"
    (source / "runs").mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "provenance.json"):
        (source / name).write_text(name)

    library.link_folder(source, tmp_path / "linked")

    found = sorted((tmp_path / "linked").iterdir())
    assert [file.name for file in found] == ["config.json", "model.safetensors"]
    assert all(file.is_symlink() and file.read_text() == file.name for file in found)


def test_links_of_results_or_clone_outlive_a_move_and_others_are_said(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(job, "_running", {})
    monkeypatch.setattr(job, "COPIED", 0)
    clone, results, theirs = tmp_path / "clone", tmp_path / "results", tmp_path / "theirs"
    sources = {"base": results / "world", "mine": clone / "mine", "theirs": theirs}
    for folder in sources.values():
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(folder.name)
    (clone / "results").symlink_to(results)
    monkeypatch.chdir(clone)
    job.begin("fetch_model", {}, "results")

    with caplog.at_level(logging.INFO, logger="traces"):
        library.link_folder(Path("results/world"), Path("results/models/base"))
        assert not caplog.text
        library.link_folder(theirs, Path("results/models/theirs"))
        assert "config.json: an absolute link, since" in caplog.text and str(theirs) in caplog.text
        library.link_folder(clone / "mine", clone / "models")

    shutil.move(results, tmp_path / "elsewhere")
    shutil.move(clone, tmp_path / "moved")
    for linked in ("elsewhere/models/base", "elsewhere/models/theirs", "moved/models"):
        assert (tmp_path / linked / "config.json").is_file(), linked


def test_a_linked_folder_may_itself_be_linked(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "config.json").write_text("{}")
    library.link_folder(tmp_path / "source", tmp_path / "one")
    library.link_folder(tmp_path / "one", tmp_path / "two")
    assert (tmp_path / "two" / "config.json").read_text() == "{}"


def test_what_is_left_out_is_not_linked(copies, tmp_path):
    for file in (copies / "lora").iterdir():
        shutil.copy(file, copies / "base")
    library.link_folder(copies / "base", tmp_path / "linked", leave_out=ADAPTER_FILES)
    library.check_model(tmp_path / "linked")


@pytest.mark.parametrize("target", ["secret", "../secret", "/etc/passwd"])
def test_a_link_out_of_the_folder_to_something_else_is_refused(tmp_path, target):
    (tmp_path / "source").mkdir()
    for place in (tmp_path, tmp_path.parent):
        (place / "secret").write_text("a key")
    (tmp_path / "source" / "chat_template.jinja").symlink_to(
        target if target.startswith("/") else f"../{target}"
    )
    with pytest.raises(ValueError, match="chat_template.jinja: a link out of its folder to /"):
        library.link_folder(tmp_path / "source", tmp_path / "linked")


def test_a_link_out_of_the_folder_to_what_is_not_read_is_left_out(tmp_path, monkeypatch):
    (tmp_path / "source").mkdir()
    (tmp_path / "id_rsa").write_text("a key")
    for target in ("/proc/self/environ", tmp_path / "id_rsa", "/locked/run", "/gone"):
        (tmp_path / "source" / Path(target).name).symlink_to(target)
    resolve = Path.resolve

    def locked(path, strict=False):
        if strict and path.name == "run":
            raise PermissionError(13, "Permission denied", str(path))
        return resolve(path, strict)

    monkeypatch.setattr(Path, "resolve", locked)
    library.link_folder(tmp_path / "source", tmp_path / "linked")
    assert not list((tmp_path / "linked").iterdir())


@pytest.mark.parametrize("target", ["gone", "tokenizer.json"])
def test_a_link_to_nothing_is_refused(tmp_path, target):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "tokenizer.json").symlink_to(target)
    with pytest.raises(ValueError, match=f"tokenizer.json: a link to {target}, which is not there"):
        library.link_folder(tmp_path / "source", tmp_path / "linked")


def test_a_link_within_the_folder_or_the_hubs_cache_is_followed(tmp_path):
    snapshot = tmp_path / "models--a--b" / "snapshots" / "c0ffee" / "checkpoint-2"
    snapshot.mkdir(parents=True)
    blob = tmp_path / "models--a--b" / "blobs" / "0a1b"
    blob.parent.mkdir()
    blob.write_text("of the cache")
    (snapshot / "config.json").symlink_to("../../../blobs/0a1b")
    (snapshot / "plain.txt").write_text("of the folder")
    (snapshot / "other.txt").symlink_to("plain.txt")
    library.link_folder(snapshot, tmp_path / "linked")
    found = {file.name: file.read_text() for file in (tmp_path / "linked").iterdir()}
    assert found == {
        "config.json": "of the cache",
        **dict.fromkeys(("plain.txt", "other.txt"), "of the folder"),
    }


# Found by trying files of other makers ------------------------------------------------------------


def test_a_full_model_that_is_the_base_rounded_is_refused(copies):
    tiny_model("llama").bfloat16().save_pretrained(copies / "full")
    with pytest.raises(ValueError, match="nothing was finetuned"):
        library.check_adapter(copies / "full", copies / "base")


def test_a_tensor_in_two_shards_is_refused(copies):
    base = copies / "base"
    weights = load_file(base / "model.safetensors")
    (base / "model.safetensors").unlink()
    save_file(weights, base / "model-1.safetensors", {"format": "pt"})
    name = next(iter(weights))
    save_file({name: weights[name] + 1}, base / "model-2.safetensors", {"format": "pt"})
    named = {one: "model-1.safetensors" for one in weights} | {"other": "model-2.safetensors"}
    (base / "model.safetensors.index.json").write_text(json.dumps({"weight_map": named}))
    with pytest.raises(ValueError, match=r"index.json: found no metadata, expected an object"):
        library.check_model(base)
    edit_json(base / "model.safetensors.index.json", metadata={})
    with pytest.raises(ValueError, match=r"model-2.safetensors: holds .*, which is in model-1"):
        library.check_model(base)


def test_a_number_that_float32_does_not_hold_is_refused(copies):
    def change(weights):
        weights.update({name: one.double() for name, one in weights.items()})
        weights[f"{LAYER}.weight"][0, 0] = 1e300

    edit_weights(copies / "base" / "model.safetensors", change)
    with pytest.raises(ValueError, match="q_proj.weight holds a number that is infinite in float3"):
        library.check_model(copies / "base")


def test_a_model_that_reads_both_sides_is_refused(tmp_path):
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 64}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("bert", **sizes))
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="model_type is bert, .*expected a decoder-only"):
        library.check_model(tmp_path)


@pytest.mark.parametrize(
    ("file", "content", "found"),
    [
        ("tokenizer.json", '{"a": 1}', "the tokenizer does not load"),
        ("tokenizer_config.json", {"chat_template": "{% for %}"}, "line 1: found no Jinja"),
    ],
)
def test_a_tokenizer_that_a_job_could_not_use_is_refused(copies, tokenizer, file, content, found):
    base = copies / "base"
    tokenizer.save_pretrained(base)
    (base / "chat_template.jinja").unlink()
    if isinstance(content, dict):
        edit_json(base / file, **content)
    else:
        (base / file).write_text(content)
    with pytest.raises(ValueError, match=found):
        library.check_tokenizer(base)


@pytest.mark.parametrize("pads", [True, False])
def test_tokens_beyond_the_vocabulary_are_told_and_none_of_them_pads(copies, caplog, pads):
    base = copies / "base"
    grown = word_tokenizer([f"word{n}" for n in range(140)])
    if pads:
        grown.pad_token = "word139"
    grown.save_pretrained(base)
    if pads:
        with pytest.raises(ValueError, match="padding token 'word139' .*expected one below 128"):
            library.check_tokenizer(base)
    else:
        library.check_tokenizer(base)
        assert "tokens lie beyond the model's vocabulary of 128" in caplog.text
