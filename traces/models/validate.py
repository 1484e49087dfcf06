"""
Check a folder with a model or an adapter before anything is built on it.

A model must be in safetensors and need no code of its own. An adapter or a full finetune must fit
its base and change it. Of large files only shapes are read, or one tensor at a time.
"""

import json
import logging
import re
from pathlib import Path
from typing import Any

from traces.job import link_to

log = logging.getLogger(__name__)


def link_folder(source: Path, into: Path) -> None:
    """
    Let `into` stand for a local folder: one link a file, so that 65 GB are not copied.

    Within the results or the clone links are relative, so that either can be moved.
    """
    # Links to files, not one to the folder: provenance is written into `into`, and would otherwise
    # land in a folder that is not ours.
    into.mkdir(parents=True, exist_ok=True)
    for file in sorted(source.resolve().iterdir()):
        if file.is_file() and not file.name.startswith(".") and file.name != "provenance.json":
            link_to(file, into / file.name)


def check_model(folder: Path) -> None:
    """Raise ValueError unless `folder` is a model in safetensors that needs no code of its own."""
    config = folder / "config.json"
    if not config.is_file():
        raise ValueError(f"{folder}: no config.json; expected a model folder in hub layout")
    # Refused early: transformers would ask on a terminal, which a job does not have.
    if "auto_map" in json.loads(config.read_text()):
        raise ValueError(f"{folder}: this model runs code from its repository, which is refused")
    if not list(folder.glob("*.safetensors")):
        raise ValueError(f"{folder}: no safetensors; other weight formats are not read")


def check_adapter(adapter: Path, base: Path, expected_base: str | None = None) -> None:
    """
    Raise ValueError unless a checkpoint fits its base and changes it.

    adapter       : a PEFT adapter or a full model
    base          : the base model's folder
    expected_base : the base's hub id; an adapter that was trained on another model is refused

    Names and shapes are compared with the base's own modules, at least one must match, and at least
    one weight change must not be zero.
    """
    if (adapter / "adapter_config.json").is_file():
        _check_lora(adapter, base, expected_base)
    else:
        check_model(adapter)
        _check_full(adapter, base)


def _check_lora(adapter: Path, base: Path, expected_base: str | None) -> None:
    config = json.loads((adapter / "adapter_config.json").read_text())
    found = config.get("base_model_name_or_path") or ""
    # PEFT notes the path that the trainer loaded its base from, often of somebody's cluster.
    if Path(found).is_absolute():
        log.warning("%s: trained on %s, a folder, which says nothing of its base", adapter, found)
    elif expected_base and found and _plain_name(found) != _plain_name(expected_base):
        raise ValueError(
            f"{adapter}: this adapter was trained on {found}, expected {expected_base}; if these "
            "are the same weights, name the former as `base` of the released checkpoint"
        )
    # PEFT ignores adapter weights that match no module, and the "tuned" model is then the base.
    shapes, weights = _shapes(base), _tensors(adapter)
    pairs = [name for name in weights if ".lora_A." in name]
    if not pairs:
        raise ValueError(f"{adapter}: no LoRA weights in its safetensors")
    largest = 0.0
    for name in pairs:
        down, up = weights[name], weights.get(name.replace(".lora_A.", ".lora_B."))
        module = name.split(".lora_A.")[0].removeprefix("base_model.model.")
        if up is None:
            raise ValueError(f"{adapter}: {module} has no lora_B in its safetensors")
        wanted = shapes.get(f"{module}.weight")
        if wanted is None:
            raise ValueError(f"{adapter}: {module} is no module of {base}")
        if wanted != (up.shape[0], down.shape[1]):
            raise ValueError(
                f"{adapter}: {module} is {(up.shape[0], down.shape[1])}, in {base} it is {wanted}"
            )
        # A fresh adapter has lora_B = 0: the names all fit, and nothing was trained.
        largest = max(largest, _norm_of_product(up, down))
    if largest == 0:
        raise ValueError(f"{adapter}: the adapter changes no weight (all its products are zero)")
    log.info("%s: %d modules, longest weight change %.3g, unscaled", adapter, len(pairs), largest)


def _norm_of_product(up: Any, down: Any) -> float:
    """
    Compute |up @ down|, [out, r] by [r, in], without the product: 0.5 GB a module of a 32B model.

    |BA|^2 is the sum of (B'B) * (AA') over its r x r entries.
    """
    up, down = up.double(), down.double()
    return float(((up.T @ up) * (down @ down.T)).sum().clamp(min=0).sqrt())


def _check_full(folder: Path, base: Path) -> None:
    ours, theirs = _shapes(folder), _shapes(base)
    tied = json.loads((base / "config.json").read_text()).get("tie_word_embeddings", False)
    for name in sorted(theirs):
        if tied and name == "lm_head.weight" and name not in ours:
            # The embedding under another name: some files store a tied head twice, some once.
            continue
        if ours.get(name) != theirs[name]:
            raise ValueError(
                f"{folder}: {name} is {ours.get(name)}, in {base} it is {theirs[name]}"
            )
    # Stops at the first tensor that differs, so a real finetune costs one or two reads.
    if all(
        bool((ours_now == theirs_now).all())
        for name in sorted(theirs.keys() & ours.keys())
        for ours_now, theirs_now in [(_tensor(folder, name), _tensor(base, name))]
    ):
        raise ValueError(f"{folder}: its weights are those of the base, nothing was finetuned")


def _plain_name(repository: str) -> str:
    """Strip from a model's name its owner and what repackagers of the same weights add."""
    # Trainers note unsloth/Meta-Llama-3.1-8B-Instruct-bnb-4bit where Meta's own name is meant.
    name = repository.rsplit("/", maxsplit=1)[-1].lower().removeprefix("meta-")
    return re.sub(r"(-unsloth)?(-bnb-4bit)?(-reference)?(__\w+)*$", "", name)


def _tensors(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return {
        k: v for file in sorted(folder.glob("*.safetensors")) for k, v in load_file(file).items()
    }


def _tensor(folder: Path, wanted: str) -> Any:
    """Read one tensor: whole models are not held in memory to be compared."""
    from safetensors import safe_open

    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            if wanted in tensors.keys():  # noqa: SIM118 - it is no mapping
                return tensors.get_tensor(wanted)
    raise KeyError(wanted)


def _shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    from safetensors import safe_open

    shapes: dict[str, tuple[int, ...]] = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            names = tensors.keys()
            shapes |= {name: tuple(tensors.get_slice(name).get_shape()) for name in names}
    return shapes
