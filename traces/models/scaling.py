"""Interpolate between base and tuned: an adapter at a share of its strength."""

import json
from pathlib import Path

from traces.job import link_to, write_text


def scale_adapter(adapter_path: Path, scale: float, into: Path) -> None:
    """
    Write to `into` an adapter that changes its base `scale` times as much as another one.

    PEFT multiplies every product of LoRA weights by alpha / rank when it loads them, so only alpha
    in `adapter_config.json` changes. The weights are links, relative within the results.

    Raises ValueError if the folder holds a full model, which has no scale.
    """
    config_path = adapter_path / "adapter_config.json"
    if not config_path.is_file():
        raise ValueError(
            f"{adapter_path}: found a full model, expected an adapter: only that has a scale"
        )
    config = json.loads(config_path.read_text(encoding="utf-8"))
    config["lora_alpha"] *= scale
    # PEFT lets single modules have an alpha of their own, which overrides the one above.
    config["alpha_pattern"] = {
        module: alpha * scale for module, alpha in (config.get("alpha_pattern") or {}).items()
    }
    into.mkdir(parents=True, exist_ok=True)
    for weights in sorted(adapter_path.resolve().glob("*.safetensors")):
        link_to(weights, into / weights.name)
    write_text(into / "adapter_config.json", json.dumps(config, indent=2) + "\n")
