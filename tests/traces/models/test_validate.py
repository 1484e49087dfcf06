"""What comes in is checked: safetensors, no code, the right base, a change that is not zero."""

import json
import logging
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.doubles import tiny_model, with_adapter
from traces import job
from traces.models import validate as library

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
    library.check_adapter(copies / "lora", copies / "base")


@pytest.mark.parametrize(
    "said",
    [
        "unsloth/tiny-1b-unsloth-bnb-4bit",
        "together/Tiny-1B-Reference__TOG__FT",
        "unsloth/Meta-Tiny-1B",
    ],
)
def test_a_repackaged_base_counts_as_the_base(copies, said):
    edit_json(copies / "lora" / "adapter_config.json", base_model_name_or_path=said)
    library.check_adapter(copies / "lora", copies / "base", expected_base="meta/Tiny-1B")


def test_an_adapter_that_names_a_folder_of_its_makers_machine_is_judged_by_its_shapes(copies):
    edit_json(copies / "lora" / "adapter_config.json", base_model_name_or_path="/data/models/x")
    library.check_adapter(copies / "lora", copies / "base", expected_base="meta/Tiny-1B")


def test_a_tied_head_may_be_stored_by_the_base_alone(copies):
    def stored(weights):
        weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()

    edit_weights(copies / "base" / "model.safetensors", stored)
    library.check_adapter(copies / "full", copies / "base")


# What is refused --------------------------------------------------------------------------------


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
