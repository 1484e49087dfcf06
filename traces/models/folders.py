"""
Say which files of a model's or an adapter's folder are read, and read what stands in them.

Checks and loading ask here alike, so that what is checked is what is loaded. Weights are
safetensors under the names that transformers and PEFT load; any other file beside them is not read.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

from traces.config.vocabularies import Family
from traces.running.integrity import refuse_pointer

ADAPTER_CONFIG = "adapter_config.json"
# A base's folder may still hold the adapter that was merged into it. transformers would add it to
# the weights once more, so these files are never taken into a base.
ADAPTER_FILES = (ADAPTER_CONFIG, "adapter_model.safetensors", "adapter_model.bin")
INDEX = "model.safetensors.index.json"
CONFIG = "config.json"
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json")
# What is read of a base beside its weights, and what only where there is no tokenizer.json.
BESIDE = (
    *(CONFIG, "generation_config.json", "tokenizer.json", "tokenizer_config.json"),
    *("special_tokens_map.json", "added_tokens.json", "chat_template.jinja"),
)
SLOW_TOKENIZER = ("vocab.json", "merges.txt", "tokenizer.model")
# What is read of a folder wherever it is there, so that a link to nothing is a mistake.
NAMES = (*BESIDE, "model.safetensors", ADAPTER_CONFIG, "adapter_model.safetensors")
GGUF = b"GGUF"
# The one key of the object that transformers writes for a number that JSON does not have.
FLOAT = "__float__"
# Modules of an embedding that load no code by name, as Router does. Dense names an activation.
EMBEDDING = (
    *("Transformer", "StaticEmbedding", "Pooling", "WeightedLayerPooling"),
    *("Normalize", "LayerNorm", "Dropout", "Dense"),
)
# Where weights lie as safetensors, those of these forms and folders are not loaded.
OTHER_FORMS = (".bin", ".h5", ".ot", ".msgpack")
OTHER_FOLDERS = ("onnx", "openvino")
ACTIVATION = r"torch\.nn(\.modules\.(activation|linear))?\.\w+"


def is_adapter(folder: Path) -> bool:
    """Check whether a checkpoint folder holds a PEFT adapter rather than a full model."""
    return (folder / ADAPTER_CONFIG).is_file()


def read_json(file: Path) -> dict[str, Any]:
    """Read a JSON file that holds one object; raise ValueError with one sentence for any other."""
    refuse_pointer(file)
    try:
        found = json.loads(file.read_text(encoding="utf-8"), object_pairs_hook=_unique)
        _refuse_not_finite(found)
    except RecursionError:
        raise ValueError(f"{file}: found values nested too deeply, expected a few levels") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{file}: found no JSON ({error}), expected an object") from None
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{file}: found a {type(found).__name__}, expected an object of keys")
    return found


def _refuse_not_finite(found: Any, where: str = "", *, listed: bool = False) -> None:
    # Python reads NaN and Infinity, which are no JSON. Limits in a list may be infinite.
    if isinstance(found, dict) and found.keys() == {FLOAT}:
        named = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
        found = named.get(str(found[FLOAT]), found[FLOAT])
    if isinstance(found, dict):
        for key, value in found.items():
            within = f"{where}.{key}" if where else key
            _refuse_not_finite(value, within, listed=listed)
    elif isinstance(found, list):
        for value in found:
            _refuse_not_finite(value, where, listed=True)
    elif isinstance(found, float) and (math.isnan(found) or (math.isinf(found) and not listed)):
        raise ValueError(f"{where}: found {found}, expected a number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):  # whole vocabularies are read here, so the twin is sought last
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"found the key {twice} twice, expected it once")
    return found


def weight_files(folder: Path) -> list[Path]:
    """
    List the files that an adapter's or a model's weights are loaded from, and no others.

    Of a model that is `model.safetensors`, else what its index names. An average of weights or a
    second format beside them is not read.

    Raises ValueError if there are none, or if the index names a file that is not there or that is
    not in the folder.
    """
    if is_adapter(folder):
        file = folder / "adapter_model.safetensors"
        if not file.is_file():
            raise ValueError(
                f"{folder}: no adapter_model.safetensors, the only weights of an adapter that are "
                f"read ({_found_weights(folder)})"
            )
        return [file]
    return _model_weights(folder)


def _model_weights(folder: Path) -> list[Path]:
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    if not (folder / INDEX).is_file():
        raise ValueError(
            f"{folder}: no model.safetensors and no {INDEX}, whose safetensors are the only "
            f"weights that are read ({_found_weights(folder)})"
        )
    return _shards(folder / INDEX)


def _found_weights(folder: Path) -> str:
    kinds = (".safetensors", ".bin", ".pth", ".pt", ".gguf")
    found = sorted(file.name for file in folder.iterdir() if file.suffix in kinds)
    return f"found {', '.join(found[:3]) or 'none at all'}"


def _shards(index: Path) -> list[Path]:
    content = read_json(index)
    named = content.get("weight_map")
    if not isinstance(named, dict) or not named:
        raise ValueError(f"{index}: found no weight_map, expected the file of every tensor")
    files = sorted({str(name) for name in named.values()})
    for name in files:
        # A path could lead out of the folder, and another format could run code.
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise ValueError(
                f"{index}: weight_map names {name!r}, expected a safetensors file of this folder"
            )
        if not (index.parent / name).is_file():
            raise ValueError(f"{index.parent}: {name} is not there, and {INDEX} names it")
    # transformers reads it as well, and would say its name alone.
    if not isinstance(content.get("metadata"), dict):
        raise ValueError(f"{index}: found no metadata, expected an object, which may be empty")
    return [index.parent / name for name in files]


# Folders of other people --------------------------------------------------------------------------


def base_files(folder: Path) -> list[Path]:
    """List what is read of a base's folder, as far as it is there (docs/inputs.md)."""
    slow = () if (folder / "tokenizer.json").is_file() else SLOW_TOKENIZER
    return _there(folder, (*BESIDE, *slow)) + _model_files(folder)


def checkpoint_files(folder: Path) -> list[Path]:
    """List what is read of a published adapter or full finetune, as far as it is there."""
    if is_adapter(folder):
        return _there(folder, (ADAPTER_CONFIG, "adapter_model.safetensors"))
    return _there(folder, (CONFIG, "generation_config.json")) + _model_files(folder)


def _model_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    try:
        weights = _model_weights(folder)
    except ValueError:  # which `check_base` and `check_checkpoint` raise as well
        weights = []
    index = [] if (folder / "model.safetensors").is_file() else [INDEX]
    return _there(folder, index) + weights


def _there(folder: Path, names: Iterable[str]) -> list[Path]:
    return [folder / name for name in names if (folder / name).is_file()]


def check_base(folder: Path) -> None:
    """Raise ValueError where a base's folder lacks its configuration, weights or tokenizer."""
    require_config(folder)
    _model_weights(folder)
    require_tokenizer(folder)


def check_family(folder: Path, family: str) -> None:
    """
    Raise ValueError where a base's config.json is of another family than its entry says.

    By the family it is decided what is safe in float16. An architecture that is no family here is
    taken for the one that the entry calls it.
    """
    found = read_json(folder / CONFIG).get("model_type")
    known = str(found).removesuffix("_text")
    if known in get_args(Family) and known != family:
        raise ValueError(f"found {family}, expected {known}, as {folder / CONFIG} has it")


def check_checkpoint(folder: Path) -> None:
    """Raise ValueError where a published checkpoint lacks its configuration or weights."""
    if not is_adapter(folder):
        require_config(folder, f"{ADAPTER_CONFIG} and no {CONFIG}; expected an adapter or a")
    weight_files(folder)


def embedder_files(folder: Path) -> list[Path]:
    """List the files of a sentence-transformers model, which lie in folders below as well."""
    found = ((file, file.relative_to(folder).parts) for file in folder.rglob("*") if file.is_file())
    return sorted(
        file
        for file, parts in found
        if file.suffix != ".md" and not any(part.startswith(".") for part in parts)
    )


def check_embedder(folder: Path) -> None:
    """Raise ValueError where a folder holds no whole sentence-transformers model without code."""
    if not any((folder / name).is_file() for name in ("modules.json", CONFIG)):
        raise ValueError(
            f"{folder}: no modules.json and no config.json, expected a sentence-transformers model"
        )
    for file in embedder_files(folder):
        if not _is_other_form(file):
            refuse_pointer(file)
    if (folder / "modules.json").is_file():
        _check_modules(folder / "modules.json")


def _is_other_form(file: Path) -> bool:
    """Whether a file is of weights in another form than safetensors, which are there as well."""
    if file.parent.name in OTHER_FOLDERS:
        return (file.parent.parent / "model.safetensors").is_file()
    return file.suffix in OTHER_FORMS and file.with_name("model.safetensors").is_file()


def _check_modules(file: Path) -> None:
    """Refuse modules of an embedding that are code of its own, or that load code by name."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        modules = [(str(one["type"]), str(one.get("path", ""))) for one in found]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        modules = []
    if not modules:
        raise ValueError(f"{file}: found no list of modules, expected one, with a type each")
    for kind, path in modules:
        known = re.fullmatch(rf"sentence_transformers\.(?:\w+\.)*({'|'.join(EMBEDDING)})", kind)
        if not known:
            raise ValueError(
                f"{file}: found the type {kind}, which is or may load code of its own, expected "
                f"{', '.join(EMBEDDING)} of sentence_transformers"
            )
        if not (file.parent / path).resolve().is_relative_to(file.parent.resolve()):
            raise ValueError(f"{file}: found the path {path}, expected a folder below this one")
        if known[1] == "Dense":
            _check_activation(file.parent / path / CONFIG)


def _check_activation(file: Path) -> None:
    if not file.is_file():
        raise ValueError(f"{file}: found no such file, expected the settings of a Dense module")
    activation = read_json(file).get("activation_function")
    if activation is not None and not re.fullmatch(ACTIVATION, str(activation)):
        raise ValueError(
            f"{file}: activation_function: found {activation}, expected one of torch.nn"
        )


def check_gguf(file: Path) -> None:
    """Raise ValueError where a file does not begin as a GGUF file does."""
    refuse_pointer(file)
    with file.open("rb") as content:
        if content.read(len(GGUF)) != GGUF:
            raise ValueError(f"{file}: found no GGUF file, which begins with GGUF")


def require_config(folder: Path, expected: str = f"{CONFIG}; expected a") -> None:
    """
    Raise ValueError where a model's folder has no config.json; name one below that has.

    expected : the middle of the sentence, from what is not there to what should be
    """
    if not (folder / CONFIG).is_file():
        below = sorted(file.parent.name for file in folder.glob(f"*/{ADAPTER_CONFIG}"))
        below += sorted(file.parent.name for file in folder.glob(f"*/{CONFIG}"))
        told = f"; {below[0]}/ has one, which `subfolder` would name" if below else ""
        raise ValueError(f"{folder}: no {expected} model folder in hub layout{told}")


def vocabulary(folder: Path) -> int | None:
    """The number of tokens that a model has, as its config.json says; None where it does not."""
    config = read_json(folder / CONFIG) if (folder / CONFIG).is_file() else {}
    text = config.get("text_config")
    found = (text if isinstance(text, dict) else config).get("vocab_size")
    return found if isinstance(found, int) else None


def require_tokenizer(folder: Path) -> None:
    """Raise ValueError where a base's folder has no tokenizer."""
    # transformers makes an empty one of a folder without any: four tokens, and all text unknown.
    if not any((folder / name).is_file() for name in TOKENIZERS):
        raise ValueError(f"{folder}: no tokenizer.json, expected the tokenizer beside the weights")


# Weights ------------------------------------------------------------------------------------------


@contextmanager
def opened(file: Path) -> Iterator[Any]:
    """Open a safetensors file; raise ValueError where it is cut, damaged or none."""
    from safetensors import SafetensorError, safe_open

    refuse_pointer(file)
    try:
        with safe_open(file, framework="pt") as tensors:
            yield tensors
    except SafetensorError as error:
        raise ValueError(f"{file}: cut, damaged or no safetensors at all ({error})") from None


def tensor_files(folder: Path) -> dict[str, Path]:
    """List every tensor of a folder's weights, with the file that holds it."""
    names: dict[str, Path] = {}
    for file in weight_files(folder):
        with opened(file) as tensors:
            names |= dict.fromkeys(tensors.keys(), file)
    return names


def tensor_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """List every tensor of a folder's weights with its shape; no weights are read."""
    shapes: dict[str, tuple[int, ...]] = {}
    for file in weight_files(folder):
        with opened(file) as tensors:
            names = tensors.keys()
            shapes |= {name: tuple(tensors.get_slice(name).get_shape()) for name in names}
    return shapes


def tensor(folder: Path, name: str) -> Any:
    """Read one tensor of a folder's weights: whole models are not held in memory to be compared."""
    with opened(tensor_files(folder)[name]) as tensors:
        return tensors.get_tensor(name)


def plain_name(name: str) -> str:
    """
    Strip from a tensor's or a module's name what files and models put before it.

    Files name the same tensor differently: with or without `model.`, in vision-language models with
    `language_model.` before or after it, and in adapters with `base_model.model.` before all.
    """
    return re.sub(r"^((base_model|model|language_model)\.)+", "", name)


def module_name(name: str) -> str:
    """Name the module that an adapter's tensor belongs to, without what PEFT puts around it."""
    return re.split(r"\.(?:lora_\w+|token_adapter|base_layer|(?:weight|bias)$)", name)[
        0
    ].removeprefix("base_model.model.")


def layer_of(name: str) -> int | None:
    """Return the decoder layer that a tensor belongs to; None for any other, such as an image's."""
    found = re.match(r"layers\.(\d+)\.", plain_name(name))
    return int(found[1]) if found else None
