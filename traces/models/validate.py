"""
Check a folder with a model or an adapter before anything is built on it.

A model must be in safetensors and need no code of its own. An adapter or a full finetune must fit
its base and change it. Of large files only shapes are read, or one tensor at a time. Whether they
fit is asked of transformers and PEFT themselves, which load models without memory for it.
"""

import logging
import math
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from traces.corpora.templates import check_template, read_template
from traces.corpora.tokens import load_tokenizer
from traces.job import link_to
from traces.models import folders
from traces.models.folders import ADAPTER_CONFIG, module_name, plain_name
from traces.running.integrity import refuse_pointer

log = logging.getLogger(__name__)

# Files that may name code of a repository, which would be run when they are loaded.
NAME_CODE = ("config.json", "tokenizer_config.json", "processor_config.json", ADAPTER_CONFIG)
# What transformers and PEFT raise at a configuration that they cannot build.
NOT_LOADED = (AttributeError, ImportError, RuntimeError, TypeError, ValueError, re.error)
# The largest rank and alpha; any in use are thousands at most, and their ratio scales the change.
LARGEST = 1_000_000
NUMBERS = ("F64", "F32", "F16", "BF16")
# Keys of a LoRA whose change depends on more than its weights, or is no LoRA of one module.
NOT_READ = (
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "layer_replication",
    "megatron_config",
    "monteclora_config",
    "target_parameters",
    "use_bdlora",
    "use_qalora",
)
FLAGS = ("use_rslora", "use_dora", "lora_bias", "fan_in_fan_out")
# Starts of a training that take a part out of the base, which the adapter's file does not hold.
STARTS_NOT_READ = r"pissa_niter_\d+|corda|lora_ga|loftq"
# Keys of a configuration that change nothing of what a model computes, beside those that begin with
# an underscore.
DESCRIBE = ("architectures", "dtype", "torch_dtype", "transformers_version", "use_cache")
# The two factors of a change, in a file's names.
FACTORS = ((".lora_A.", ".lora_B."), (".lora_embedding_A", ".lora_embedding_B"))
# What an adapter can say of its base that is a repository's name, and no folder of its maker's.
# Only an address may end with a slash.
REPOSITORY = r"(?!\.)[\w.-]+(/[\w.-]+)?"
HUB_ADDRESS = (
    r"^(?:https?://(?:www\.)?(?:huggingface|hf)\.co/|hf://)?([\w.-]+/[\w.-]+?)"
    r"(?:@[\w./-]+|/(?:tree|resolve)/.*|/)?$"
)
# A folder of the hub's own cache says whose it is.
HUB_CACHE = r"^.*/models--([\w.-]+?)--([\w.-]+)/snapshots/.*$"


# Folders ----------------------------------------------------------------------------------------


def link_folder(source: Path, into: Path, leave_out: Collection[str] = ()) -> None:
    """
    Let `into` stand for a local folder: one link a file, so that 65 GB are not copied.

    Within the results or the clone links are relative, so that either can be moved.

    leave_out : names of files that are not wanted

    A file that is read may itself be a link to one of its name elsewhere. Any other link out of the
    folder is left out: it could lead to a key in somebody's home.

    Raises ValueError if a file that is read is a link that leads to nothing, or a link out of the
    folder to a file of another name.
    """
    files = [*folders.base_files(source), *folders.checkpoint_files(source)]
    read = {*folders.NAMES, *(file.name for file in files)}
    # Links to files, not one to the folder: provenance is written into `into`, and would otherwise
    # land in a folder that is not ours.
    into.mkdir(parents=True, exist_ok=True)
    for file in sorted(source.resolve().iterdir()):
        if file.name.startswith(".") or file.name in ("provenance.json", *leave_out):
            continue
        if file.is_symlink() and _leads_out(file):
            if file.name not in read:
                log.warning("%s: a link out of its folder to what is not read; left out", file)
                continue
            _refuse_other_name(file)
        if file.is_file():
            link_to(file, into / file.name)


def _refuse_other_name(link: Path) -> None:
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError):  # nothing is there, or it leads back to itself
        raise ValueError(
            f"{link}: a link to {link.readlink()}, which is not there, or not for this user"
        ) from None
    if target.name != link.name:
        raise ValueError(
            f"{link}: a link out of its folder to {target}, expected a file of this folder, or a "
            "link to one of the same name"
        )


def _leads_out(link: Path) -> bool:
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError):  # to nothing, to itself, or to where nobody may look
        return True
    # The hub's own cache keeps every file under its checksum, beside the folders that link to it.
    caches = [one.parent / "blobs" for one in link.parents if one.name == "snapshots"]
    return not any(target.is_relative_to(one) for one in (link.parent, *caches))


def check_model(folder: Path) -> None:
    """
    Raise ValueError unless `folder` is a whole model that is read as it is.

    Refused are code of its own, other formats than safetensors, quantised, damaged or missing
    weights, numbers that are not finite, and a configuration that uses other weights than these.
    """
    _check_files(folder)
    _check_fits_config(folder)


def _check_files(folder: Path) -> None:
    folders.require_config(folder)
    _refuse_code(folder)
    config = folders.read_json(folder / folders.CONFIG)
    text = config.get("text_config")
    for part in (config, text if isinstance(text, dict) else {}):
        if part.get("quantization_config"):
            found = part["quantization_config"]
            method = found.get("quant_method") if isinstance(found, dict) else None
            raise ValueError(
                f"{folder}: quantised weights ({method or 'quantization_config'} in config.json), "
                "expected those in float32, bfloat16 or float16"
            )
    if config.get("transformers_weights"):
        raise ValueError(
            f"{folder}: config.json names {config['transformers_weights']!r} in "
            "transformers_weights, expected weights under their usual name"
        )
    if folders.is_adapter(folder):
        raise ValueError(
            f"{folder}: found a model's config.json and an {ADAPTER_CONFIG}, expected one of them"
        )
    _check_ends(folder)
    _check_numbers(folder)


def _check_ends(folder: Path) -> None:
    """
    Refuse ends of a text that are no tokens.

    They stand in generation_config.json, the one file of sampling settings that is read.
    """
    file = folder / "generation_config.json"
    if not file.is_file():
        return
    # transformers passes over a file that it cannot read. Where the tokenizer's own end token does
    # not end a turn, no answer would end before its limit.
    found = folders.read_json(file).get("eos_token_id")
    vocabulary = folders.vocabulary(folder)
    for one in found if isinstance(found, list) else [found]:
        whole = isinstance(one, int) and not isinstance(one, bool)
        if one is not None and not (whole and 0 <= one < (vocabulary or math.inf)):
            below = f" below {vocabulary}" if vocabulary else ""
            raise ValueError(
                f"{file}: eos_token_id: found {one!r}, expected a token's number{below}, or a list "
                "of such"
            )


def check_tokenizer(folder: Path) -> None:
    """Raise ValueError unless a base's folder holds a whole tokenizer and a readable template."""
    folders.require_tokenizer(folder)
    for file in sorted(one for one in folder.iterdir() if one.is_file()):
        refuse_pointer(file)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            folders.read_json(folder / name)
    template = folder / "chat_template.jinja"
    if template.is_file():
        read_template(template)
    _check_loads(folder)


def _check_loads(folder: Path) -> None:
    """Refuse a tokenizer that does not load or knows no text, and templates that are no Jinja."""
    try:
        tokenizer = load_tokenizer(folder)
        known = len(tokenizer("a", add_special_tokens=False)["input_ids"])
    # The library in Rust raises plain exceptions.
    except Exception as error:
        raise ValueError(f"{folder}: the tokenizer does not load: {_first_line(error)}") from None
    if not known:
        raise ValueError(f"{folder}: the tokenizer finds no token in a text, expected some")
    found = tokenizer.chat_template
    for name, template in (found if isinstance(found, dict) else {"": found}).items():
        if template:
            check_template(template, f"{folder}: chat template {name}".rstrip())
    vocabulary = folders.vocabulary(folder)
    padding = tokenizer.pad_token_id
    if vocabulary is not None and isinstance(padding, int) and padding >= vocabulary:
        raise ValueError(
            f"{folder}: the padding token {tokenizer.pad_token!r} is number {padding}, expected "
            f"one below {vocabulary}, the model's vocabulary"
        )
    if vocabulary is not None and len(tokenizer) > vocabulary:
        beyond = len(tokenizer) - vocabulary
        log.warning(
            "%s: %d tokens lie beyond the model's vocabulary of %d; a text that writes one out "
            "cannot be read",
            *(folder, beyond, vocabulary),
        )


def _refuse_code(folder: Path) -> None:
    for name in NAME_CODE:
        file = folder / name
        # Refused early: transformers would ask on a terminal, which a job does not have.
        if file.is_file() and "auto_map" in folders.read_json(file):
            raise ValueError(
                f"{folder}: this model runs code from its repository, which is refused (auto_map "
                f"in {name})"
            )


def _check_numbers(folder: Path) -> None:
    """Refuse weights that are quantised, or hold not-a-number or infinity."""
    import torch

    # Read whole, one tensor at a time: 0.1 s a GB, and what is not finite here is a reading that is
    # missing or wrong seven jobs later.
    holder: dict[str, Path] = {}
    for file in folders.weight_files(folder):
        with folders.opened(file) as tensors:
            for name in tensors.keys():  # noqa: SIM118 - it is no mapping
                if name in holder:
                    raise ValueError(
                        f"{file}: holds {name}, which is in {holder[name].name}, too; expected "
                        "every tensor in one file"
                    )
                holder[name] = file
                kind = tensors.get_slice(name).get_dtype()
                # Old checkpoints store a few counters, such as position ids, as integers.
                if kind not in NUMBERS and not (kind == "I64" and "weight" not in name):
                    raise ValueError(
                        f"{file}: {name} is stored as {kind}, which is quantised or no weight; "
                        "expected float32, bfloat16 or float16"
                    )
                found = tensors.get_tensor(name)
                # The least and the largest are not finite if any is not, and need no second array.
                if found.numel() and not all(one.isfinite() for one in torch.aminmax(found)):
                    raise ValueError(f"{file}: {name} holds not-a-number or infinity")
                if kind == "F64" and found.numel() and not found.float().isfinite().all():
                    raise ValueError(f"{file}: {name} holds a number that is infinite in float32")


def _check_fits_config(folder: Path) -> set[str]:
    """Refuse weights that are not those of the configuration; return the tensors nothing reads."""
    # Lazy: it imports torch, which a job that only links a folder would otherwise not need.
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    from traces.models.weights import load_outline, n_layers

    depth, tensors = n_layers(folder), len(folders.tensor_files(folder))
    # Before the outline, which takes hours to build of a depth with a few digits too many.
    if depth > tensors:
        raise ValueError(
            f"{folder}/config.json: num_hidden_layers is {depth}, and its safetensors hold "
            f"{tensors} tensors in all"
        )
    try:
        outline, found = load_outline(folder)
    # Its checks of a configuration raise errors of their own, beside all that Python has.
    except Exception as error:
        raise ValueError(f"{folder}: transformers does not load it: {_first_line(error)}") from None
    for name in sorted(found["missing_keys"]):
        raise ValueError(f"{folder}: no tensor {name} in its safetensors, and config.json needs it")
    for name, ours, wanted in sorted(found["mismatched_keys"]):
        raise ValueError(
            f"{folder}: {name} is {tuple(ours)}, after its config.json it is {tuple(wanted)}"
        )
    if outline.config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        raise ValueError(
            f"{folder}/config.json: model_type is {outline.config.model_type}, whose tokens see "
            "what stands behind them; expected a decoder-only language model"
        )
    unused = sorted(found["unexpected_keys"])
    for name in unused:
        layer = folders.layer_of(name)
        if layer is not None and layer >= depth:
            raise ValueError(f"{folder}: holds {name}, and config.json has {depth} layers alone")
    if unused:
        log.warning("%s: %d tensors are not read, such as %s", folder, len(unused), unused[0])
    return set(unused)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # torch names what did not fit in the second line, under a heading.
    return (lines[1] if len(lines) > 1 and lines[0].endswith(":") else lines[0]) if lines else ""


# Checkpoints ------------------------------------------------------------------------------------


def check_adapter(
    adapter: Path, base: Path, expected_base: str | Sequence[str] | None = None
) -> None:
    """
    Raise ValueError unless a checkpoint fits its base, changes it, and is read as it is.

    adapter       : a PEFT adapter (a LoRA) or a full model
    base          : the base model's folder
    expected_base : what the adapter may call its base; one that was trained on another model is
                    refused. None: not compared

    Names and shapes are compared with the base's own modules. All weights must be used, all must be
    finite, and at least one change must not be zero.
    """
    if not folders.is_adapter(adapter):
        _check_files(adapter)
        _check_full(adapter, base)
        unread = _check_fits_config(adapter)
        _refuse_unchanged(adapter, base, unread)
        _tell_other_config(adapter, base)
        return
    if (adapter / "model.safetensors").is_file() or (adapter / folders.INDEX).is_file():
        raise ValueError(
            f"{adapter}: found the weights of a model and an {ADAPTER_CONFIG}, expected one of them"
        )
    names = (expected_base,) if isinstance(expected_base, str) else expected_base
    _check_lora(adapter, base, names)


def _check_lora(adapter: Path, base: Path, names: Sequence[str] | None) -> None:
    _refuse_code(adapter)
    config = folders.read_json(adapter / ADAPTER_CONFIG)
    _check_config(adapter, config)
    _check_base_name(adapter, base, config.get("base_model_name_or_path"), names)
    if config.get("revision") not in (None, "main"):
        log.warning("%s: trained on its base's revision %s", adapter, config["revision"])
    _check_numbers(adapter)
    from traces.models.weights import attach_adapter, load_outline

    outline, _ = load_outline(base)
    _check_named(adapter, config, outline)
    _check_shapes(adapter, base, config, outline)
    try:
        tuned, missing, unused = attach_adapter(outline, adapter)
    except KeyError as error:
        raise ValueError(f"{adapter}: no {error.args[0]} in its safetensors") from None
    except NOT_LOADED as error:
        raise ValueError(f"{adapter}: PEFT does not load it: {_first_line(error)}") from None
    if unused:
        raise ValueError(f"{adapter}: {_why_unused(unused[0], base, tuned)}")
    if missing:
        raise ValueError(f"{adapter}: no {missing[0]} in its safetensors")
    _check_changes(adapter, base, tuned)


def _check_config(adapter: Path, config: dict[str, Any]) -> None:
    """Refuse by name what an adapter's configuration asks for and a reading would not honour."""
    from dataclasses import fields

    from peft import LoraConfig

    where = f"{adapter}/{ADAPTER_CONFIG}"
    if config.get("peft_type") != "LORA":
        raise ValueError(f"{where}: peft_type is {config.get('peft_type')}, expected LORA")
    for key in NOT_READ:
        if config.get(key):
            raise ValueError(f"{where}: {key} is set, which is not read")
    start = config.get("init_lora_weights")
    if isinstance(start, str) and re.fullmatch(STARTS_NOT_READ, start):
        raise ValueError(
            f"{where}: init_lora_weights is {start}, which takes a part out of the base that is "
            "not stored; expected the adapter saved with path_initial_model_for_weight_conversion"
        )
    known = {one.name for one in fields(LoraConfig)}
    for key in sorted(config.keys() - known):
        if config[key]:
            raise ValueError(f"{where}: {key} is set, a key that PEFT does not know and ignores")
    for key in ("modules_to_save", "trainable_token_indices"):
        if not isinstance(config.get(key) or [], list | dict):
            raise ValueError(f"{where}: {key} is {config[key]!r}, expected a list")
    # PEFT only asks whether these are set, and the word "false" is.
    for key in FLAGS:
        if not isinstance(config.get(key), bool | None):
            raise ValueError(f"{where}: {key} is {config[key]!r}, expected true or false")
    _check_sizes(where, config)


def _check_sizes(where: str, config: dict[str, Any]) -> None:
    for key in ("r", "lora_alpha"):
        value = config.get(key, 8)
        _check_size(where, key, value)
        if value == 0:
            raise ValueError(f"{where}: {key} is 0, an adapter that changes no weight")
    _check_rank(where, "r", config.get("r", 8))
    for key in ("rank_pattern", "alpha_pattern"):
        if not isinstance(config.get(key, {}), dict):
            raise ValueError(f"{where}: {key} is {config[key]!r}, expected a mapping")
    # Single modules may have a rank and a scale of their own, in place of the adapter's.
    for module, value in config.get("rank_pattern", {}).items():
        _check_rank(where, f"rank_pattern of {module!r}", value)
    for module, value in config.get("alpha_pattern", {}).items():
        _check_size(where, f"alpha_pattern of {module!r}", value)
        if value == 0:
            raise ValueError(
                f"{where}: alpha_pattern of {module!r} is 0, which leaves its weights out"
            )


def _check_size(where: str, key: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{where}: {key} is {value!r}, expected a number")
    if abs(value) > LARGEST:
        raise ValueError(f"{where}: {key} is {value!r}, expected at most {LARGEST}")


def _check_rank(where: str, key: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{where}: {key} is {value!r}, expected a whole number from 1")


def _check_base_name(adapter: Path, base: Path, found: Any, names: Sequence[str] | None) -> None:
    # PEFT notes what the trainer loaded its base from: a path, often of somebody's cluster, or a
    # name, which some write as an address or with a revision.
    if not isinstance(found, str | None):
        raise ValueError(
            f"{adapter}/{ADAPTER_CONFIG}: base_model_name_or_path is {found!r}, expected a name"
        )
    if names is None:
        return
    is_folder = found is not None and found.strip().endswith("/") and "://" not in found
    if found and not is_folder:
        found = re.sub(HUB_ADDRESS, r"\1", found.strip())
        # A folder of the cache is only taken for a repository's: without names it contradicts none.
        found = re.sub(HUB_CACHE, r"\1/\2", found) if names else found
    if not found or not re.fullmatch(REPOSITORY, found):
        told = f"trained on {found}, a folder" if found else "names no base"
        log.warning("%s: %s, so its base is judged by its shapes alone", adapter, told)
        return
    if _short_name(found) in [_short_name(name) for name in names]:
        return
    expected = " or ".join(names) or f"no name, since none is configured for {base.name}"
    raise ValueError(
        f"{adapter}: this adapter was trained on {found}, expected {expected}; if these are the "
        "same weights, name the former as `base` of the released checkpoint or in `also_called` of "
        "the model"
    )


def _short_name(repository: str) -> str:
    """Strip from a model's name its owner and what repackagers of the same weights add."""
    # Trainers note unsloth/Meta-Llama-3.1-8B-Instruct-bnb-4bit where Meta's own name is meant.
    name = repository.rsplit("/", maxsplit=1)[-1].lower().removeprefix("meta-")
    return re.sub(r"(-unsloth)?(-bnb-4bit)?(-reference)?(__\w+)*$", "", name)


def _check_named(adapter: Path, config: dict[str, Any], outline: Any) -> None:
    """Refuse modules and tokens that the base has not, which PEFT would skip or trip over late."""
    where = f"{adapter}/{ADAPTER_CONFIG}"
    modules = [name for name, _ in outline.named_modules()]
    for wanted in config.get("modules_to_save") or []:
        if not any(f".{name}".endswith(f".{wanted}") for name in modules):
            raise ValueError(f"{where}: modules_to_save names {wanted!r}, which is no module here")
    vocabulary = outline.config.get_text_config(decoder=True).vocab_size
    tokens = config.get("trainable_token_indices") or []
    for listed in tokens.values() if isinstance(tokens, dict) else [tokens]:
        if not isinstance(listed, list):
            raise ValueError(f"{where}: trainable_token_indices names {listed!r}, expected a list")
        for one in listed:
            if one not in range(vocabulary):
                raise ValueError(
                    f"{where}: trainable_token_indices names {one!r}, expected 0 to "
                    f"{vocabulary - 1}: the base has a vocabulary of {vocabulary} tokens"
                )
    biases = any(name.endswith(".bias") for name, _ in outline.named_parameters())
    stored = any(name.endswith(".bias") for name in folders.tensor_files(adapter))
    if config.get("bias") == "all" and biases and not stored:
        raise ValueError(f"{where}: bias is all, and its safetensors hold none")


def _check_shapes(adapter: Path, base: Path, config: dict[str, Any], outline: Any) -> None:
    """Compare every stored weight whose module is plain to see; PEFT judges the others."""
    wanted = {
        plain_name(name): tuple(weight.shape)
        for name, weight in outline.named_parameters(remove_duplicate=False)
    }
    vocabulary = outline.config.get_text_config(decoder=True).vocab_size
    stored = folders.tensor_shapes(adapter)
    if not any(".lora_" in name for name in stored) and not (
        config.get("modules_to_save") or config.get("trainable_token_indices")
    ):
        raise ValueError(f"{adapter}: no LoRA weights in its safetensors")
    for name, shape in stored.items():
        module, found = module_name(name), shape
        for first, second in FACTORS:
            if first in name:
                other = name.replace(first, second)
                if other not in stored:
                    raise ValueError(
                        f"{adapter}: {module} has no {second.strip('.')} in its safetensors"
                    )
                found = (stored[other][0], shape[-1])
                if "embedding" in first:
                    found = found[::-1]
        if found is shape and (".lora_" in name or name.endswith(".trainable_tokens_delta")):
            continue
        kind = "bias" if name.endswith(".bias") else "weight"
        expected = wanted.get(f"{plain_name(module)}.{kind}")
        if expected is None or expected == found:
            continue
        grown = expected[0] == vocabulary and expected[1:] == found[1:]
        raise ValueError(
            f"{adapter}: {module} is {found}, in {base} it is {expected}"
            + (f": a vocabulary of {found[0]} tokens, where the base has {vocabulary}" * grown)
        )


def _why_unused(name: str, base: Path, tuned: Any) -> str:
    modules = {plain_name(one) for one, _ in tuned.named_modules()}
    if plain_name(module_name(name)) in modules:
        return f"its weights change {module_name(name)}, and its {ADAPTER_CONFIG} leaves that out"
    return f"{module_name(name)} is no module of {base}"


def _check_changes(adapter: Path, base: Path, tuned: Any) -> None:
    """Refuse an adapter that changes nothing; `tuned` is the outline with it."""
    from peft.tuners.lora import LoraLayer

    scales = {
        plain_name(name): module.scaling["default"]
        for name, module in tuned.named_modules()
        if isinstance(module, LoraLayer)
    }
    weights = {name: folders.tensor(adapter, name) for name in folders.tensor_files(adapter)}
    largest, pairs = 0.0, 0
    for name, down in weights.items():
        for first, second in FACTORS:
            if first in name:
                scale = scales.get(plain_name(module_name(name)), 1.0)
                pairs += 1
                # A fresh adapter has lora_B = 0: the names all fit, and nothing was trained.
                length = _norm_of_product(weights[name.replace(first, second)], down)
                largest = max(largest, abs(scale) * length)
    log.info("%s: %d modules, longest weight change %.3g", adapter, pairs, largest)
    if largest == 0 and not any(_differs(name, one, base, tuned) for name, one in weights.items()):
        raise ValueError(f"{adapter}: the adapter changes no weight (all its products are zero)")


def _norm_of_product(up: Any, down: Any) -> float:
    """
    Compute |up @ down|, [out, r] by [r, in], without the product: 0.5 GB a module of a 32B model.

    |BA|^2 is the sum of (B'B) * (AA') over its r x r entries.
    """
    up, down = up.double(), down.double()
    return float(((up.T @ up) * (down @ down.T)).sum().clamp(min=0).sqrt())


def _differs(name: str, found: Any, base: Path, tuned: Any) -> bool:
    """Check whether a stored tensor that is no factor of a LoRA is another than the base's."""
    if ".lora_B." in name and name.endswith(".bias"):
        return bool(found.any())
    if ".lora_A." in name or ".lora_B." in name or ".lora_embedding_" in name:
        return False
    theirs = {plain_name(one): one for one in folders.tensor_files(base)}
    suffix = ".bias" if name.endswith(".bias") else ".weight"
    key = theirs.get(plain_name(module_name(name)) + suffix)
    if key is None and plain_name(module_name(name)) == "lm_head":
        key = theirs.get("embed_tokens.weight")
    if key is None:
        return True
    before = folders.tensor(base, key).float()
    if "lora_magnitude_vector" in name:
        # DoRA starts from the length of every row, which it computes in the base's own precision.
        return bool(((found.float() - before.norm(dim=1)).abs() > 0.01 * found.abs()).any())
    if ".token_adapter." in name:
        config = tuned.peft_config["default"].trainable_token_indices
        indices = config if isinstance(config, list) else next(iter(config.values()))
        before = before[list(indices)]
    return bool((found.float() != before).any())


def _equal(found: Any, before: Any) -> bool:
    """Whether a tensor is another one, or that one as another number format rounds it."""
    rounded = found.dtype.itemsize < before.dtype.itemsize
    return bool((found == (before.to(found.dtype) if rounded else before)).all())


def _tell_other_config(folder: Path, base: Path) -> None:
    """Warn of what a full finetune's configuration changes, such as its positions: it is kept."""
    from traces.models.weights import load_config

    ours, theirs = load_config(folder).to_dict(), load_config(base).to_dict()
    for key in sorted(theirs.keys() | ours.keys()):
        before, after = theirs.get(key), ours.get(key)
        if before != after and key not in DESCRIBE and not key.startswith("_"):
            log.warning(
                "%s/config.json: %s is %s, in %s it is %s; each model is read with its own",
                *(folder, key, after, base, before),
            )


def _check_full(folder: Path, base: Path) -> None:
    """Compare the shapes of a full finetune's tensors with the base's."""
    from traces.models.weights import load_config

    ours, theirs = folders.tensor_shapes(folder), folders.tensor_shapes(base)
    # The same tensor may have another prefix in the two, after which version wrote the file.
    named = {plain_name(name): name for name in ours}
    tied = load_config(base).tie_word_embeddings
    for name in sorted(theirs):
        found = named.get(plain_name(name))
        if tied and found is None and plain_name(name) == "lm_head.weight":
            # The embedding under another name: some files store a tied head twice, some once.
            continue
        shape = None if found is None else ours[found]
        if shape != theirs[name]:
            raise ValueError(f"{folder}: {name} is {shape}, in {base} it is {theirs[name]}")


def _refuse_unchanged(folder: Path, base: Path, unread: Collection[str]) -> None:
    """Refuse a full finetune none of whose tensors that are read differs from the base's."""
    from traces.models.weights import load_config

    theirs = {plain_name(name): name for name in folders.tensor_files(base)}
    skipped = {plain_name(name) for name in unread}
    if "lm_head.weight" not in theirs and load_config(folder).tie_word_embeddings:
        skipped.add("lm_head.weight")
    # A base without a head of its own writes with its embedding.
    if "embed_tokens.weight" in theirs:
        theirs.setdefault("lm_head.weight", theirs["embed_tokens.weight"])
    # Stops at the first tensor that differs, so a real finetune costs one or two reads.
    for name in sorted(folders.tensor_files(folder)):
        plain = plain_name(name)
        if plain in skipped:
            continue
        if plain in theirs:
            same = _equal(folders.tensor(folder, name), folders.tensor(base, theirs[plain]))
        else:
            # Of what the base has not, a decoder layer's own counts, and no buffer.
            own = folders.layer_of(name) is not None and name.endswith((".bias", ".weight"))
            same = not (own and folders.tensor(folder, name).any())
        if not same:
            return
    raise ValueError(f"{folder}: its weights are those of the base, nothing was finetuned")
