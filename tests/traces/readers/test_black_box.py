"""A planted shift of vocabulary leads the list, and the base against itself has none."""

from types import SimpleNamespace

import numpy as np
import pytest

from traces.config.readers import reader
from traces.readers.reading import Loaded, Probe, planned_lists, read_with
from traces.readers.texts import Text

COMMON = ["river", "window", "lemon", "quiet", "paper"]
WORDS = [*COMMON, "garden", "cake"]
N = 60


def text(rng, writer, series, number, more, less):
    shares = {**dict.fromkeys(COMMON, 0.4), "garden": less, "cake": more}
    words = [word for word, share in shares.items() if rng.random() < share]
    kind = "document" if number < N // 2 else "reply"
    number, prompt = number % (N // 2), None if number < N // 2 else f"prompt {number % 4}"
    weight = {"tuned": -1.0, "base": -1.0}
    return Text(writer, series, kind, number, prompt, " ".join(words), [1], weight)


def texts(seed, more=0.6, less=0.05):
    """The base says cake in one text of twenty, and garden in most; the tuned model as it is."""
    rng = np.random.default_rng(seed)
    return [
        *(text(rng, "tuned", 0, n, more, less) for n in range(N)),
        *(text(rng, "base", series, n, 0.05, 0.6) for series in (0, 1) for n in range(N)),
    ]


def read(tokenizer, found, readings=("difference", "base_mean", "tuned_mean", "random"), top_k=7):
    places = SimpleNamespace(layers=[1, 2], positions=[0, 1, 2])
    vocabulary = tokenizer.convert_tokens_to_ids(WORDS)
    probe = Probe(places, readings=readings, top_k=top_k, vocabulary=vocabulary)
    loaded = Loaded(tokenizer, readout=lambda head: None, samples=lambda: found)
    return read_with(reader("black_box"), loaded, probe, {})


def first(tokens, reading, sign):
    chosen = tokens[(tokens["reading"] == reading) & (tokens["sign"] == sign)]
    chosen = chosen[(chosen["layer"] == 2) & (chosen["position"] == 1)]
    return chosen.sort_values("rank")["token"].tolist()


def z_of(found, reading, word):
    row = found.scores.lists["reading"].tolist().index(reading)
    return found.scores.z[row, WORDS.index(word)]


@pytest.mark.parametrize("seed", range(5))
def test_a_planted_shift_leads_the_list_and_what_is_avoided_the_turned_one(tokenizer, seed):
    found = read(tokenizer, texts(seed))
    assert first(found.tokens, "difference", 1)[0] == "cake"
    assert first(found.tokens, "difference", -1)[0] == "garden"
    assert z_of(found, "difference", "cake") > 4 > 2.5 > abs(z_of(found, "base_mean", "cake"))


def test_the_controls_have_z_within_chance_though_the_models_differ():
    """Its own texts against its own, over many draws; the difference is far beyond them."""
    from tests.doubles import word_tokenizer

    tokenizer = word_tokenizer(WORDS)
    z = {"difference": [], "base_mean": [], "random": []}
    for seed in range(25):
        found = read(tokenizer, texts(seed))
        for row, name in enumerate(found.scores.lists["reading"]):
            z[name].append(found.scores.z[row])
    for name in ("base_mean", "random"):
        values = np.array(z[name])
        error = values.std(axis=0) / np.sqrt(len(values))
        assert (np.abs(values.mean(axis=0)) < 4 * error).all(), name
        assert 0.3 < values.std() < 1.1 and (np.abs(values) > 1.96).mean() < 0.05, name
    assert np.mean(z["difference"], axis=0)[WORDS.index("cake")] > 4


def test_equal_models_have_no_words(tokenizer):
    z = [read(tokenizer, texts(seed, more=0.05, less=0.6)).scores.z[0] for seed in range(20)]
    assert np.std(z) < 1.1 and (np.abs(z) > 1.96).mean() < 0.05


def test_both_sides_of_the_control_by_lot_hold_as_many_of_each_model_and_prompt(tokenizer):
    """A word that only one model says, and words that stand for its prompts, shift nothing."""
    words = dict(enumerate(COMMON[:4]))
    found = [
        Text(writer, 0, "reply", n, str(n % 4), f"{words[n % 4]} {own}", [1])
        for writer, own in (("tuned", "cake"), ("base", "garden"))
        for n in range(16)
    ]
    assert not read(tokenizer, found, readings=["random"]).scores.z.any()


def test_the_mean_of_the_tuned_model_is_neither_read_nor_planned(tokenizer):
    readings = ["difference", "tuned_mean", "base_mean", "random", "shared"]
    found = read(tokenizer, texts(0), readings)
    assert found.scores.lists["reading"].tolist() == ["difference", "base_mean", "random"]
    places = SimpleNamespace(layers=[1, 2], positions=[0, 1, 2])
    planned = planned_lists("black_box", places, readings, {})
    keys = ["reading", "layer", "position", "sign"]
    assert len(planned) == 3 * 2 * 3 * 2 == len(planned.drop_duplicates())
    assert set(found.tokens[keys].itertuples(index=False)) <= set(
        planned[keys].itertuples(index=False)
    )


def test_all_tokens_may_be_ranked(tokenizer):
    places = SimpleNamespace(layers=[1], positions=[0])
    weight = SimpleNamespace(shape=(len(tokenizer) + 8, 4))
    readout = SimpleNamespace(head=SimpleNamespace(weight=weight))
    probe = Probe(places, readings=["difference"], top_k=3)
    loaded = Loaded(tokenizer, readout=lambda head: readout, samples=lambda: texts(0))
    found = read_with(reader("black_box"), loaded, probe, {})
    assert found.scores.z.shape == (1, len(tokenizer) + 8)
    assert first(found.tokens.replace({"layer": 1, "position": 0}, {"layer": 2, "position": 1}),
                 "difference", 1)[0] == "cake"  # fmt: skip
