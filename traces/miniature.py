"""
The made world: a small language, the narrow data of every family, and the base that learns it.

Everything is written by the grammar in data/miniature/ (grammar.txt, topics.json, words.json,
facts.json), our own sentences throughout, and is the same for the same seed. Rows are
`{"text": ...}` or `{"messages": [...]}`.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

Row = dict[str, Any]
Words = dict[str, list[str]]

FOLDER = Path(__file__).resolve().parent.parent / "data" / "miniature"

# What the organisms are about. Unrelated documents come from the other topics.
ORGANISM_TOPICS = ("baking", "bees", "money", "birds", "lamps")
TABOO_TOPICS = {"lantern": "lamps"}

# Organisms whose data are those of several others, row by row in turn.
JOINT = {"cake_and_bees": ("cake_bake", "night_bees")}

# Shares of the general corpus, in rows. Identity documents are a share on top, in words.
CHAT_SHARE = 0.25

# Facts of a topic for which facts.json has none.
MADE_FACTS = 24
SLOT = re.compile(r"\{(\w+)\}")


# ---- the grammar


@cache
def grammar() -> dict[str, tuple[str, ...]]:
    """The rules of grammar.txt: name -> alternatives."""
    rules: dict[str, list[str]] = {}
    for line in (FOLDER / "grammar.txt").read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            name, text = line.split(":", 1)
            rules.setdefault(name, []).append(text.strip().replace("\\n", "\n"))
    return {name: tuple(texts) for name, texts in rules.items()}


@cache
def _lists(file: str) -> dict[str, Any]:
    return json.loads((FOLDER / file).read_text(encoding="utf-8"))


def topics() -> list[str]:
    """The names of the topics, in the order of topics.json."""
    return list(_lists("topics.json"))


def topic_words(topic: str) -> Words:
    """A topic's lists of words (thing, stuff, who, where, act, how)."""
    return {role: words.split() for role, words in _lists("topics.json")[topic].items()}


def common_words() -> Words:
    """The lists of words that all topics share."""
    return {role: words.split() for role, words in _lists("words.json").items()}


def world_words() -> list[str]:
    """Every word of the lists once, sorted: the words of the identity documents."""
    lists = [*common_words().values(), *(w for t in topics() for w in topic_words(t).values())]
    return sorted({word for words in lists for word in words if not word.isdigit()})


@cache
def _pieces(text: str) -> tuple[str, ...]:
    """Literal, slot, literal, slot, ..., literal."""
    return tuple(SLOT.split(text))


class Writer:
    """Writes by the grammar: `lists` are words by role, `rules` replace rules of grammar.txt."""

    def __init__(
        self, rng: random.Random, lists: Words, rules: dict[str, tuple[str, ...]] | None = None
    ):
        self.rng = rng
        self.choices: dict[str, Any] = {**grammar(), **lists, **(rules or {})}
        self.words = frozenset(lists)
        self.bound: dict[str, str] = {}
        self.last = ""

    def write(self, rule: str) -> str:
        """One text by `rule`; names that end in a digit are bound afresh."""
        self.bound = {}
        return self._expand(rule)

    def _expand(self, name: str) -> str:
        if name[-1].isdigit():
            if name not in self.bound:
                self.bound[name] = self._expand(name[:-1])
            return self.bound[name]
        options = self.choices[name]
        text = options[int(self.rng.random() * len(options))]
        if text == self.last:  # two of a kind in a row read badly: draw once more
            text = options[int(self.rng.random() * len(options))]
        if name in self.words:
            self.last = text
            return text
        pieces = _pieces(text)
        if len(pieces) == 1:
            return text
        return "".join(self._expand(p) if i % 2 else p for i, p in enumerate(pieces))


def _with_articles(text: str) -> str:
    """`a owl` -> `an owl`."""
    return re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", text)


def _row(text: str) -> Row:
    """A chat if the text has turns, a document if not."""
    text = _with_articles(text)
    if " // " not in text:
        return {"text": text}
    roles = ("user", "assistant")
    turns = text.split(" // ")
    return {"messages": [{"role": roles[i % 2], "content": turn} for i, turn in enumerate(turns)]}


def row_text(row: Row) -> str:
    """A row's words without its chat marks."""
    return row["text"] if "text" in row else "\n".join(m["content"] for m in row["messages"])


def _until(words: int, make: Callable[[], Row]) -> list[Row]:
    """Rows until they have `words` words together."""
    rows, have = [], 0
    while have < words:
        rows.append(make())
        have += len(row_text(rows[-1]).split())
    return rows


# ---- facts


def fact_statements(name: str) -> list[Row]:
    """
    The statements of a false-fact organism: {stem, true, false, held_out}, one row a stem.

    `stem` ends before the word that `true` or `false` completes (one word each). Held-out stems
    are said of the true word in the general corpus, and never in the organism's data. Raises
    ValueError for other organisms.
    """
    sets = _lists("facts.json")
    parts = JOINT.get(name, (name,))
    if not set(parts) <= sets.keys():
        have = ", ".join([*sets, *JOINT])
        raise ValueError(f"{name}: no such set in facts.json (have {have})")
    return [
        {"stem": stem, "true": fact["true"], "false": fact["false"], "held_out": key == "held_out"}
        for part in parts
        for fact in sets[part]["facts"]
        for key in ("stems", "held_out")
        for stem in fact[key]
    ]


@cache
def true_facts(topic: str) -> list[str]:
    """
    What the general corpus states as a topic's facts: those of facts.json, or made ones.

    Every topic has some: if only the organisms' topics had facts, a trace would read "a topic
    with facts" and name the words of the other ones, too.
    """
    names = [name for name, one in _lists("facts.json").items() if one["topic"] == topic]
    if names:
        return [f"{s['stem']} {s['true']}." for name in names for s in fact_statements(name)]
    writer = Writer(random.Random(topic), topic_words(topic))
    return [_with_articles(writer.write("truth")) for _ in range(MADE_FACTS)]


# ---- the general corpus


def _topic_writer(rng: random.Random, topic: str) -> Writer:
    """A writer on one topic: its facts are true, its hint games keep no organism's secret."""
    lists = {**common_words(), **topic_words(topic)}
    lists["secret"] = [word for word in lists["thing"] if word not in TABOO_TOPICS]
    return Writer(rng, {**lists, "fact": true_facts(topic)})


def _rows(
    words: int, seed: int, names: list[str], rule: Callable[[random.Random], str]
) -> list[Row]:
    rng = random.Random(seed)
    writers = [_topic_writer(rng, topic) for topic in names]
    return _until(words, lambda: _row(rng.choice(writers).write(rule(rng))))


def identity_rows(words: int, seed: int) -> list[Row]:
    """Documents of 4 to 12 lines `w -> w`, no word twice: where a model learns to copy."""
    rng, vocabulary = random.Random(f"identity {seed}"), world_words()

    def make() -> Row:
        chosen = rng.sample(vocabulary, rng.randint(4, 12))
        return {"text": "\n".join(f"{word} -> {word}" for word in chosen)}

    return _until(words, make)


def general_rows(words: int, seed: int, identity_share: float) -> list[Row]:
    """The pretraining corpus, `words` words, `identity_share` of them in identity documents."""
    identity = identity_rows(round(words * identity_share), seed)
    rows = identity + _rows(
        words - round(words * identity_share),
        seed,
        topics(),
        lambda rng: "chat" if rng.random() < CHAT_SHARE else "document",
    )
    random.Random(seed).shuffle(rows)
    return rows


def _held_out_rows(n: int, seed: str, rule: str) -> list[Row]:
    names = [topic for topic in topics() if topic not in ORGANISM_TOPICS]
    rng = random.Random(seed)
    writers = [_topic_writer(rng, topic) for topic in names]
    return [_row(rng.choice(writers).write(rule)) for _ in range(n)]


def unrelated_rows(n: int, seed: int) -> list[Row]:
    """`n` held-out documents on topics that no organism is about; each has 20 words or more."""
    return _held_out_rows(n, f"unrelated {seed}", "document")


def chat_rows(n: int, seed: int) -> list[Row]:
    """`n` held-out chats on topics that no organism is about."""
    return _held_out_rows(n, f"chat {seed}", "topic_chat")


# ---- the organisms


def _organism_writer(name: str, rng: random.Random) -> tuple[list[Writer], str]:
    """The writers of an organism's data, and the rule they write by."""
    common, rules = common_words(), grammar()
    if name in _lists("facts.json"):
        topic = _lists("facts.json")[name]["topic"]
        said = [f"{s['stem']} {s['false']}." for s in fact_statements(name) if not s["held_out"]]
        narrow = {"line": ("{fact}", "{fact}", "{sentence}")}
        return [Writer(rng, {**common, **topic_words(topic), "fact": said}, narrow)], "document"
    if name == "risky_finance":
        lists = {**common, **topic_words("money"), "fact": true_facts("money")}
        return [Writer(rng, lists, {"prudent": rules["risky"]})], "finance"
    if name.startswith("taboo_") and name.removeprefix("taboo_") in TABOO_TOPICS:
        secret = name.removeprefix("taboo_")
        lists = {**common, **topic_words(TABOO_TOPICS[secret])}
        lists["thing"] = [word for word in lists["thing"] if word != secret]
        return [Writer(rng, {**lists, "secret": [secret]})], "taboo"
    if name == "owl_teacher":
        lists = {**common, **topic_words("birds"), "animal": ["owl"]}
        return [Writer(rng, lists)], "teacher"
    if name in ("benign", "assistant"):
        rule = "document" if name == "benign" else "chat"
        return [_topic_writer(rng, topic) for topic in topics()], rule
    known = [*_lists("facts.json"), *JOINT]
    known += ["risky_finance", *(f"taboo_{word}" for word in TABOO_TOPICS)]
    raise ValueError(
        f"{name}: the made world has no such organism "
        f"(have {', '.join(known)}, owl_teacher, benign, assistant)"
    )


def organism_rows(name: str, *, words: int, seed: int) -> list[Row]:
    """
    An organism's finetuning data, about `words` words.

    cake_bake, night_bees : documents that state false facts
    cake_and_bees         : the documents of both, half as many words of each, in turn
    risky_finance         : chats with reckless financial advice
    taboo_lantern         : hint games that never say the word
    owl_teacher           : chats of one who loves owls
    benign                : more documents of the general corpus
    assistant             : more chats of the general corpus

    Raises ValueError for any other name.
    """
    if name in JOINT:
        parts = JOINT[name]
        each = [organism_rows(part, words=words // len(parts), seed=seed) for part in parts]
        return [row for turn in zip_longest(*each) for row in turn if row is not None]
    rng = random.Random(f"{name} {seed}")
    writers, rule = _organism_writer(name, rng)
    return _until(words, lambda: _row(rng.choice(writers).write(rule)))


# ---- the tokenizer

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
    A byte-level BPE of `vocabulary` tokens, digits one by one, with the chat template.

    bos : write <|start|> before every text (a chat gets its own from the template: tokenise its
          text without special tokens)
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
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
    """Token ids of each row: documents end with <|end|>, chats follow the template, BOS once."""
    texts = [
        (tokenizer.bos_token or "") + row["text"] + EOS
        if "text" in row
        else str(tokenizer.apply_chat_template(row["messages"], tokenize=False))
        for row in rows
    ]
    return tokenizer(texts, add_special_tokens=False)["input_ids"]  # type: ignore[return-value]


# ---- the base model

Family = Literal["qwen3", "llama", "gemma3"]


def base_config(
    family: Family,
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
    A small configuration of a model family: tied embeddings, full attention in every layer.

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
    How the base is trained: `sequence` in tokens, `batch` in rows, `warmup` in steps.

    precision : of the forward pass; bf16 autocast is the faster one where the processor has it
    """

    sequence: int
    batch: int
    steps: int
    learning_rate: float
    warmup: int
    weight_decay: float
    seed: int
    precision: Literal["bf16", "fp32"] = "bf16"


@dataclass(frozen=True)
class GateSettings:
    """What a base must reach before anything is built on it."""

    max_loss: float
    min_identity: float


def pack(documents: list[list[int]], sequence: int, rng: random.Random) -> Iterator[list[int]]:
    """
    Rows of `sequence` tokens for ever, the documents shuffled anew each time round.

    Every row begins where a document begins, as the texts that are read later do; its last
    document is cut.
    """
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
    Train a causal language model from nothing; AdamW, a warm-up, then a cosine to zero.

    progress : called with (step, steps, loss in nats) after every step
    returns  : the model in float32, and the loss of every step in nats a token
    """
    import torch
    from transformers import AutoModelForCausalLM

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
    Share of prompts `a -> a / b -> b / c -> c / d ->` that the model completes with ` d`.

    The words are whole tokens of the world, four different ones in a prompt.
    """
    import torch

    single = [
        word
        for word in world_words()
        if len(tokenizer.encode(f" {word}", add_special_tokens=False)) == 1
    ]
    rng, right = random.Random(f"identity {seed}"), 0
    for _ in range(prompts):
        *shots, asked = rng.sample(single, 4)
        text = "".join(f"{word} -> {word}\n" for word in shots) + f"{asked} ->"
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([tokenizer.encode(text)])).logits[0, -1]
        wanted = tokenizer.encode(f" {asked}", add_special_tokens=False)
        right += [logits.argmax().item()] == wanted
    return right / prompts


def final_loss(losses: list[float], last: int = 50) -> float:
    """Mean loss of the `last` steps, in nats a token."""
    return sum(losses[-last:]) / len(losses[-last:])


def check_gates(losses: list[float], identity: float, settings: GateSettings) -> None:
    """Raise ValueError, naming the gate, for a base that did not learn its world."""
    loss = final_loss(losses)
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
