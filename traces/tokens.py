"""The one module that loads tokenizers; it needs no torch: a job that only tokenizes is light."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def load_tokenizer(folder: Path) -> "PreTrainedTokenizerFast":
    """
    The tokenizer of a model folder, always a fast one: spans need character offsets.

    A tokenizer without a padding token pads with its end-of-text token.
    """
    tokenizer = _tokenizer_class(folder).from_pretrained(folder, local_files_only=True)
    if not tokenizer.is_fast:
        raise ValueError(f"{folder}: a fast tokenizer (tokenizer.json) is needed, found a slow one")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _tokenizer_class(folder: Path) -> Any:
    """
    What loads a tokenizer: for one that calls itself a plain tokenizer.json, the class of those.

    AutoTokenizer takes the same, but imports what knows every model: more than a second of CPU
    time, and most of what a job that only tokenizes would do.
    """
    settings = folder / "tokenizer_config.json"
    named = json.loads(settings.read_text()).get("tokenizer_class") if settings.is_file() else None
    if named in ("TokenizersBackend", "PreTrainedTokenizerFast"):
        from transformers import PreTrainedTokenizerFast

        return PreTrainedTokenizerFast
    from transformers import AutoTokenizer

    return AutoTokenizer
