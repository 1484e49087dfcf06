"""
The one module that reaches the hub: models, adapters and data sets, at a revision that is recorded.

Folders are checked as they come in: safetensors only, no code of a repository, the right base.
"""

import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from traces.corpora import KEYS, Kind, checked_row

log = logging.getLogger(__name__)

WANTED = ("*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja", "*.model", "*.txt")


def fetch_folder(repository: str, revision: str, into: Path) -> str:
    """
    Download a model or adapter repository into `into`; return the commit it resolved to.

    Only weights in safetensors and the configuration and tokenizer beside them are taken.
    """
    from huggingface_hub import HfApi, snapshot_download

    commit = HfApi().repo_info(repository, revision=revision).sha
    assert commit is not None
    snapshot_download(repository, revision=commit, local_dir=into, allow_patterns=list(WANTED))
    shutil.rmtree(into / ".cache", ignore_errors=True)
    return commit


def link_folder(source: Path, into: Path) -> None:
    """Let `into` stand for a local folder: one link a file, so that 65 GB are not copied."""
    into.mkdir(parents=True, exist_ok=True)
    for file in sorted(source.resolve().iterdir()):
        if file.is_file() and not file.name.startswith(".") and file.name != "provenance.json":
            (into / file.name).symlink_to(file)


def fetch_rows(
    repository: str,
    revision: str,
    split: str,
    field: str | None,
    kind: Kind,
    subset: str | None = None,
) -> tuple[Iterator[dict[str, Any]], str]:
    """
    A data set on the hub as rows of `kind`, checked, and the commit it resolved to.

    field : the column with the text or the messages; by default `text` or `messages`
    """
    from datasets import load_dataset
    from huggingface_hub import HfApi

    commit = HfApi().repo_info(repository, revision=revision, repo_type="dataset").sha
    assert commit is not None
    rows = load_dataset(repository, subset, split=split, revision=commit)
    key = KEYS[kind]
    column = field or key
    if column not in rows.column_names:
        have = ", ".join(rows.column_names)
        raise ValueError(f"{repository}: no column {column} in split {split} (have {have})")
    numbered = enumerate(rows.select_columns([column]), start=1)
    return (
        checked_row({key: row[column]}, kind, f"{repository}, row {number}")
        for number, row in numbered
    ), commit


def check_model(folder: Path) -> None:
    """Raise ValueError unless `folder` is a model in safetensors that needs no code of its own."""
    config = folder / "config.json"
    if not config.is_file():
        raise ValueError(f"{folder}: no config.json; expected a model folder in hub layout")
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
    found = config.get("base_model_name_or_path")
    if expected_base and found and _repository(found) != _repository(expected_base):
        raise ValueError(
            f"{adapter}: this adapter was trained on {found}, expected {expected_base}"
        )
    shapes, weights = _shapes(base), _tensors(adapter)
    pairs = [name for name in weights if ".lora_A." in name]
    if not pairs:
        raise ValueError(f"{adapter}: no LoRA weights in its safetensors")
    changed = 0.0
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
        changed = max(changed, float((up.float() @ down.float()).abs().max()))
    if changed == 0:
        raise ValueError(f"{adapter}: the adapter changes no weight (all its products are zero)")
    log.info(
        "%s: %d modules, largest weight change before scaling %.3g", adapter, len(pairs), changed
    )


def _check_full(folder: Path, base: Path) -> None:
    ours, theirs = _shapes(folder), _shapes(base)
    differing = sorted(name for name in theirs if ours.get(name) != theirs[name])
    if differing:
        name = differing[0]
        raise ValueError(f"{folder}: {name} is {ours.get(name)}, in {base} it is {theirs[name]}")
    before = _tensors(base)
    if all(
        bool((tensor == before[name]).all())
        for name, tensor in _tensors(folder).items()
        if name in before
    ):
        raise ValueError(f"{folder}: its weights are those of the base, nothing was finetuned")


def _repository(name: str) -> str:
    return Path(name).name.lower()


def _tensors(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return {
        k: v for file in sorted(folder.glob("*.safetensors")) for k, v in load_file(file).items()
    }


def _shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    from safetensors import safe_open

    shapes: dict[str, tuple[int, ...]] = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            names = tensors.keys()
            shapes |= {name: tuple(tensors.get_slice(name).get_shape()) for name in names}
    return shapes
