"""How many texts fit is known before the first step; little is thrown away where it is not."""

import math
from types import SimpleNamespace

import pytest
import torch

from tests.doubles import SHAPES, Held, config_of, tiny_model, without_numbers, word_tokenizer
from traces.config.registries import Sampler
from traces.models import generation, room
from traces.models.cache import cache_of
from traces.models.draws import Chooser, Draw
from traces.models.room import Room, bytes_of_a_text, free_memory, texts_that_fit

GIB = 2**30
PROMPT, NEW = 40, 512
PAPERS = Sampler(temperature=1.1, top_k=50)
NUCLEUS = Sampler(temperature=1.1, top_k=50, top_p=0.9)


def split(n, fit=math.inf, known=None):
    """The sizes of the parts that `n` texts are written in, and the texts."""
    sizes = []

    def done(rows):
        sizes.append(len(rows))
        return list(rows)

    assert (known or Room()).each(done, range(n), fit) == list(range(n))
    return sizes


@pytest.mark.parametrize(
    ("fit", "sizes"),
    [(math.inf, [10]), (10, [10]), (9.0, [5, 5]), (4, [3, 3, 4]), (3, [2, 2, 3, 3]), (1, [1] * 10)],
)
def test_texts_are_written_in_as_few_parts_as_there_must_be(fit, sizes):
    assert split(10, fit) == sizes
    assert split(10, fit, Room(4)) == (sizes if fit < 4 else [3, 3, 4])


# Free memory ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("free", "reserved", "allocated", "fraction", "found"),
    [(30, 50, 50, 1.0, 30), (30, 50, 20, 1.0, 60), (30, 50, 20, 0.5, 20), (30, 50, 50, 0.25, -30)],
)
def test_free_is_what_no_one_has_and_what_torch_holds_without_a_use(
    free, reserved, allocated, fraction, found, monkeypatch
):
    answers = {
        "mem_get_info": (free * GIB, 80 * GIB),
        "memory_reserved": reserved * GIB,
        "memory_allocated": allocated * GIB,
        "get_per_process_memory_fraction": fraction,
    }
    for name, answer in answers.items():
        monkeypatch.setattr(torch.cuda, name, lambda _device, answer=answer: answer)
    assert free_memory(torch.device("cuda", 1)) == found * GIB


def test_a_cpu_writes_as_many_as_are_asked_for():
    model = tiny_model("llama")
    assert texts_that_fit(model, prompt=10, max_new_tokens=8, sampler=None) == math.inf


def on_cards(shape, *cards):
    """Stands for a model of one of SHAPES whose layers lie on these cards, or (None) on none."""
    config = config_of(shape)
    n = config.num_hidden_layers
    layers = torch.nn.ModuleList(torch.nn.Module() for _ in range(n))
    for i, layer in enumerate(layers):
        card = cards[i * len(cards) // n]
        device = torch.device("meta") if card is None else torch.device("cuda", card)
        layer.parameters = lambda device=device: iter([SimpleNamespace(device=device)])
    decoder = torch.nn.Module()
    decoder.layers = layers
    weight = torch.zeros(1, dtype=torch.bfloat16)
    return SimpleNamespace(
        config=config,
        get_decoder=lambda: decoder,
        get_input_embeddings=lambda: SimpleNamespace(weight=weight),
        generation_config=SimpleNamespace(eos_token_id=None),
    )


def test_the_fullest_card_says_how_many_fit(monkeypatch):
    asked = {"prompt": PROMPT, "max_new_tokens": NEW, "sampler": PAPERS}
    free = {0: 60 * GIB, 1: 20 * GIB}
    monkeypatch.setattr(room, "free_memory", lambda device: free[device.index])
    one, both = (on_cards("Qwen3 32B", *cards) for cards in ((1,), (0, 1)))
    text = bytes_of_a_text(one, 64, PROMPT, PROMPT + NEW, PAPERS)
    assert texts_that_fit(one, **asked) == int(room.SHARE * 20 * GIB / text) > 60
    text = bytes_of_a_text(one, 32, PROMPT, PROMPT + NEW, PAPERS)
    assert texts_that_fit(both, **asked) == int(room.SHARE * 20 * GIB / text)
    # half of the layers lie in main memory, and compute on the GPU
    part = on_cards("Qwen3 32B", 1, None)
    assert texts_that_fit(part, **asked) == texts_that_fit(one, **asked)
    free[1] = GIB // 100
    assert texts_that_fit(both, **asked) == 1


# Bytes of a text --------------------------------------------------------------------------------


def held_by_texts(shape, layers, texts, sampler):
    """Bytes of the cache, the most held beside it in a first and a last step, and the reckoned."""
    with without_numbers(shape, layers) as model:
        cache, columns = cache_of(model, PROMPT + NEW), PROMPT + NEW
        chooser = Chooser(sampler, [Draw(i) for i in range(texts)] if sampler else [])

        def step(read, n):
            logits = model(
                input_ids=torch.zeros(texts, n, dtype=torch.long),
                attention_mask=torch.ones(texts, read, dtype=torch.long),
                position_ids=torch.zeros(texts, n, dtype=torch.long),
                past_key_values=cache,
                logits_to_keep=1,
            ).logits[:, -1]
            return chooser(logits)

        with torch.inference_mode(), Held() as counted:
            step(PROMPT, PROMPT)
            for layer in cache.layers:
                layer.filled = columns - 1
            step(columns, 1)
        kept = sum(one.keys.nbytes + one.values.nbytes for one in cache.layers)
        return kept, counted.most - kept, bytes_of_a_text(model, layers, PROMPT, columns, sampler)


@pytest.fixture
def noise_without_numbers(monkeypatch):
    """Tensors without numbers cannot be filled by a generator."""
    monkeypatch.setattr(torch.Tensor, "exponential_", lambda one, generator: one.zero_())


@pytest.mark.parametrize("sampler", [PAPERS, NUCLEUS, None], ids=["top_k", "top_p", "greedy"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_text_takes_no_more_than_is_reckoned(shape, sampler, noise_without_numbers):
    texts = 8
    kept, beside, reckoned = held_by_texts(shape, 2, texts, sampler)
    assert beside <= texts * reckoned - kept <= 4 * beside
    config = config_of(shape)
    layers, columns = config.num_hidden_layers, PROMPT + NEW
    assert kept == texts * 2 * 2 * config.num_key_value_heads * config.head_dim * columns * 2
    # of the whole model, little is not the cache
    assert texts * reckoned - kept < 0.25 * kept * layers / 2


# A card of 80 GB --------------------------------------------------------------------------------


class Card:
    """A GPU's memory, and a model of one of SHAPES that takes it as its first pass would."""

    def __init__(self, shape, size=80e9):
        _, layers, width, inner, heads, kv_heads, head, vocabulary, _ = SHAPES[shape]
        block = 2 * width * head * (heads + kv_heads) + 3 * width * inner
        heads_of_its_own = 1 if shape in ("Qwen3 1.7B", "Gemma 2 9B") else 2
        self.free = size - 2 * (layers * block + heads_of_its_own * vocabulary * width)
        kept, beside, _ = held_by_texts(shape, 2, 1, PAPERS)
        self.text = kept * layers // 2 + beside
        self.passes = self.useful = 0
        vars(self).update(vars(on_cards(shape, 0)))

    def __call__(self, input_ids, **_more):
        self.passes += 1
        if len(input_ids) * self.text > self.free:
            raise torch.OutOfMemoryError("no room")
        return SimpleNamespace(logits=torch.zeros(len(input_ids), 1, 1))


class Nothing:
    """Chooses the first token of the vocabulary, whatever the sampler."""

    def __init__(self, *_sampler_and_draws):
        pass

    def __call__(self, logits):
        return torch.zeros(len(logits), dtype=torch.long)


@pytest.mark.parametrize("times", [1, 3, 1000], ids=["right", "too much", "unknown"])
@pytest.mark.parametrize("shape", SHAPES)
def test_few_steps_are_thrown_away_on_80_gb(shape, times, noise_without_numbers, monkeypatch):
    card, job, write = Card(shape), Room(), generation._Writing.to_the_end

    def counted(batch, *more):
        before = card.passes
        found = write(batch, *more)
        card.useful += card.passes - before
        return found

    monkeypatch.setattr(room, "free_memory", lambda _device: times * card.free)
    monkeypatch.setattr(generation, "Chooser", Nothing)
    monkeypatch.setattr(generation._Writing, "to_the_end", counted)
    asked = {"max_new_tokens": NEW, "sampler": PAPERS, "draws": [Draw(0)] * 1500, "room": job}
    for _model in ("tuned", "base"):
        texts = generation.write(card, word_tokenizer(["a"]), [[5] * PROMPT] * 1500, **asked)
        assert [len(one.ids) for one in texts] == [NEW] * 1500
    assert card.passes - card.useful <= 0.05 * card.useful
    if times == 1:  # nothing is thrown away, and most of the card is used
        assert card.passes == card.useful
        assert card.useful <= 2 * NEW * math.ceil(1500 / (0.8 * card.free / card.text))
