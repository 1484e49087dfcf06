"""An adapter at a share of its strength is one in which every weight is at that share."""

import json
from pathlib import Path

import pytest
from peft import LoraConfig, get_peft_model

from tests.doubles import tiny_model
from traces.models.scaling import scale_adapter


def saved(folder: Path, **options) -> Path:
    settings = {"r": 4, "target_modules": ["q_proj"], **options}
    get_peft_model(tiny_model("llama"), LoraConfig(**settings)).save_pretrained(folder)
    return folder


def test_alone_the_scale_changes(tmp_path):
    lora = saved(tmp_path / "lora", lora_alpha=6, alpha_pattern={"layers.1.self_attn.q_proj": 4})
    (lora / "decoy.safetensors").touch()
    scale_adapter(lora, 0.5, tmp_path / "half")
    before, after = (
        json.loads((one / "adapter_config.json").read_text()) for one in (lora, tmp_path / "half")
    )
    assert (after.pop("lora_alpha"), before.pop("lora_alpha")) == (3, 6)
    assert after.pop("alpha_pattern") == {"layers.1.self_attn.q_proj": 2}
    assert before.pop("alpha_pattern") and after == before
    assert {one.name for one in (tmp_path / "half").iterdir()} == {
        *("adapter_config.json", "adapter_model.safetensors"),
    }


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"modules_to_save": ["lm_head"]}, "lm_head"),
        ({"trainable_token_indices": [3]}, "token_adapter"),
        ({"use_dora": True}, "DoRA"),
    ],
)
def test_what_alpha_does_not_scale_is_refused(tmp_path, options, found):
    lora = saved(tmp_path / "lora", **options)
    with pytest.raises(ValueError, match=f"lora: found .*{found}.*, which lora_alpha does not"):
        scale_adapter(lora, 0.5, tmp_path / "half")
