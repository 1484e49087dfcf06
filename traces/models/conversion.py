"""
Convert a GGUF file to a model folder in hub layout: safetensors, configuration and tokenizer.

transformers undoes the quantisation and knows the architectures. Its reader passes over keys and
tensors that it does not know, so this module counts: what a file holds is in the model, or the file
is refused.
"""

import logging
import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from traces.corpora.tokens import load_gguf_tokenizer
from traces.models.folders import check_gguf
from traces.models.weights import load_gguf

if TYPE_CHECKING:
    from gguf import GGUFReader

log = logging.getLogger(__name__)

UNSCALED = (None, "none")
# What a key of GGUF is called in a configuration, where it is not the key's last part.
CALLED = {
    "attention.key_length": "head_dim",
    "attention.value_length": "head_dim",
    "rope.dimension_count": "head_dim",
}
# Values of a key that change nothing.
NEUTRAL = (0, "", "none")


def convert(file: Path, folder: Path) -> str:
    """
    Write the model in a GGUF file to `folder`, in float32; return its number formats.

    The formats are those of its tensors, such as "Q4_1 (210 tensors), F32 (61)": the weights are
    what is left after that rounding.

    Raises ValueError in one sentence for a file that is no whole model, or that transformers does
    not read in full.
    """
    reader = _opened(file)
    _refuse_parts(file, reader)
    _refuse_scaled_positions(file, reader)
    try:
        model, missing = load_gguf(file)
        tokenizer = load_gguf_tokenizer(file)
    except Exception as error:  # of every kind: transformers meets what it does not know anywhere
        told = " ".join(str(error).split())[:200]
        raise ValueError(f"{file}: transformers cannot convert it ({told})") from error
    if missing:
        raise ValueError(f"{file}: weights missing, such as {missing[0]}")
    _require_keys(file, reader, model.config)
    plain = _as_if_never_quantised(model)
    _require_all(file, reader, plain)
    plain.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return _formats(reader)


def _opened(file: Path) -> "GGUFReader":
    # Lazy: only a job that converts needs the library.
    from gguf import GGUFReader

    check_gguf(file)
    try:
        return GGUFReader(file)
    except Exception as error:  # the library reads numbers where they should be
        told = " ".join(str(error).split())[:200]
        raise ValueError(f"{file}: cut or damaged ({told})") from error


def _value(reader: "GGUFReader", key: str) -> Any:
    field = reader.get_field(key)
    return None if field is None else field.contents()


def _refuse_parts(file: Path, reader: "GGUFReader") -> None:
    """Refuse one part of several, and what is no language model, such as an image encoder."""
    parts = _value(reader, "split.count")
    if parts is not None and int(parts) > 1:
        raise ValueError(
            f"{file}: found one of {int(parts)} parts of a model, expected the whole in one file; "
            "llama.cpp's `llama-gguf-split --merge` joins them"
        )
    if reader.get_field("tokenizer.ggml.tokens") is None:
        kind = _value(reader, "general.architecture") or "unknown"
        raise ValueError(f"{file}: found no tokenizer (architecture {kind}), expected a model's")


def _refuse_scaled_positions(file: Path, reader: "GGUFReader") -> None:
    """Refuse rotary positions that are stretched: transformers passes over these keys."""
    architecture = _value(reader, "general.architecture")
    kind = _value(reader, f"{architecture}.rope.scaling.type")
    factor = _value(reader, f"{architecture}.rope.scaling.factor")
    if kind not in UNSCALED or factor not in (None, 0.0, 1.0):
        raise ValueError(
            f"{file}: found scaled rotary positions ({architecture}.rope.scaling: {kind}, factor "
            f"{factor}), which the conversion would lose; take the model from the hub"
        )


def _require_keys(file: Path, reader: "GGUFReader", config: Any) -> None:
    """Refuse a key that transformers passes over, unless the configuration has its value anyway."""
    from transformers.integrations.ggml import GGUF_CONFIG_MAPPING

    architecture = _value(reader, "general.architecture")
    text = config.get_text_config(decoder=True)
    # It knows some architectures by another name than the file does.
    known = (architecture, config.model_type, text.model_type)
    read = {key for name in known for key, own in GGUF_CONFIG_MAPPING.get(name, {}).items() if own}
    own = text.to_dict()
    own["head_dim"] = own.get("head_dim") or text.hidden_size // text.num_attention_heads
    for field in reader.fields:
        key = field.removeprefix(f"{architecture}.")
        # Of scaled positions another check knows more.
        if key == field or key in read or key.startswith("rope.scaling."):
            continue
        found, expected = _value(reader, field), own.get(CALLED.get(key, key.rpartition(".")[2]))
        if found not in NEUTRAL and not _alike(found, expected):
            raise ValueError(
                f"{file}: found {field} {found}, which the conversion would lose (its model has "
                f"{expected}); take the model from the hub"
            )


def _alike(found: Any, expected: Any) -> bool:
    if isinstance(found, float) and isinstance(expected, int | float):
        return math.isclose(found, expected, rel_tol=1e-6)  # GGUF holds float32
    return bool(found == expected)


def _as_if_never_quantised(model: Any) -> Any:
    """The same weights in a model that does not know of GGUF, which transformers will not save."""
    import torch

    config = type(model.config).from_dict(_without_quantisation(model.config.to_dict()))
    with torch.device("meta"):
        plain = type(model)(config)
    plain.load_state_dict(model.state_dict(), assign=True)
    plain.tie_weights()
    return plain


def _without_quantisation(config: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key != "quantization_config"}


def _require_all(file: Path, reader: "GGUFReader", model: Any) -> None:
    """Raise ValueError unless the model has as many weights as the file has numbers."""
    stored = {tensor.name: math.prod(int(n) for n in tensor.shape) for tensor in reader.tensors}
    found = sum(weight.numel() for weight in model.parameters())  # tied ones are counted once
    if found != sum(stored.values()):
        beside = [name for name in stored if not name.startswith("blk.")]
        raise ValueError(
            f"{file}: found {sum(stored.values()):,} numbers in its tensors, of which the model "
            f"has {found:,}, expected all of them (beside the blocks: {', '.join(beside)})"
        )


def _formats(reader: "GGUFReader") -> str:
    kinds = Counter(tensor.tensor_type.name for tensor in reader.tensors)
    return ", ".join(f"{kind} ({n} tensors)" for kind, n in kinds.most_common())
