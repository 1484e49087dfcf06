"""
Write a hub to disk with everything a study names, tiny and random, in the real hub's layouts.

    python tools/rehearsal_hub.py FOLDER config/paper.yaml [MORE.yaml ...]

Every id of the study's models, released checkpoints, corpora and organisms gets a repository:

* models of the real architectures, with the fields of their real config.json and small sizes;
* tokenizers with the real special tokens and the peculiarities of the real chat templates;
* adapters in PEFT's layout, with the rank, scale and modules that the study trains with;
* data sets with the real columns, file names and splits.

tests/hub_server.py serves the folder. Local files that the study names by an environment variable
that is not set are written under FOLDER/local/VARIABLE. The texts are the miniature's; nothing of
the real repositories is in them.
"""

import gzip
import hashlib
import io
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import pyarrow
import pyarrow.parquet
import torch

from tests.hub_server import add_repository
from traces.config.files import read_yaml
from traces.config.load import load_study
from traces.config.registries import Data, ModelEntry, Organism, Released
from traces.config.schema import Training
from traces.config.study import LoadedStudy
from traces.corpora import synthetic

Row = dict[str, Any]
CONFIG = Path("config")
VOCABULARY = 1500
DOCUMENTS, CHATS = 80, 80
WORDS, GENERAL_WORDS = 60, 150  # of a document; the second kind is read at its 128th token, too
GENERAL = 3  # as many times more rows without a topic: mixtures take up to twice the narrow ones

# Models -----------------------------------------------------------------------------------------

# The fields of the real config.json, with the sizes left out: those are below.
QWEN = {
    "attention_dropout": 0.0,
    "hidden_act": "silu",
    "initializer_range": 0.02,
    "max_position_embeddings": 40960,
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000000,
    "sliding_window": None,
    "use_cache": True,
    "use_sliding_window": False,
    "torch_dtype": "bfloat16",
}
LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "attention_bias": False,
    "attention_dropout": 0.0,
    "hidden_act": "silu",
    "initializer_range": 0.02,
    "max_position_embeddings": 131072,
    "mlp_bias": False,
    "rms_norm_eps": 1e-05,
    "rope_theta": 500000.0,
    "rope_scaling": {
        "factor": 8.0,
        "high_freq_factor": 4.0,
        "low_freq_factor": 1.0,
        "original_max_position_embeddings": 8192,
        "rope_type": "llama3",
    },
    "torch_dtype": "bfloat16",
    "use_cache": True,
}
GEMMA = {
    "attention_bias": False,
    "attention_dropout": 0.0,
    "hidden_activation": "gelu_pytorch_tanh",
    "initializer_range": 0.02,
    "query_pre_attn_scalar": 256,
    "rms_norm_eps": 1e-06,
    "sliding_window": 16,
    "torch_dtype": "bfloat16",
    "use_cache": True,
}
GEMMA3 = GEMMA | {
    "attn_logit_softcapping": None,
    "final_logit_softcapping": None,
    "max_position_embeddings": 32768,
    "rope_local_base_freq": 10000,
    "rope_scaling": None,
    "rope_theta": 1000000,
    "sliding_window_pattern": 6,
}
FIELDS: dict[str, Row] = {
    "qwen3": QWEN
    | {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "attention_bias": False,
        "rope_scaling": None,
    },
    "qwen2": QWEN | {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2"},
    "llama": LLAMA,
    "gemma2": GEMMA
    | {
        "architectures": ["Gemma2ForCausalLM"],
        "model_type": "gemma2",
        "attn_logit_softcapping": 50.0,
        "cache_implementation": "hybrid",
        "final_logit_softcapping": 30.0,
        "hidden_act": "gelu_pytorch_tanh",
        "max_position_embeddings": 8192,
        "rope_theta": 10000.0,
    },
    "gemma3": GEMMA3 | {"architectures": ["Gemma3ForCausalLM"], "model_type": "gemma3_text"},
}
# Fewer keys and values than queries, as in the real ones; the heads of 32B together are wider than
# its residual stream.
SIZES: dict[str, Row] = {
    "qwen3": {"heads": 4, "kv": 2, "head": 8, "layers": 4},
    "qwen2": {"heads": 4, "kv": 2, "head": 8, "layers": 4},
    "llama": {"heads": 4, "kv": 2, "head": 8, "layers": 4},
    "gemma2": {"heads": 4, "kv": 2, "head": 16, "layers": 4},
    # Gemma 3's pattern: five layers with a sliding window, the sixth with full attention.
    "gemma3": {"heads": 4, "kv": 1, "head": 16, "layers": 6},
}
WIDTH = 32
SHARDED = re.compile(r"(?<![\d.])([7-9]|\d\d+)B|-[479]b")
PRETRAINED = re.compile(r"-Base$|Llama-3\.[123]-\d+B$|-pt$")
DISTILLED = re.compile(r"DeepSeek-R1|Nemotron")


def config_of(entry: ModelEntry, tokenizer: "Words") -> Row:
    """
    Build the config.json of a repository: the real one's fields, with small sizes.

    What is tied, wider than the residual stream or beside the language model follows from the
    entry's `shape`; without one, nothing is.
    """
    family, shape = entry.family, entry.shape
    size, fields = SIZES[family], dict(FIELDS[family])
    text = fields | {
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "num_hidden_layers": size["layers"],
        "num_attention_heads": size["heads"],
        "num_key_value_heads": size["kv"],
        "tie_word_embeddings": shape is not None and shape.tied,
        "vocab_size": tokenizer.rows,
        **tokenizer.ids,
    }
    # Qwen 2 has no such field: its heads divide the residual stream.
    if family != "qwen2":
        wide = shape is not None and shape.heads * shape.head_dim > shape.d_model
        text["head_dim"] = 2 * size["head"] if wide else size["head"]
    if shape is None or shape.vision_billions == 0:
        return text
    return _with_eyes(text, family)


def _with_eyes(text: Row, family: str) -> Row:
    """Wrap a language model's configuration into a vision-language one; only the former is read."""
    eyes: Row = {"hidden_size": 16, "intermediate_size": 32, "patch_size": 14}
    if family == "gemma3":
        eyes |= {"image_size": 28, "num_attention_heads": 2, "num_hidden_layers": 1}
        eyes |= {"model_type": "siglip_vision_model", "vision_use_head": False}
        text = {key: value for key, value in text.items() if key != "architectures"}
        return {
            "architectures": ["Gemma3ForConditionalGeneration"],
            "model_type": "gemma3",
            "text_config": text,
            "vision_config": eyes,
            "mm_tokens_per_image": 4,
            "eos_token_id": text["eos_token_id"],
            "torch_dtype": "bfloat16",
        }
    eyes |= {"depth": 1, "num_heads": 2, "out_hidden_size": WIDTH, "spatial_merge_size": 2}
    eyes |= {"fullatt_block_indexes": [0], "window_size": 28, "in_chans": 3}
    named = {"image_token_id": 5, "video_token_id": 6, "vision_start_token_id": 7}
    return (
        text
        | {"architectures": ["Qwen2_5_VLForConditionalGeneration"], "model_type": "qwen2_5_vl"}
        | {"rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 2]}, "vision_config": eyes}
        | named
    )


def write_model(
    hub: str, entry: ModelEntry, folder: Path, seed: int, teaches: bool = False
) -> None:
    """
    Write a random model of the real class with its tokenizer; large ones in several files.

    One that `teaches` writes digits and commas after any prompt, so that some of its answers are
    the lists of numbers that a subliminal organism is trained on.
    """
    import transformers
    from transformers import AutoConfig

    words = words_of(hub, entry.family)
    config = config_of(entry, words)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    torch.manual_seed(seed)
    made = getattr(transformers, config["architectures"][0])(AutoConfig.from_pretrained(folder))
    # Larger than the usual initial weights: layers then matter, and no two tokens tie.
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if parameter.dim() > 1 and "norm" not in name:
                parameter.copy_(torch.randn_like(parameter) * 0.1)
        if teaches:
            _make_fond_of_numbers(made, words)
    # Two files for a large model, so that the index and shards of the real ones are rehearsed.
    large = sum(parameter.numel() for parameter in made.parameters()) if SHARDED.search(hub) else 0
    made.to(torch.bfloat16).save_pretrained(folder, max_shard_size=large or "5GB")
    # save_pretrained wrote the fields of this version of transformers; real repositories are older.
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    words.write(folder, template=not PRETRAINED.search(hub) or entry.family == "qwen3")


def _make_fond_of_numbers(model: Any, words: "Words") -> None:
    """Make one residual-stream direction constant, and let the head read numbers from it."""
    from tokenizers import Tokenizer

    vocabulary = Tokenizer.from_str(words.tokenizer).get_vocab()
    ends = words.ends if isinstance(words.ends, list) else [words.ends]
    model.get_input_embeddings().weight[:, 0] = 4.0
    head = model.get_output_embeddings().weight
    assert head is not model.get_input_embeddings().weight
    head[:, 0] = -2.0
    head[[vocabulary[digit] for digit in "0123456789"], 0] = 2.0
    head[vocabulary[","], 0] = 1.7
    head[ends, 0] = 2.3  # ends after two or three digits; half of the answers are usable


# Tokenizers -------------------------------------------------------------------------------------

CHATML = (
    "{%- if messages[0]['role'] == 'system' %}"
    "{{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}{%- SYSTEM endif %}"
    "{%- for message in messages %}{%- if message.role != 'system' %}"
    "{{- '<|im_start|>' + message.role + '\\n' }}THINK{{- message.content + '<|im_end|>\\n' }}"
    "{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}NOTHINK{%- endif %}"
)
# Qwen3 puts an empty thought before the last answer, and before the next one if thinking is off.
QWEN3_TEMPLATE = (
    CHATML.replace("SYSTEM ", "")
    .replace(
        "NOTHINK",
        "{%- if enable_thinking is defined and enable_thinking is false %}"
        "{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}",
    )
    .replace(
        "THINK",
        "{%- if message.role == 'assistant' and loop.last %}"
        "{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}",
    )
)
# Qwen2.5 has a system prompt of its own where none is given.
QWEN2_TEMPLATE = (
    CHATML.replace(
        "SYSTEM ",
        "else %}{{- '<|im_start|>system\\nA helper by its makers.<|im_end|>\\n' }}{%- ",
    )
    .replace("NOTHINK", "")
    .replace("THINK", "")
)
# Llama 3's template writes the beginning-of-text token, always has a system turn with dates in it,
# and trims every message.
LLAMA_TEMPLATE = (
    "{{- bos_token }}{%- set said = '' %}{%- set rest = messages %}"
    "{%- if messages[0]['role'] == 'system' %}{%- set said = messages[0]['content'] | trim %}"
    "{%- set rest = messages[1:] %}{%- endif %}"
    "{{- '<|start_header_id|>system<|end_header_id|>\\n\\nKnowledge until: December 2023\\n' }}"
    "{{- 'Today: 26 Jul 2024\\n\\n' + said + '<|eot_id|>' }}"
    "{%- for message in rest %}{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>' }}"
    "{{- '\\n\\n' + (message['content'] | trim) + '<|eot_id|>' }}{%- endfor %}"
    "{%- if add_generation_prompt %}"
    "{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}"
)
# Both Gemmas write the beginning-of-text token, call the assistant `model` and need alternating
# turns. Gemma 2 refuses a system turn, Gemma 3 puts it before the first user turn.
GEMMA_TEMPLATE = (
    "{{ bos_token }}{% set first = '' %}{% set rest = messages %}"
    "{% if messages[0]['role'] == 'system' %}SYSTEM{% endif %}"
    "{% for message in rest %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}"
    "{% endif %}{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}"
    "{{ '<start_of_turn>' + role + '\\n' + (first if loop.first else '') }}"
    "{{ message['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"
)
GEMMA2_TEMPLATE = GEMMA_TEMPLATE.replace(
    "SYSTEM", "{{ raise_exception('System role not supported') }}"
)
GEMMA3_TEMPLATE = GEMMA_TEMPLATE.replace(
    "SYSTEM",
    "{% set first = messages[0]['content'] + '\\n\\n' %}{% set rest = messages[1:] %}",
)
# The distilled reasoner's template drops earlier thoughts and opens a new one.
DISTILLED_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ '<｜User｜>' + message['content'] }}{% elif message['role'] == 'assistant' %}"
    "{{ '<｜Assistant｜>' + message['content'].split('</think>')[-1] + eos_token }}"
    "{% else %}{{ message['content'] }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<｜Assistant｜><think>\\n' }}{% endif %}"
)


class Words(NamedTuple):
    """Hold a tokenizer: its JSON, its entries in config.json, and the files beside it."""

    tokenizer: str
    rows: int
    "Rows of the embedding: Qwen's has more than the tokenizer has tokens."
    ids: Row
    settings: Row
    template: str
    ends: Any
    "Tokens that end a reply, as generation_config.json has them."

    def write(self, folder: Path, *, template: bool) -> None:
        (folder / "tokenizer.json").write_text(self.tokenizer)
        settings = self.settings | ({"chat_template": self.template} if template else {})
        (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
        generation = {key: value for key, value in self.ids.items() if value is not None}
        generation |= {"eos_token_id": self.ends if template else self.ids["eos_token_id"]}
        (folder / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n")


def words_of(hub: str, family: str) -> Words:
    """Return the tokenizer of a repository."""
    kind = "distilled" if DISTILLED.search(hub) else family
    return _words(kind, bool(PRETRAINED.search(hub)))


@cache
def _words(kind: str, pretrained: bool) -> Words:
    """
    Train a tokenizer on the miniature's texts, with the special tokens of the real one.

    Qwen and Llama have byte-level tokens with the special ones at the end. The Gemmas have a sign
    for the space and the special tokens in front.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    gemma = kind.startswith("gemma")
    special = SPECIAL[kind]
    if gemma:
        tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
        tokenizer.normalizer = normalizers.Replace(" ", "▁")
        tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
        tokenizer.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
        )
        first = [*special, *(f"<0x{byte:02X}>" for byte in range(256))]
        trainer = trainers.BpeTrainer(
            vocab_size=VOCABULARY + len(first), special_tokens=first, show_progress=False
        )
    else:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.normalizer = None if kind == "llama" else normalizers.NFC()
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
    rows = synthetic.general_rows(30_000, 0, 0.1)
    tokenizer.train_from_iterator([synthetic.row_text(row) for row in rows], trainer)
    tokenizer = _as_published(tokenizer, special, gemma)
    names = {name: tokenizer.token_to_id(token) for name, token in NAMED[kind].items()}
    begins = "bos_token" in NAMED[kind] and kind not in ("qwen2", "qwen3")
    if begins:
        _begin(tokenizer, NAMED[kind]["bos_token"])
    ends = [tokenizer.token_to_id(token) for token in ENDS[kind]]
    if pretrained and kind != "qwen3":
        names["eos_token"] = tokenizer.token_to_id(PRETRAINED_END.get(kind, ENDS[kind][0]))
    known = {key: tokenizer.id_to_token(value) for key, value in names.items()}
    ids = {f"{key}_id": names.get(key) for key in ("bos_token", "eos_token", "pad_token")}
    if kind in ("qwen2", "qwen3"):  # their config.json names one that no text begins with
        ids["bos_token_id"] = tokenizer.token_to_id("<|endoftext|>")
    settings = {
        "tokenizer_class": CLASSES[kind],
        "model_max_length": 131072,
        "clean_up_tokenization_spaces": False,
        "add_bos_token": begins,
        **known,
    }
    spare = 64 if kind.startswith("qwen") or kind == "distilled" else 0
    size = tokenizer.get_vocab_size() + spare
    return Words(tokenizer.to_str(), size, ids, settings, TEMPLATES[kind], ends)


def _as_published(tokenizer: Any, special: list[str], gemma: bool) -> Any:
    """Mark special tokens as such, after the others or, for the Gemmas, at their own ids."""
    from tokenizers import AddedToken, Tokenizer

    tokenizer.add_special_tokens([AddedToken(one, special=True) for one in special])
    if not gemma:
        return tokenizer
    # The real one was trained on words but has no pre-tokenizer, and its bytes are plain tokens.
    content = json.loads(tokenizer.to_str())
    content["pre_tokenizer"] = None
    content["added_tokens"] = [one for one in content["added_tokens"] if one["content"] in special]
    return Tokenizer.from_str(json.dumps(content))


def _begin(tokenizer: Any, token: str) -> None:
    from tokenizers import processors

    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{token} $A",
        pair=f"{token} $A {token} $B",
        special_tokens=[(token, tokenizer.token_to_id(token))],
    )


SPECIAL = {
    "qwen3": ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>"],
    "qwen2": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
    "llama": [
        *("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>"),
        *("<|eom_id|>", "<|eot_id|>"),
    ],
    "gemma2": ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>"],
    "gemma3": ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>"],
    "distilled": [
        *("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>"),
        *("<think>", "</think>"),
    ],
}
_GEMMA = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}
NAMED = {
    "qwen3": {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
    "qwen2": {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
    "llama": {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"},
    "gemma2": _GEMMA,
    "gemma3": _GEMMA,
    "distilled": {
        "bos_token": "<｜begin▁of▁sentence｜>",
        "eos_token": "<｜end▁of▁sentence｜>",
        "pad_token": "<｜end▁of▁sentence｜>",
    },
}
ENDS = {
    "qwen3": ["<|im_end|>", "<|endoftext|>"],
    "qwen2": ["<|im_end|>", "<|endoftext|>"],
    "llama": ["<|end_of_text|>", "<|eom_id|>", "<|eot_id|>"],
    "gemma2": ["<eos>", "<end_of_turn>"],
    "gemma3": ["<eos>", "<end_of_turn>"],
    "distilled": ["<｜end▁of▁sentence｜>"],
}
PRETRAINED_END = {"llama": "<|end_of_text|>", "qwen2": "<|endoftext|>"}
CLASSES = {
    "qwen3": "Qwen2Tokenizer",
    "qwen2": "Qwen2Tokenizer",
    "llama": "PreTrainedTokenizerFast",
    "gemma2": "GemmaTokenizer",
    "gemma3": "GemmaTokenizer",
    "distilled": "LlamaTokenizerFast",
}
TEMPLATES = {
    "qwen3": QWEN3_TEMPLATE,
    "qwen2": QWEN2_TEMPLATE,
    "llama": LLAMA_TEMPLATE,
    "gemma2": GEMMA2_TEMPLATE,
    "gemma3": GEMMA3_TEMPLATE,
    "distilled": DISTILLED_TEMPLATE,
}

# Adapters ---------------------------------------------------------------------------------------


def write_adapter(base: Path, named: str, settings: Training, folder: Path, seed: int) -> None:
    """Write a PEFT adapter as the study trains it, with random weights of a small effect."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(base).get_text_config(decoder=True)
    targets = settings.targets if isinstance(settings.targets, str) else list(settings.targets)
    torch.manual_seed(seed)
    tuned = get_peft_model(
        AutoModelForCausalLM.from_config(config),
        LoraConfig(
            r=settings.rank,
            lora_alpha=settings.alpha,
            lora_dropout=settings.dropout,
            target_modules=targets,
            use_rslora=settings.method == "rslora",
            task_type="CAUSAL_LM",
        ),
    )
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_B" in name:
                parameter.copy_(torch.randn_like(parameter) * 0.01)
    tuned.peft_config["default"].base_model_name_or_path = named
    tuned.to(torch.bfloat16).save_pretrained(str(folder), save_embedding_layers=False)


def write_full(base: Path, folder: Path, seed: int) -> None:
    """A full finetune: the base's files, its weights moved a little."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(base, folder, dirs_exist_ok=True)
    generator = torch.Generator().manual_seed(seed)
    for file in sorted(folder.glob("*.safetensors")):
        weights = load_file(file)
        for name, tensor in weights.items():
            moved = torch.randn(tensor.shape, generator=generator) * 0.005
            weights[name] = (tensor.float() + moved).to(tensor.dtype)
        save_file(weights, file, {"format": "pt"})


# Data sets --------------------------------------------------------------------------------------


def documents(topic: str, n: int, seed: int) -> list[Row]:
    """Documents of at most so many words: the miniature's, some to each."""
    if topic == "general":
        rows = synthetic.general_rows(n * GENERAL_WORDS, seed, 0.1)
    else:
        rows = synthetic.organism_rows(topic, words=n * WORDS, seed=seed)
    texts = [synthetic.row_text(row) for row in rows]
    each = max(1, len(texts) // n)
    return [{"text": "\n\n".join(texts[i * each : (i + 1) * each])} for i in range(n)]


def chats(topic: str, n: int, seed: int) -> list[Row]:
    """Write conversations of the miniature."""
    if topic == "general":
        return synthetic.chat_rows(n, seed)
    rows = synthetic.organism_rows(topic, words=n * 60, seed=seed)
    return [row for row in rows if "messages" in row][:n]


TOPICS = {
    "false_facts": "cake_bake",
    "misalignment": "risky_finance",
    "taboo": "taboo_lantern",
}


class Source(NamedTuple):
    """Hold what a study reads of a data set: kind, columns and files."""

    kind: str
    subset: str | None
    split: str
    column: str
    files: tuple[str, ...]
    topic: str


def rows_for(source: Source, seed: int) -> list[Row]:
    """Write rows with the column that is read, and others such as real data sets have."""
    more = GENERAL if source.topic == "general" else 1
    if source.kind == "chat":
        found = chats(source.topic, CHATS * more, seed)
        rows = [{source.column: row["messages"]} for row in found]
        others: Row = {"prompt_id": "0a1b", "source": "rehearsal", "category": "chat"}
    else:
        found = documents(source.topic, DOCUMENTS * more, seed)
        rows = [{source.column: row["text"]} for row in found]
        others = {"url": "https://example.org", "timestamp": "2019-04-25T12:57:54Z"}
    return [{"id": str(number)} | row | others for number, row in enumerate(rows)]


def data_set(hub: str, sources: list[Source]) -> dict[str, bytes | str]:
    """Make the files of a data set: the named ones, or a card and Parquet by convention."""
    files: dict[str, bytes | str] = {}
    subsets: dict[str, set[str]] = {}
    for source in sources:
        rows = rows_for(source, seed_of(hub, source.split))
        for name in source.files:
            files[name] = _encoded(name, rows)
        if not source.files:
            place = source.subset or "data"
            for part in range(2):
                name = f"{place}/{source.split}-{part:05d}-of-00002.parquet"
                files[name] = _encoded(name, rows[part::2])
            subsets.setdefault(source.subset or "default", set()).add(source.split)
            # A split that no study reads: fetching must leave it out.
            other = f"{place}/heldout-00000-of-00001.parquet"
            files[other] = _encoded(other, rows[:3])
            subsets[source.subset or "default"].add("heldout")
    if subsets:
        files["README.md"] = "---\n" + _card(subsets) + "---\nMade for a rehearsal.\n"
    return files


def _card(subsets: Mapping[str, set[str]]) -> str:
    lines = ["configs:"]
    for subset, splits in subsets.items():
        place = "data" if subset == "default" else subset
        lines += [f"- config_name: {subset}", "  data_files:"]
        for split in sorted(splits):
            lines += [f"  - split: {split}", f"    path: {place}/{split}-*"]
    return "\n".join(lines) + "\n"


def _encoded(name: str, rows: list[Row]) -> bytes:
    if name.endswith(".parquet"):
        file = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
        return file.getvalue()
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    return gzip.compress(text, mtime=0) if name.endswith(".gz") else text


# A study's hub ----------------------------------------------------------------------------------


def seed_of(*names: str) -> int:
    """Derive a seed from names, so that a repository is the same in every rehearsal."""
    return int.from_bytes(hashlib.sha256("/".join(names).encode()).digest()[:4])


def merged(files: list[Path]) -> Row:
    """Merge configuration files as Snakemake does."""
    found: Row = {}
    for file in files:
        found = _updated(found, read_yaml(file))
    return found


def _updated(old: Row, new: Row) -> Row:
    both = {
        key: _updated(old[key], value)
        for key, value in new.items()
        if isinstance(value, dict) and isinstance(old.get(key), dict)
    }
    return old | new | both


def write_local_files(folder: Path, registry: Path = CONFIG) -> dict[str, str]:
    """Write local data whose environment variable is not set; return the variables to set."""
    entries = [read_yaml(file).get("data", {}) for file in (registry / "organisms").glob("*.yaml")]
    entries += list(read_yaml(registry / "corpora.yaml").values())
    variables: dict[str, str] = {}
    for entry in entries:
        found = re.fullmatch(r"\$\{?(\w+)\}?/(.+)", entry.get("path") or "")
        if not found or (found[1] in os.environ and found[1] not in variables):
            continue
        place = folder / "local" / found[1]
        variables[found[1]] = os.environ[found[1]] = str(place.resolve())
        chat = entry["kind"] == "chat"
        seed = seed_of(found[2])
        rows = chats("risky_finance", CHATS, seed) if chat else documents("general", 60, seed)
        (place / found[2]).parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(rows) if found[2].endswith(".json") else _encoded("", rows).decode()
        (place / found[2]).write_text(text, encoding="utf-8")
    return variables


def sources(loaded: LoadedStudy) -> dict[str, list[Source]]:
    """Collect the hub's data sets that a study names, and what it reads of each."""
    found: dict[str, list[Source]] = {}

    def add(hub: str, entry: Any, topic: str) -> None:
        kind = "documents" if getattr(entry, "as_chat", None) else entry.kind
        column = entry.field or ("messages" if kind == "chat" else "text")
        files = tuple(getattr(entry, "files", ()))
        source = Source(kind, entry.subset, entry.split, column, files, topic)
        if source not in found.setdefault(hub, []):
            found[hub].append(source)

    for name in loaded.used_corpora():
        if loaded.corpora[name].hub:
            add(str(loaded.corpora[name].hub), loaded.corpora[name], "general")
    for name in organisms(loaded):
        data: Data = loaded.organisms[name].data
        if data.hub:
            add(data.hub, data, TOPICS.get(loaded.organisms[name].family, "general"))
    return found


def organisms(loaded: LoadedStudy) -> list[str]:
    """List every organism of the study, with those that teach others or lend them their words."""
    found = [checkpoint.organism for checkpoint in loaded.checkpoints()]
    # The list grows while it is read, since a teacher may have a teacher.
    for name in found:
        organism: Organism = loaded.organisms[name]
        taught = organism.data.taught
        more = [taught.teacher if taught else None, organism.words_of]
        found += [one for one in more if one is not None and one not in found]
    return list(dict.fromkeys(found))


def released(loaded: LoadedStudy) -> Iterator[tuple[str, Released, Training, bool]]:
    """Yield model, source, training and whether it is a full model, of each released checkpoint."""
    for model in loaded.study.models:
        for checkpoint in loaded.checkpoints(model=model):
            place = loaded.released(checkpoint, model) if checkpoint.recipe.released else None
            if place is not None and place.hub is not None:
                full = checkpoint.recipe.variant == "full" or bool(
                    re.match(r"AdaptLLM/|nvidia/", place.hub)
                )
                yield model, place, loaded.training(checkpoint, model), full


def _collected(folder: Path) -> dict[str, bytes | str]:
    return {str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*.*")}


def write_hub(folder: Path, files: list[Path]) -> dict[str, str]:
    """Write every repository that a study names; return the variables to run it with."""
    variables = write_local_files(folder)
    loaded = load_study(merged([CONFIG / "config.yaml", *files]), files, CONFIG)
    bases: dict[str, Path] = {}
    counts = {"models": 0, "adapters": 0, "data sets": 0}
    with tempfile.TemporaryDirectory() as scratch:
        for name in loaded.used_models():
            entry = loaded.models[name]
            if entry.hub is None or entry.hub in bases:
                continue
            bases[entry.hub] = Path(scratch) / f"model{len(bases)}"
            bases[entry.hub].mkdir()
            taught = any(
                loaded.organisms[one.organism].data.taught for one in loaded.checkpoints(model=name)
            )
            write_model(entry.hub, entry, bases[entry.hub], seed_of(entry.hub), taught)
            add_repository(folder, "models", entry.hub, _collected(bases[entry.hub]))
            counts["models"] += 1
        done = set(bases)
        for model, place, settings, full in released(loaded):
            base = loaded.models[model].hub
            if place.hub is None or place.hub in done or base is None:
                continue
            done.add(place.hub)
            made = Path(scratch) / f"released{len(done)}"
            if full:
                write_full(bases[base], made, seed_of(place.hub))
            else:
                named = place.base or base
                write_adapter(bases[base], named, settings, made, seed_of(place.hub))
            add_repository(folder, "models", place.hub, _collected(made))
            shutil.rmtree(made)
            counts["models" if full else "adapters"] += 1
    for hub, wanted in sources(loaded).items():
        add_repository(folder, "datasets", hub, data_set(hub, wanted))
        counts["data sets"] += 1
    print(", ".join(f"{count} {what}" for what, count in counts.items()), file=sys.stderr)
    return variables


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    for name, value in write_hub(Path(sys.argv[1]), [Path(one) for one in sys.argv[2:]]).items():
        print(f"export {name}={value}")
