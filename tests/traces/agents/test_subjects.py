"""Both models in this process: what is asked of which, and one pair at a time."""

import asyncio

import numpy as np
import pytest

from tests.doubles import tiny_model, with_adapter
from tests.traces.judges.chat.asked import ledger_of
from traces.agents.subjects import Asked, Loaded, Shelf
from traces.config.registries import Sampler
from traces.corpora.tokens import tokenize_prompt
from traces.judges.chat.asking import Asking, Patience
from traces.judges.chat.cache import Cache
from traces.judges.chat.ledger import Ledger
from traces.judges.chat.questions import Settings
from traces.models import weights
from traces.models.draws import Draw
from traces.models.generation import text_of, write

PROMPT = "the quiet river"
SAMPLER = Sampler(temperature=1.0)


@pytest.fixture(scope="module")
def pair(tokenizer):
    return weights.Pair(with_adapter(tiny_model("llama", vocab=len(tokenizer))))


@pytest.fixture
def asks(pair, tokenizer, tmp_path):
    """Ask in a job of its own; what was said, and how often a pair was loaded."""
    loads = []

    def asks(prompts=(PROMPT,), strength=None):
        def load():
            loads.append(1)
            return pair, tokenizer

        vector = np.random.default_rng(0).normal(size=32).astype(np.float32)
        loaded = Loaded(load, SAMPLER, {0: 9 * vector}, 3, Shelf(), "one")
        models = loaded.endpoints("tiny@1")
        ledger = Ledger(ledger_of(tmp_path), cap=0.0, about={"stage": "s", "checkpoint": "c"})
        patience = Patience(tries=1, attempts=1, timeout=60, at_once=4)
        cache = Cache(tmp_path / "answers")
        with Asking(models, dict.fromkeys(models), cache, ledger, patience) as asking:
            names = [f"in_process/tiny@1/{side}" for side in Loaded.SIDES]
            subject = Asked(asking, *names[:2], Settings(6, 1.0), 0, names[2], (0,))
            if strength is not None:
                return asyncio.run(subject.steer(prompts[0], 0, strength)), loads
            return [asyncio.run(subject.ask(one)) for one in prompts], loads

    return asks


def test_before_is_the_base_and_after_is_tuned(asks, pair, tokenizer, tmp_path):
    ((before, after),), loads = asks()
    ids = [tokenize_prompt(tokenizer, PROMPT)]

    def said(model):
        # As the layer seeds the first ask of a question.
        from traces.seeding import named_seed

        seed = named_seed(0, "ask", 0, 0) % 2**31
        draws = [Draw.named(seed, PROMPT)]
        (written,) = write(model, tokenizer, ids, max_new_tokens=6, sampler=SAMPLER, draws=draws)
        return text_of(tokenizer, written)

    with pair.base() as base:
        assert before == said(base)
    with pair.tuned() as tuned:
        assert after == said(tuned)
    assert before != after and len(loads) == 1
    # What was said is kept: nothing is loaded for it, and it has no price.
    assert asks()[0] == [(before, after)] and len(loads) == 1
    paid = [one for one in ledger_of(tmp_path).read_text().splitlines() if '"sent"' in one]
    assert len(paid) == 2


def test_steering_adds_the_difference_to_the_tuned_model(asks):
    ((_, after),), _ = asks()
    assert asks(strength=0.0)[0] == after
    assert asks(strength=1.0)[0] not in (after, asks(strength=0.5)[0])


def test_one_pair_is_loaded_at_a_time():
    shelf, loads = Shelf(), []

    def load(name):
        return lambda: (loads.append(name), name)

    assert [shelf.pair(name, load(name))[1] for name in "aabba"] == list("aabba")
    assert loads == ["a", "b", "a"]
