"""Interpolate between base and tuned: an adapter at a share of its strength."""

import json
from pathlib import Path

from traces.job import link_to, write_text
from traces.models.folders import ADAPTER_CONFIG, is_adapter, read_json, tensor_files, weight_files


def scale_adapter(adapter_path: Path, scale: float, into: Path) -> None:
    """
    Write to `into` an adapter that changes its base `scale` times as much as another one.

    PEFT multiplies every product of LoRA weights by alpha / rank when it loads them, so only alpha
    in `adapter_config.json` changes. The weights are links, relative within the results.

    Raises ValueError if the folder holds a full model, or an adapter with weights that alpha does
    not scale.
    """
    if not is_adapter(adapter_path):
        raise ValueError(
            f"{adapter_path}: found a full model, expected an adapter: only that has a scale"
        )
    config = read_json(adapter_path / ADAPTER_CONFIG)
    others = [name for name in tensor_files(adapter_path) if ".lora_" not in name]
    if others or config.get("use_dora"):
        found = others[0] if others else "DoRA"
        raise ValueError(f"{adapter_path}: found {found}, which lora_alpha does not scale")
    config["lora_alpha"] *= scale
    # PEFT lets single modules have an alpha of their own, which overrides the one above.
    config["alpha_pattern"] = {
        module: alpha * scale for module, alpha in (config.get("alpha_pattern") or {}).items()
    }
    into.mkdir(parents=True, exist_ok=True)
    for weights in weight_files(adapter_path.resolve()):
        link_to(weights, into / weights.name)
    write_text(into / ADAPTER_CONFIG, json.dumps(config, indent=2) + "\n")
