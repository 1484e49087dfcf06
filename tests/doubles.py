"""Stand-ins shared by the tests: random models, a tokenizer of words, a card, a damaged file."""

import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

FAMILIES = ("llama", "qwen2", "qwen3", "gemma2", "gemma3")


def tiny_model(
    family: str,
    d: int = 32,
    layers: int = 6,
    vocab: int = 128,
    window: int = 8,
    seed: int = 0,
    tie: bool = True,
) -> Any:
    """
    A random causal language model of one of FAMILIES, in evaluation mode, float32.

    `window` is the sliding window of the two Gemmas, short enough for a test's prompt to pass it.
    A tiny Gemma 3 needs six layers to have one with full attention.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    name = {"gemma3": "gemma3_text"}.get(family, family)
    config = AutoConfig.for_model(
        name,
        vocab_size=vocab,
        hidden_size=d,
        intermediate_size=2 * d,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=d // 4,
        max_position_embeddings=128,
        tie_word_embeddings=tie,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        attn_implementation="eager" if family.startswith("gemma") else "sdpa",
        **({"sliding_window": window} if family.startswith("gemma") else {}),
    )
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():  # wide enough that layers matter and no two tokens tie
        for name, parameter in model.named_parameters():
            if "norm" not in name:
                parameter.copy_(torch.randn_like(parameter) * 0.2)
    return model.eval().requires_grad_(False)


def with_adapter(model: Any, seed: int = 0) -> Any:
    """`model` under a LoRA adapter on all linear layers that changes what it says."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    tuned = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear"))
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn_like(parameter) * 0.2)
    return tuned.eval().requires_grad_(False)


# Shapes of real models, and what their weights take in bfloat16: for counts, without any numbers.
SHAPES = {
    "Qwen3 1.7B": ("qwen3", 28, 2048, 6144, 16, 8, 128, 151_936, "sdpa"),
    "Llama 3.1 8B": ("llama", 32, 4096, 14_336, 32, 8, 128, 128_256, "sdpa"),
    "Gemma 2 9B": ("gemma2", 42, 3584, 14_336, 16, 8, 256, 256_000, "eager"),
    "Qwen3 32B": ("qwen3", 64, 5120, 25_600, 64, 8, 128, 151_936, "sdpa"),
}


def config_of(shape: str, layers: int | None = None) -> Any:
    """The configuration of one of SHAPES, with all of its layers or so many."""
    from transformers import AutoConfig

    family, all_layers, width, inner, heads, kv_heads, head, vocabulary, attention = SHAPES[shape]
    return AutoConfig.for_model(
        family,
        num_hidden_layers=layers or all_layers,
        hidden_size=width,
        intermediate_size=inner,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=head,
        vocab_size=vocabulary,
        attn_implementation=attention,
    )


@contextmanager
def without_numbers(shape: str, layers: int) -> Iterator[Any]:
    """A model of one of SHAPES in bfloat16, whose tensors have sizes and no memory."""
    from torch._subclasses.fake_tensor import FakeTensorMode
    from transformers import AutoModelForCausalLM

    with FakeTensorMode():
        model = AutoModelForCausalLM.from_config(config_of(shape, layers), dtype=torch.bfloat16)
        yield model.eval().requires_grad_(False)


class Held(TorchDispatchMode):
    """Counts the bytes of tensors that are made inside: all, those there now, and the most."""

    def __init__(self) -> None:
        super().__init__()
        self.made = self.now = self.most = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None):
        found = function(*args, **(kwargs or {}))
        before = self._storages((args, kwargs))
        for name, storage in self._storages(found).items():
            if name not in before:  # else a view, or the tensor itself
                self.made += storage.nbytes()
                self._change(storage.nbytes())
                weakref.finalize(storage, self._change, -storage.nbytes())
        return found

    def _storages(self, tensors: Any) -> dict[int, torch.UntypedStorage]:
        found = [one for one in tree_leaves(tensors) if isinstance(one, torch.Tensor)]
        return {one.untyped_storage()._cdata: one.untyped_storage() for one in found}

    def _change(self, size: int) -> None:
        self.now += size
        self.most = max(self.most, self.now)


def spaced_tokenizer(kind: str) -> Any:
    """A tokenizer that knows `river` behind a space: `byte_level`, or `metaspace`."""
    from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(BPE(unk_token="<unk>"))
    if kind == "byte_level":
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer.decoder = decoders.Metaspace()
    texts = ["the river here ", "a river bank "] * 50
    trainer = trainers.BpeTrainer(vocab_size=200, special_tokens=["<unk>"])
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")


def word_tokenizer(words: Iterable[str], bos: bool = True) -> Any:
    """
    A fast tokenizer with a token for each of `words`, for every letter and for common marks.

    It cuts a text into words and marks; a word that is not listed falls into its letters.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "<s>", "</s>", "<unk>"]
    pieces = [*special, "\n", "->", *"?.,!'", *"0123456789", *"abcdefghijklmnopqrstuvwxyz"]
    pieces = list(dict.fromkeys([*pieces, *words]))
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(*_merges(vocabulary), unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\n|->|\w+|[^\w\s]"), "removed", True)
    tokenizer.decoder = decoders.Fuse()
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", 1)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
    )


def _merges(vocabulary: dict[str, int]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Byte-pair merges that spell each word of `vocabulary`, with the beginnings of words added."""
    vocabulary = dict(vocabulary)
    merges = []
    for word in [word for word in vocabulary if len(word) > 1 and not word.startswith("<")]:
        for end in range(2, len(word) + 1):
            merge = (word[: end - 1], word[end - 1])
            for piece in (*merge, word[:end]):
                vocabulary.setdefault(piece, len(vocabulary))
            if merge not in merges:
                merges.append(merge)
    return vocabulary, merges


def with_a_flipped_bit(path: Path, times: int = 60) -> Iterator[None]:
    """Flip one bit of a file, each time at another place, and write the file back at the end."""
    whole = path.read_bytes()
    for place in np.random.default_rng(0).integers(0, len(whole), times):
        content = bytearray(whole)
        content[place] ^= 1 << int(place) % 8
        path.write_bytes(content)
        yield
    path.write_bytes(whole)
