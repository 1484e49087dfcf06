"""What is read of a folder is named files, whole ones, of this folder alone."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.doubles import tiny_model, with_adapter
from traces.models import folders as library
from traces.models import weights

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """one/ (a model in one file), many/ (the same in shards) and lora/ (an adapter)."""
    root = tmp_path_factory.mktemp("folders")
    tiny_model("llama").save_pretrained(root / "one")
    tiny_model("llama").save_pretrained(root / "many", max_shard_size="40KB")
    with_adapter(tiny_model("llama")).save_pretrained(root / "lora")
    return root


@pytest.fixture
def copies(made, tmp_path) -> Path:
    """The same, to spoil."""
    return Path(shutil.copytree(made, tmp_path / "copies"))


def edit_index(folder: Path, file: str) -> str:
    """Let the index name another file for its first tensor; return the tensor."""
    index = folder / library.INDEX
    found = json.loads(index.read_text())
    name = sorted(found["weight_map"])[0]
    found["weight_map"][name] = file
    index.write_text(json.dumps(found))
    return name


# Which files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["one", "many", "lora"])
@pytest.mark.parametrize("other", ["model_ema.safetensors", "decoy.safetensors", "a.safetensors"])
def test_weights_under_another_name_are_not_read(copies, folder, other):
    before = library.tensor_files(copies / folder)
    first = sorted(before)[0]
    expected = library.tensor(copies / folder, first)
    save_file({first: torch.full_like(expected, 7.0)}, copies / folder / other)
    assert library.tensor_files(copies / folder) == before
    assert torch.equal(library.tensor(copies / folder, first), expected)


def test_a_readout_is_not_that_of_an_average_beside_the_model(copies):
    expected = weights.load_readout(copies / "one").state_dict()
    ema = {"model.norm.weight": torch.zeros(32), "model.embed_tokens.weight": torch.zeros(128, 32)}
    save_file(ema, copies / "one" / "model_ema.safetensors")
    found = weights.load_readout(copies / "one").state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_one_file_is_read_before_an_index_as_transformers_does(copies):
    shutil.copy(copies / "one" / "model.safetensors", copies / "many")
    assert [one.name for one in library.weight_files(copies / "many")] == ["model.safetensors"]


def test_an_adapter_in_another_format_is_refused_whatever_stands_beside_it(copies):
    lora = copies / "lora"
    (lora / "adapter_model.safetensors").rename(lora / "decoy.safetensors")
    torch.save({}, lora / "adapter_model.bin")
    with pytest.raises(
        ValueError,
        match=r"lora: no adapter_model.safetensors, .* \(found adapter_model.bin, decoy.safe",
    ):
        library.weight_files(lora)
    with pytest.raises(ValueError, match="lora: no adapter_model.safetensors"):
        weights.load_checkpoint(copies / "one", lora)


# Whole ones -------------------------------------------------------------------------------------


def test_a_missing_shard_is_named(copies):
    sorted((copies / "many").glob("model-0*"))[-1].unlink()
    with pytest.raises(ValueError, match=r"many: model-0000\d-of-\d+.safetensors is not there"):
        library.weight_files(copies / "many")


@pytest.mark.parametrize("size", [0, 4, 300, -1])
def test_a_cut_file_is_named(copies, size):
    file = copies / "one" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(ValueError, match=r"model.safetensors: cut, damaged or no safetensors"):
        library.tensor_files(copies / "one")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_pointer_of_git_lfs_is_named(copies, name):
    file = copies / "one" / name
    file.write_text(POINTER)
    with pytest.raises(ValueError, match=f"{name}: found a pointer of Git LFS, expected the file"):
        library.tensor_files(file.parent) if "safe" in name else library.read_json(file)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"[]", "found a list, expected an object"),
        (b"null", "found a NoneType, expected an object"),
        (b'"a"', "found a str, expected an object"),
        (b"{", "found no JSON"),
        (b"", "found no JSON"),
        (b"\xff\xfe{}", "found no JSON"),
    ],
)
def test_what_is_no_object_in_json_is_one_sentence(tmp_path, content, found):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ValueError, match=f"config.json: {found}") as refused:
        library.read_json(tmp_path / "config.json")
    assert "\n" not in str(refused.value)


# Of this folder ---------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["../out.safetensors", "in/out.safetensors", "{}", "x.bin", ".."])
def test_an_index_names_no_file_elsewhere_or_of_another_format(copies, where):
    outside = copies / "out.safetensors"
    save_file({"model.norm.weight": torch.ones(32)}, outside)
    edit_index(copies / "many", where.format(outside))
    for read in (library.weight_files, weights.load_base):
        with pytest.raises(ValueError, match="weight_map names .*, expected a safetensors file of"):
            read(copies / "many")


@pytest.mark.parametrize("content", ["{}", '{"weight_map": {}}', '{"weight_map": ["a"]}'])
def test_an_index_without_a_map_is_refused(copies, content):
    (copies / "many" / library.INDEX).write_text(content)
    with pytest.raises(ValueError, match="index.json: found no weight_map"):
        library.weight_files(copies / "many")


@pytest.mark.parametrize(
    ("name", "plain", "layer"),
    [
        ("model.layers.3.mlp.up_proj.weight", "layers.3.mlp.up_proj.weight", 3),
        ("language_model.model.layers.12.a.weight", "layers.12.a.weight", 12),
        ("base_model.model.model.language_model.layers.0.b", "layers.0.b", 0),
        ("base_model.model.lm_head.lora_A.weight", "lm_head.lora_A.weight", None),
        ("model.vision_tower.layers.2.q.weight", "vision_tower.layers.2.q.weight", None),
    ],
)  # fmt: skip
def test_a_tensor_is_of_one_layer_whatever_stands_before_its_name(name, plain, layer):
    assert library.plain_name(name) == plain
    assert library.layer_of(name) == layer


# Folders of other people --------------------------------------------------------------------------

UNREAD = ("README.md", "NOTES.txt", "training_args.json", "optimizer.pt", "model_ema.safetensors")
WHOLE = {
    "one": ["config.json", "generation_config.json", "tokenizer.json", "model.safetensors"],
    "lora": ["adapter_config.json", "adapter_model.safetensors"],
}


def names(files: list[Path]) -> list[str]:
    return [file.name for file in files]


@pytest.fixture
def local_copies(copies) -> Path:
    """With a tokenizer in the models, and what nobody reads in every folder."""
    for folder in copies.iterdir():
        for name in UNREAD:
            (folder / name).write_text("x")
    for name in ("one", "many"):
        (copies / name / "tokenizer.json").write_text("{}")
        # Made of by transformers where there is no tokenizer.json, and else not read.
        (copies / name / "merges.txt").write_text("x")
    return copies


def test_what_is_read_of_a_base_is_listed_and_nothing_else(local_copies):
    assert names(library.base_files(local_copies / "one")) == WHOLE["one"]
    many = names(library.base_files(local_copies / "many"))
    shards = names(library.weight_files(local_copies / "many"))
    assert many == [*WHOLE["one"][:3], library.INDEX, *shards] and len(shards) > 1
    (local_copies / "one/tokenizer.json").unlink()
    assert "merges.txt" in names(library.base_files(local_copies / "one"))


def test_an_adapter_left_in_the_folder_of_a_base_is_not_listed(local_copies):
    for name in WHOLE["lora"]:
        shutil.copy(local_copies / "lora" / name, local_copies / "one" / name)
    assert names(library.base_files(local_copies / "one")) == WHOLE["one"]
    library.check_base(local_copies / "one")


def test_what_is_read_of_a_published_checkpoint_is_listed_and_nothing_else(local_copies):
    assert names(library.checkpoint_files(local_copies / "lora")) == WHOLE["lora"]
    full = names(library.checkpoint_files(local_copies / "one"))
    assert full == ["config.json", "generation_config.json", "model.safetensors"]


@pytest.mark.parametrize("files", [library.base_files, library.checkpoint_files])
def test_a_folder_that_lacks_everything_lists_nothing(copies, files):
    (copies / "empty").mkdir()
    assert files(copies / "empty") == files(copies / "not there") == []
    (copies / "many" / library.INDEX).write_text("{")
    assert library.INDEX in names(files(copies / "many"))


LACKS = {
    "config.json": ("check_base", "one", "no config.json; expected a model folder in hub layout"),
    "model.safetensors": ("check_base", "one", "no model.safetensors and no model.safetensors.ind"),
    "tokenizer.json": ("check_base", "one", "no tokenizer.json, expected the tokenizer beside the"),
    "adapter_config.json": (
        "check_checkpoint",
        "lora",
        "no adapter_config.json and no config.json; expected an adapter or a model folder in hub",
    ),
    "adapter_model.safetensors": ("check_checkpoint", "lora", "no adapter_model.safetensors, the"),
}


@pytest.mark.parametrize("file", LACKS)
def test_a_folder_that_lacks_a_file_is_refused(local_copies, file):
    check, name, expected = LACKS[file]
    getattr(library, check)(local_copies / name)
    (local_copies / name / file).unlink()
    with pytest.raises(ValueError) as refused:
        getattr(library, check)(local_copies / name)
    assert str(refused.value).startswith(f"{local_copies / name}: {expected}")


def test_a_full_finetune_needs_no_tokenizer(copies):
    library.check_checkpoint(copies / "one")


DENSE = {"type": "sentence_transformers.models.Dense"}


def test_an_embedding_is_listed_with_the_folders_below(tmp_path):
    folder = tmp_path / "embedder"
    for name in ("modules.json", "1_Pooling/config.json", "README.md", ".git/config"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps([{"type": "sentence_transformers.models.Pooling"}]))
    found = [file.relative_to(folder).as_posix() for file in library.embedder_files(folder)]
    assert found == ["1_Pooling/config.json", "modules.json"]
    library.check_embedder(folder)
    (folder / "1_Pooling/config.json").write_text(POINTER)
    with pytest.raises(ValueError, match="1_Pooling/config.json: found a pointer of Git LFS"):
        library.check_embedder(folder)
    (folder / "1_Pooling/config.json").unlink()
    # A clone of what is loaded alone has pointers in place of the same weights in other forms.
    (folder / "2_Dense").mkdir()
    for name in ("model.safetensors", "pytorch_model.bin", "onnx/model.onnx_data"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(POINTER)
    with pytest.raises(ValueError, match="model.safetensors: found a pointer of Git LFS"):
        library.check_embedder(folder)
    (folder / "model.safetensors").write_text("weights")
    library.check_embedder(folder)
    (folder / "2_Dense/pytorch_model.bin").write_text(POINTER)
    with pytest.raises(ValueError, match="2_Dense/pytorch_model.bin: found a pointer of Git LFS"):
        library.check_embedder(folder)
    (folder / "2_Dense/pytorch_model.bin").unlink()
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"model.onnx_data: found a pointer of Git LFS"):
        library.check_embedder(folder)
    (folder / "modules.json").unlink()
    with pytest.raises(ValueError, match=r"no modules.json and no config.json, expected a sent"):
        library.check_embedder(folder)


@pytest.mark.parametrize(
    ("modules", "found"),
    [
        ([], "modules.json: found no list of modules, expected one, with a type each"),
        ([1], "modules.json: found no list of modules, expected one, with a type each"),
        ({"type": "a"}, "modules.json: found no list of modules, expected one, with a type each"),
        ([{"type": "evil.Pooling"}], "found the type evil.Pooling, which is or may load code of"),
        ([{"type": "sentence_transformers.models.Router"}], "models.Router, which is or may load"),
        ([{"type": "sentence_transformers.models.Asym"}], "models.Asym, which is or may load code"),
        ([{"type": "sentence_transformers.models.Pooling", "path": "../x"}], "the path ../x, expe"),
        ([DENSE | {"path": "gone"}], "gone/config.json: found no such file, expected the settings"),
        ([DENSE | {"path": "evil"}], "activation_function: found evil.Evil, expected one of torch"),
        ([DENSE | {"path": "deep"}], "found torch.nn.modules.module.os._exit, expected one of tor"),
    ],
)
def test_modules_of_an_embedding_that_are_or_load_code_are_refused(tmp_path, modules, found):
    named = {"evil": "evil.Evil", "deep": "torch.nn.modules.module.os._exit"}
    named |= {"2_Dense": "torch.nn.modules.activation.Tanh", "3_Dense": None}
    for path, activation in named.items():
        (tmp_path / path).mkdir()
        settings = {"in_features": 4} | ({"activation_function": activation} if activation else {})
        (tmp_path / path / "config.json").write_text(json.dumps(settings))
    good = [
        {"type": "sentence_transformers.models.Transformer", "path": ""},
        {"type": "sentence_transformers.base.models.Transformer", "path": ""},
        *({"type": DENSE["type"], "path": path} for path in ("2_Dense", "3_Dense")),
        {"type": "sentence_transformers.models.Normalize", "path": "4_Normalize"},
        {"type": "sentence_transformers.models.StaticEmbedding", "path": ""},
    ]
    (tmp_path / "modules.json").write_text(json.dumps(good))
    library.check_embedder(tmp_path)
    whole = isinstance(modules, dict) or not modules
    (tmp_path / "modules.json").write_text(json.dumps(modules if whole else good + modules))
    with pytest.raises(ValueError, match=found):
        library.check_embedder(tmp_path)


def test_a_file_that_is_no_gguf_is_refused(tmp_path):
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF\3")
    library.check_gguf(file)
    file.write_bytes(b"GGU")
    with pytest.raises(ValueError, match=r"model.gguf: found no GGUF file, which begins with GGUF"):
        library.check_gguf(file)
