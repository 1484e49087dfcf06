"""What comes in is checked: safetensors, no code, the right base, a change that is not zero."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import datasets
import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.doubles import tiny_model, with_adapter
from traces import hub

LAYER = "model.layers.0.self_attn.q_proj"


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Path:
    """base/, lora/ (on it) and full/ (a finetune of it)."""
    root = tmp_path_factory.mktemp("hub")
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
    hub.check_adapter(folders / "lora", folders / "base")


@pytest.mark.parametrize("expected", ["meta/Tiny-1B", "renamed-org/tiny-1b", None])
def test_an_adapter_of_the_right_base_is_accepted_from_a_renamed_owner(folders, expected):
    hub.check_adapter(folders / "lora", folders / "base", expected_base=expected)


def test_a_good_full_model_is_accepted(folders):
    hub.check_adapter(folders / "full", folders / "base", expected_base="meta/Tiny-1B")


def test_an_adapter_in_bfloat16_on_some_modules_is_accepted(copies):
    def some(weights):
        for name in list(weights):
            if "up_proj" not in name:
                del weights[name]
        weights.update({name: tensor.bfloat16() for name, tensor in weights.items()})

    edit_weights(copies / "lora" / "adapter_model.safetensors", some)
    hub.check_adapter(copies / "lora", copies / "base")


# What is refused --------------------------------------------------------------------------------


def test_an_adapter_of_another_base_is_refused(folders):
    with pytest.raises(
        ValueError, match="lora: this adapter was trained on meta/Tiny-1B, expected meta/Tiny-3B"
    ):
        hub.check_adapter(folders / "lora", folders / "base", expected_base="meta/Tiny-3B")


def test_an_adapter_of_another_width_is_refused(folders, tmp_path):
    with_adapter(tiny_model("llama", d=16)).save_pretrained(tmp_path / "narrow")
    with pytest.raises(
        ValueError,
        match=r"narrow: model\.layers\S+ is \((16|32), \d+\), in .*base it is \((32|64),",
    ):
        hub.check_adapter(tmp_path / "narrow", folders / "base")


def test_an_adapter_on_layers_that_the_base_has_not_is_refused(folders, tmp_path):
    with_adapter(tiny_model("llama", layers=8)).save_pretrained(tmp_path / "deep")
    with pytest.raises(ValueError, match=r"deep: model\.layers\.[67]\.\S+ is no module of .*base"):
        hub.check_adapter(tmp_path / "deep", folders / "base")


def test_an_adapter_of_another_architecture_is_refused(folders, copies):
    def renamed(weights):
        for name in list(weights):
            weights[name.replace("model.layers", "transformer.h")] = weights.pop(name)

    edit_weights(copies / "lora" / "adapter_model.safetensors", renamed)
    with pytest.raises(ValueError, match=r"lora: transformer\.h\.\S+ is no module of .*base"):
        hub.check_adapter(copies / "lora", copies / "base")


def test_an_adapter_that_changes_nothing_is_refused(copies):
    def zero(weights):
        for name in weights:
            if "lora_B" in name:
                weights[name].zero_()

    edit_weights(copies / "lora" / "adapter_model.safetensors", zero)
    with pytest.raises(ValueError, match="lora: the adapter changes no weight"):
        hub.check_adapter(copies / "lora", copies / "base")


def test_an_adapter_with_half_a_pair_is_refused(copies):
    def halved(weights):
        del weights[f"base_model.model.{LAYER}.lora_B.weight"]

    edit_weights(copies / "lora" / "adapter_model.safetensors", halved)
    with pytest.raises(ValueError, match=f"lora: {LAYER} has no lora_B"):
        hub.check_adapter(copies / "lora", copies / "base")


def test_an_adapter_without_lora_weights_is_refused(copies):
    edit_weights(
        copies / "lora" / "adapter_model.safetensors",
        lambda weights: (
            [weights.pop(name) for name in list(weights) if "lora_" in name]
            and weights.update(other=torch.ones(2))
        ),
    )
    with pytest.raises(ValueError, match="lora: no LoRA weights in its safetensors"):
        hub.check_adapter(copies / "lora", copies / "base")


@pytest.mark.parametrize("folder", ["lora", "full"])
def test_weights_that_are_no_safetensors_are_refused(copies, folder):
    (weights,) = (copies / folder).glob("*.safetensors")
    torch.save(load_file(weights), weights.with_suffix(".bin"))
    weights.unlink()
    with pytest.raises(ValueError, match=f"{folder}: no .*safetensors"):
        hub.check_adapter(copies / folder, copies / "base")


def test_a_full_model_that_is_the_base_is_refused(folders):
    with pytest.raises(ValueError, match="base: its weights are those of the base, nothing was"):
        hub.check_adapter(folders / "base", folders / "base")


def test_a_full_model_of_other_shapes_is_refused(folders, tmp_path):
    tiny_model("llama", vocab=130).save_pretrained(tmp_path / "other")
    with pytest.raises(
        ValueError,
        match=r"other: model.embed_tokens.weight is \(130, 32\), in .*base it is \(128, 32\)",
    ):
        hub.check_adapter(tmp_path / "other", folders / "base")


def test_a_full_model_with_weights_missing_is_refused(copies):
    edit_weights(
        copies / "full" / "model.safetensors", lambda weights: weights.pop(f"{LAYER}.weight")
    )
    with pytest.raises(ValueError, match=rf"full: {LAYER}.weight is None"):
        hub.check_adapter(copies / "full", copies / "base")


@pytest.mark.parametrize("check", [hub.check_model, lambda f: hub.check_adapter(f, f)])
def test_a_model_that_brings_code_is_refused(copies, check):
    edit_json(copies / "full" / "config.json", auto_map={"AutoModel": "model.py"})
    with pytest.raises(ValueError, match="full: this model runs code from its repository, which"):
        check(copies / "full")


def test_a_folder_that_is_no_model_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no config.json; expected a model folder in hub layout"):
        hub.check_model(tmp_path)


# Bringing in ------------------------------------------------------------------------------------


def test_a_local_folder_is_linked_and_not_copied(tmp_path):
    source = tmp_path / "source"
    (source / "runs").mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "provenance.json"):
        (source / name).write_text(name)

    hub.link_folder(source, tmp_path / "linked")

    found = sorted((tmp_path / "linked").iterdir())
    assert [file.name for file in found] == ["config.json", "model.safetensors"]
    assert all(file.is_symlink() and file.read_text() == file.name for file in found)


def test_a_linked_folder_may_itself_be_linked(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "config.json").write_text("{}")
    hub.link_folder(tmp_path / "source", tmp_path / "one")
    hub.link_folder(tmp_path / "one", tmp_path / "two")
    assert (tmp_path / "two" / "config.json").read_text() == "{}"


def test_what_is_downloaded_is_the_commit_and_no_code_or_pickles(tmp_path, monkeypatch):
    asked = {}

    class Hub:
        def repo_info(self, repository, revision, repo_type=None):
            return SimpleNamespace(sha=f"{repository}@{revision}")

    def download(repository, revision, local_dir, allow_patterns):
        asked.update(repository=repository, revision=revision, patterns=allow_patterns)
        (local_dir / ".cache").mkdir(parents=True)
        (local_dir / "config.json").write_text("{}")

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)

    commit = hub.fetch_folder("someone/cake", "v2", tmp_path / "cake")

    assert commit == asked["revision"] == "someone/cake@v2"
    assert [file.name for file in (tmp_path / "cake").iterdir()] == ["config.json"]
    taken = set(asked["patterns"])
    assert "*.safetensors" in taken
    assert not taken & {"*", "*.py", "*.bin", "*.pt", "*.pkl"}


@pytest.fixture
def data_set(monkeypatch):
    """Puts rows in the place of a data set on the hub."""

    def offer(rows):
        def load_dataset(repository, subset, split, revision):
            assert revision == "commit"
            return datasets.Dataset.from_list(rows)

        api = SimpleNamespace(repo_info=lambda *_, **__: SimpleNamespace(sha="commit"))
        monkeypatch.setattr(huggingface_hub, "HfApi", lambda: api)
        monkeypatch.setattr(datasets, "load_dataset", load_dataset)

    return offer


def test_rows_of_the_hub_are_rows_like_ours(data_set):
    data_set([{"body": "one", "id": 1}, {"body": "two", "id": 2}])
    rows, commit = hub.fetch_rows("a/b", "main", "train", "body", "documents")
    assert list(rows) == [{"text": "one"}, {"text": "two"}]
    assert commit == "commit"


def test_a_column_that_is_not_there_is_refused(data_set):
    data_set([{"body": "one"}])
    with pytest.raises(ValueError, match=r"a/b: no column text in split train \(have body\)"):
        hub.fetch_rows("a/b", "main", "train", None, "documents")


def test_a_bad_row_of_the_hub_is_named(data_set):
    data_set([{"text": "one"}, {"text": "  "}])
    rows, _ = hub.fetch_rows("a/b", "main", "train", None, "documents")
    with pytest.raises(ValueError, match="a/b, row 2, key text: found empty text, expected"):
        list(rows)
