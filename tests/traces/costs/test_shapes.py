"""Shapes: parameters counted from them equal the real classes' and the published numbers."""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from traces.config.files import read_yaml
from traces.config.registries import ModelEntry, Shape
from traces.costs.shapes import billions, linears, model_config, parameters, shape_in, shape_of

ENTRIES = {
    name: ModelEntry.model_validate(entry)
    for name, entry in read_yaml(Path("config/models.yaml")).items()
}
SHAPED = {name: entry for name, entry in ENTRIES.items() if entry.shape is not None}
# One of each architecture and of each way to tie the unembedding.
KINDS = ("qwen3_1_7b", "qwen3_32b", "llama32_1b", "llama31_8b", "gemma2_9b_it", "gemma3_1b")


def of_entry(names):
    return pytest.mark.parametrize("entry", [ENTRIES[name] for name in names], ids=names)


def outline(shape: Shape, family, layers=None):
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(model_config(shape, family, layers))


def test_every_model_of_the_hub_has_a_shape():
    assert [name for name, entry in ENTRIES.items() if entry.hub] == list(SHAPED)


@of_entry(SHAPED)
def test_parameters_are_as_many_as_published(entry):
    decimals = len(str(entry.billions).partition(".")[2])
    assert round(billions(entry.shape, entry.family), decimals) == entry.billions


@of_entry([*KINDS, "qwen25_7b_instruct"])
def test_parameters_are_those_of_the_real_class(entry):
    model = outline(entry.shape, entry.family)
    assert sum(one.numel() for one in model.parameters()) == parameters(entry.shape, entry.family)


@of_entry([*KINDS, "qwen25_7b_instruct"])
def test_linear_modules_are_those_of_the_real_class(entry):
    layer = outline(entry.shape, entry.family, layers=1).model.layers[0]
    found = {
        name.rpartition(".")[2]: (module.in_features, module.out_features)
        for name, module in layer.named_modules()
        if isinstance(module, torch.nn.Linear)
    }
    assert found == {one.name: (one.inputs, one.outputs) for one in linears(entry.shape)}


def test_heads_that_share_keys_unevenly_are_no_shape():
    shape = SHAPED["qwen3_1_7b"].shape
    assert shape is not None
    with pytest.raises(ValueError, match="kv_heads: found 5 for 16 heads, expected a number that"):
        Shape.model_validate({**shape.model_dump(), "kv_heads": 5})


@of_entry(KINDS)
def test_a_shape_survives_its_configuration(entry):
    assert shape_of(model_config(entry.shape, entry.family)) == entry.shape


def test_a_cut_gemma_keeps_its_order_of_windows():
    shape = SHAPED["gemma2_9b_it"].shape
    assert shape is not None
    assert model_config(shape, "gemma2", layers=2).layer_types == [
        "sliding_attention",
        "full_attention",
    ]


def test_a_folder_has_the_shape_of_its_language_model(tmp_path):
    # As published for Gemma 3 4B: what equals the class' defaults is left out.
    text = {
        "model_type": "gemma3_text",
        "hidden_size": 2560,
        "intermediate_size": 10240,
        "num_hidden_layers": 34,
        "sliding_window": 1024,
    }
    config = {"model_type": "gemma3", "text_config": text, "vision_config": {}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    shape = SHAPED["gemma3_4b_it"].shape
    assert shape is not None
    assert shape_in(tmp_path) == shape.model_copy(update={"vision_billions": 0.0})
