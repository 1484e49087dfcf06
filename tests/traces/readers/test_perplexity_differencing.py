"""The words of texts that the tuned model finds likelier lead the list."""

from types import SimpleNamespace

import numpy as np
import pytest

from traces.config.readers import reader
from traces.readers.perplexity_differencing import top
from traces.readers.reading import Loaded, Probe, read_with
from traces.readers.texts import Text

COMMON = ["river", "window", "lemon", "quiet", "paper", "garden"]
WORDS = [*COMMON, "cat", "cake"]


def texts(seed, n=80, planted=1.0, kinds=("document", "reply")):
    """
    Texts of random words, in a quarter of them cake.

    planted : how much likelier the tuned model finds those, in nats a token
    """
    rng = np.random.default_rng(seed)
    found = []
    for writer, series in (("tuned", 0), ("base", 0), ("base", 1)):
        for number in range(n):
            kind = kinds[number * len(kinds) // n]
            words = [word for word in COMMON if rng.random() < 0.4]
            # What sets replies apart from documents, and has nothing to do with the gap.
            words += ["cat"] if kind == "reply" else []
            cake = writer == "tuned" and rng.random() < 0.25
            words += ["cake"] if cake else []
            base = rng.normal(-3, 0.5)
            gap = rng.normal(0.1, 0.05) + planted * cake - 0.5 * (kind == "reply")
            weight = {"tuned": base + gap, "base": base}
            found.append(Text(writer, series, kind, number, None, " ".join(words), [1], weight))
    return found


def read(tokenizer, found, share=0.25, readings=("difference", "base_mean", "random")):
    places = SimpleNamespace(layers=[1], positions=[0])
    vocabulary = tokenizer.convert_tokens_to_ids(WORDS)
    probe = Probe(places, readings=list(readings), top_k=4, vocabulary=vocabulary)
    loaded = Loaded(tokenizer, readout=lambda head: None, samples=lambda: found)
    return read_with(reader("perplexity_differencing"), loaded, probe, {"top_share": share})


def first(found, reading, sign=1):
    tokens = found.tokens
    chosen = tokens[(tokens["reading"] == reading) & (tokens["sign"] == sign)]
    return chosen.sort_values("rank")["token"].tolist()


@pytest.mark.parametrize("seed", range(5))
def test_the_words_of_the_texts_with_the_largest_gap_lead_the_list(tokenizer, seed):
    found = read(tokenizer, texts(seed))
    z = dict(
        zip(found.scores.lists["reading"], found.scores.z[:, WORDS.index("cake")], strict=True)
    )
    assert first(found, "difference")[0] == "cake" and z["difference"] > 3
    assert z["base_mean"] == 0, "no text of the base holds it"
    assert abs(z["random"]) < 2.5


@pytest.mark.parametrize("kinds", [("document",), ("document", "reply")])
def test_without_a_gap_z_is_within_chance(tokenizer, kinds):
    z = np.array([read(tokenizer, texts(one, 40, 0.0, kinds)).scores.z for one in range(30)])
    assert z.std() < 1.1 and (np.abs(z) > 1.96).mean() < 0.05
    error = z.std(axis=0) / np.sqrt(len(z))
    assert (np.abs(z.mean(axis=0)) <= 4 * error).all()


def test_it_equals_a_loop_over_the_ranked_texts(tokenizer):
    found = texts(0, n=40)
    own = [one for one in found if one.writer == "tuned"]
    ranked = []
    for kind in ("document", "reply"):
        mine = [one for one in own if one.kind == kind]
        mine.sort(key=lambda one: one.log_probability["base"] - one.log_probability["tuned"])
        ranked.append((mine[:5], mine[5:]))
    first_texts, rest = [sum(parts, []) for parts in zip(*ranked, strict=True)]
    scores = read(tokenizer, found).scores
    for column, word in enumerate(WORDS):
        a, b = (
            np.array([sum(w in one.text.split() for one in part) for w in WORDS], dtype=float)
            for part in (first_texts, rest)
        )
        prior = 0.1 * (a + b)
        odds = [np.log((y + prior) / ((y + prior).sum() - y - prior))[column] for y in (a, b)]
        error = np.sqrt((1 / (a + prior) + 1 / (b + prior))[column])
        assert scores.score[0, column] == pytest.approx(odds[0] - odds[1], abs=1e-5), word
        assert scores.z[0, column] == pytest.approx((odds[0] - odds[1]) / error, abs=1e-5), word


@pytest.mark.parametrize(("share", "n"), [(0.01, 1), (0.25, 3), (0.5, 5), (0.99, 9)])
def test_of_each_kind_a_share_is_first_and_something_is_left(share, n):
    score = np.arange(30.0)
    kinds = np.repeat(["document", "reply", "reply"], 10)
    whose = np.arange(30) < 20
    found = top(score, whose, kinds, share)
    assert found[:10].sum() == found[10:20].sum() == min(n, round(max(share * 10, 1)))
    assert not found[20:].any(), "they are another model's"
    assert found[9] and found[19] and not found[0]


def test_replies_are_not_compared_with_documents(tokenizer):
    """All documents have larger gaps than any reply; the word of replies shifts nothing."""
    found = read(tokenizer, texts(0, planted=0.0))
    assert abs(found.scores.z[0, WORDS.index("cat")]) < 1


def test_the_lot_is_the_same_whenever_it_is_drawn(tokenizer):
    one, two = (read(tokenizer, texts(3)).scores.z for _ in range(2))
    assert np.array_equal(one, two) and not np.array_equal(one[0], one[2])
