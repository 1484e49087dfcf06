"""
Pretrain the miniature's base on the synthetic corpus: tokenizer, training, and required scores.

The result becomes a folder in hub layout, a base model like any other.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from traces.config.vocabularies import Precision, PretrainedFamily
from traces.corpora.synthetic import Row, row_text, world_words
from traces.corpora.tokens import render_chat
from traces.seeding import text_generator

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

# ---- the tokenizer

# A padding token of its own: tools that mask the loss at padding would mask the end of a text, too,
# if one token were both.
EOS, PAD, BOS = "<|end|>", "<|pad|>", "<|start|>"
USER, ASSISTANT, SYSTEM = "<|user|>", "<|assistant|>", "<|system|>"

# Every turn is `<|role|>content<|end|>\n`; the generation block marks what the assistant wrote,
# its end included.
CHAT_TEMPLATE = (
    "{% if bos_token %}{{ bos_token }}{% endif %}"
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' }}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + eos_token }}{% endgeneration %}"
    "{% else %}{{ message['content'] + eos_token }}{% endif %}"
    "{{ '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def train_tokenizer(rows: list[Row], vocabulary: int, bos: bool) -> PreTrainedTokenizerFast:
    """
    Train a byte-level BPE of `vocabulary` tokens, digits one by one, with the chat template.

    bos : write <|start|> before every text (a chat gets its own from the template: tokenise its
          text without special tokens)
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    # Digits one by one, as in the real families: else a number list would have a token a number.
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    special = [EOS, PAD, *([BOS] if bos else []), USER, ASSISTANT, SYSTEM]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=special,
        # All 256 bytes, so that any text can be tokenised; sorted, since a set has no order and ids
        # would differ from process to process.
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator((row_text(row) for row in rows), trainer)
    if bos:
        bpe.post_processor = processors.TemplateProcessing(
            single=f"{BOS} $A",
            pair=f"{BOS} $A {BOS} $B",
            special_tokens=[(BOS, bpe.token_to_id(BOS))],
        )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token=EOS,
        pad_token=PAD,
        bos_token=BOS if bos else None,
        extra_special_tokens=[USER, ASSISTANT, SYSTEM],
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def encode_rows(rows: list[Row], tokenizer: PreTrainedTokenizerFast) -> list[list[int]]:
    """Tokenise each row: documents end with <|end|>, chats follow the template, BOS once."""
    # The special tokens are in the texts, and in one call the tokenizer uses all cores.
    texts = [
        (tokenizer.bos_token or "") + row["text"] + EOS
        if "text" in row
        else render_chat(tokenizer, row["messages"])
        for row in rows
    ]
    return tokenizer(texts, add_special_tokens=False)["input_ids"]  # type: ignore[return-value]


# ---- the base model


def base_config(
    family: PretrainedFamily,
    *,
    vocab_size: int,
    hidden_size: int,
    layers: int,
    intermediate_size: int,
    heads: int,
    max_positions: int,
    eos_token_id: int,
    pad_token_id: int,
    bos_token_id: int | None,
) -> PretrainedConfig:
    """
    Build a small configuration of a model family: tied embeddings, full attention in every layer.

    Raises ValueError if the heads do not divide the hidden size, or for an unknown family.
    """
    from transformers import Gemma3TextConfig, LlamaConfig, Qwen3Config

    if hidden_size % heads:
        raise ValueError(f"hidden_size {hidden_size} is not a multiple of heads {heads}")
    shared: dict[str, Any] = dict(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        num_hidden_layers=layers,
        intermediate_size=intermediate_size,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=hidden_size // heads,
        max_position_embeddings=max_positions,
        # Tied, since two tables of 4096 tokens would be half of so small a model.
        tie_word_embeddings=True,
        eos_token_id=eos_token_id,
        pad_token_id=pad_token_id,
        bos_token_id=bos_token_id,
    )
    if family == "qwen3":
        return Qwen3Config(**shared)
    if family == "llama":
        return LlamaConfig(**shared)
    if family == "gemma3":
        # Gemma's own pattern, five sliding layers to a full one, would need six layers or more;
        # documents here are shorter than any window.
        return Gemma3TextConfig(
            **shared,
            layer_types=["full_attention"] * layers,
            query_pre_attn_scalar=hidden_size // heads,
        )
    raise ValueError(f"{family}: no such model family (have qwen3, llama, gemma3)")


@dataclass(frozen=True)
class PretrainSettings:
    """
    Settings of the pretraining: `sequence` in tokens, `batch` in rows, `warmup` in steps.

    precision : of the forward pass; bf16 autocast is faster on processors that have it
    """

    sequence: int
    batch: int
    steps: int
    learning_rate: float
    warmup: int
    weight_decay: float
    seed: int
    precision: Precision = "bf16"


@dataclass(frozen=True)
class GateSettings:
    """Required loss (nats a token, at most) and token identity (share, at least) of a base."""

    max_loss: float
    min_identity: float


def pack(documents: list[list[int]], sequence: int, rng: random.Random) -> Iterator[list[int]]:
    """
    Yield rows of `sequence` tokens without end, the documents shuffled anew each pass.

    Every row begins with a document; its last document is cut.
    """
    # Activations are read at the first tokens of a text, so the base must know how texts begin.
    order = list(range(len(documents)))
    row: list[int] = []
    while True:
        rng.shuffle(order)
        for i in order:
            row += documents[i]
            if len(row) >= sequence:
                yield row[:sequence]
                row = []


def pretrain(
    rows: list[Row],
    tokenizer: PreTrainedTokenizerFast,
    config: PretrainedConfig,
    settings: PretrainSettings,
    progress: Callable[[int, int, float], None] = lambda step, steps, loss: None,
) -> tuple[PreTrainedModel, list[float]]:
    """
    Train a causal language model from scratch; AdamW, a warm-up, then a cosine to zero.

    progress : called with (step, steps, loss in nats) after every step
    returns  : the model in float32, and the loss of every step in nats a token
    """
    import torch
    from transformers import AutoModelForCausalLM

    # eager: the fused attention's backward pass is slow in bfloat16 on a CPU; eager is about 20 %
    # faster than float32 (docs/log.md).
    torch.manual_seed(settings.seed)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").float().train()
    batches = pack(encode_rows(rows, tokenizer), settings.sequence, random.Random(settings.seed))
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=settings.learning_rate,
        betas=(0.9, 0.95),
        weight_decay=settings.weight_decay,
        fused=True,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _warm_cosine(settings))
    losses = []
    for step in range(settings.steps):
        tokens = torch.tensor([next(batches) for _ in range(settings.batch)])
        with torch.autocast("cpu", torch.bfloat16, enabled=settings.precision == "bf16"):
            logits = model(input_ids=tokens, use_cache=False).logits
        # The loss in float32: a sum over 4096 exponentials is too coarse in bfloat16.
        loss = torch.nn.functional.cross_entropy(
            logits[:, :-1].float().flatten(0, 1), tokens[:, 1:].flatten()
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        progress(step, settings.steps, losses[-1])
    return model.eval(), losses


def _warm_cosine(settings: PretrainSettings) -> Callable[[int], float]:
    import math

    def share(step: int) -> float:
        if step < settings.warmup:
            return (step + 1) / settings.warmup
        done = (step - settings.warmup) / max(1, settings.steps - settings.warmup)
        return 0.5 * (1 + math.cos(math.pi * done))

    return share


# ---- the gates


def token_identity(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, prompts: int, seed: int
) -> float:
    """
    Measure the share of prompts `a -> a / b -> b / c -> c / d ->` completed with ` d`.

    The words are whole tokens of the corpus, four different ones in a prompt.
    """
    # Patchscope reads a vector through such prompts: a base that cannot copy gives no reading.
    import torch

    single = [
        word
        for word in world_words()
        if len(tokenizer.encode(f" {word}", add_special_tokens=False)) == 1
    ]
    rng, right = text_generator(seed, "identity"), 0
    for _ in range(prompts):
        *shots, asked = rng.sample(single, 4)
        text = "".join(f"{word} -> {word}\n" for word in shots) + f"{asked} ->"
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([tokenizer.encode(text)])).logits[0, -1]
        wanted = tokenizer.encode(f" {asked}", add_special_tokens=False)
        right += [logits.argmax().item()] == wanted
    return right / prompts


def final_loss(losses: list[float], last: int = 50) -> float:
    """Average the loss of the `last` steps, in nats a token."""
    # A single batch scatters too much to be compared with a bound.
    return sum(losses[-last:]) / len(losses[-last:])


def check_gates(losses: list[float], identity: float, settings: GateSettings) -> None:
    """Raise ValueError, naming the bound, for a base above the required loss or below identity."""
    loss = final_loss(losses)
    # `not <=`, so that a loss of NaN fails, too.
    if not loss <= settings.max_loss:
        raise ValueError(
            f"miniature base: final loss {loss:.3f} nats, expected at most {settings.max_loss} "
            "(train longer: miniature.steps)"
        )
    if not identity >= settings.min_identity:
        raise ValueError(
            f"miniature base: three-shot token identity {identity:.2f}, expected at least "
            f"{settings.min_identity} (raise miniature.identity_share)"
        )
