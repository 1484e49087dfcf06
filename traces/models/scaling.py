"""What lies between base and tuned: an adapter at a share of its strength."""

import json
from pathlib import Path

from traces.job import write_text


def scale_adapter(adapter_path: Path, scale: float, into: Path) -> None:
    """
    Make the folder `into` an adapter that changes its base `scale` times as much as another one.

    Every product of LoRA weights is multiplied by `scale` when it is loaded: the number stands in
    `adapter_config.json`, the weights are links.

    Raises ValueError if the folder holds a full model, which has no scale.
    """
    config_path = adapter_path / "adapter_config.json"
    if not config_path.is_file():
        raise ValueError(
            f"{adapter_path}: found a full model, expected an adapter: only that has a scale"
        )
    config = json.loads(config_path.read_text(encoding="utf-8"))
    config["lora_alpha"] *= scale
    config["alpha_pattern"] = {
        module: alpha * scale for module, alpha in (config.get("alpha_pattern") or {}).items()
    }
    into.mkdir(parents=True, exist_ok=True)
    for weights in sorted(adapter_path.resolve().glob("*.safetensors")):
        (into / weights.name).symlink_to(weights)
    write_text(into / "adapter_config.json", json.dumps(config, indent=2) + "\n")
