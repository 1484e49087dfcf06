"""Random models, adapters and a tokenizer: what is measured where no trained model can be had."""

from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent


def prompts() -> list[list[str]]:
    """The words of each identity prompt of the studies."""
    # Lazy, as torch is everywhere in these tools: what sets its threads comes first.
    from traces.corpora.rows import read_identity_prompts

    return read_identity_prompts(ROOT / "data/prompts/identity.txt")


def tokenizer() -> Any:
    """
    Train a byte-level tokenizer with a token for every word of the identity prompts.

    Digits are single tokens. A prompt then has as many tokens as with SmolLM2's own tokenizer.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    from traces.readers.patchscope import identity_prompt

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator([identity_prompt(words) for words in prompts()] * 2, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|endoftext|>")


def adapted(model: Any, rank: int) -> Any:
    """Put an adapter on all linear modules that changes what the model writes."""
    import torch
    from peft import LoraConfig, get_peft_model

    tuned = get_peft_model(model, LoraConfig(r=rank, lora_alpha=32, target_modules="all-linear"))
    # A fresh adapter has lora_B = 0: tuned and base would be equal, and nothing could disagree.
    for name, weight in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.02)
    return tuned


def texts(n: int, length: int, vocabulary: int, seed: int = 0) -> list[list[int]]:
    """Draw token ids, [text, token]."""
    return np.random.default_rng(seed).integers(0, vocabulary, (n, length)).tolist()


def vectors(n: int, d_model: int) -> np.ndarray:
    """Draw directions, [n, d_model]."""
    return np.random.default_rng(1).normal(size=(n, d_model)).astype(np.float32)
