"""Contrastive readers say what null directions do not, and nothing of what they are."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from tests.doubles import tiny_model
from traces.models.weights import readout_of
from traces.readers import contrastive, logit_lens
from traces.readers.nulls import compared
from traces.readers.reading import Found, Loaded, Probe, joined

SETTINGS = {"heads": ["tuned"], "nulls": ["random", "activations"], "directions": 5, "floor": 0}
TOKENIZER = SimpleNamespace(decode=lambda ids: f"t{ids[0]}")


def source(seed=0, lists=3, tokens=12, k=5, shift=0.0):
    """Log-probabilities of some lists and of null directions, in two layers of one model."""
    rng = np.random.default_rng(seed)
    parts = []
    for layer in (1, 4):
        rows = pd.DataFrame({"reading": "difference", "layer": layer, "position": range(lists)})
        score = rng.normal(-2, 1, size=(lists, tokens)).astype(np.float32)
        nulls = {
            name: rng.normal(-2 + move, 1, size=(k, tokens)).astype(np.float32)
            for name, move in (("random", 0), ("activations", shift))
        }
        made = compared(rows.assign(head="tuned"), score, nulls, layer=layer, head="tuned")
        parts.append((Found(pd.DataFrame(), *made), nulls))
    return joined([one for one, _ in parts]), [nulls for _, nulls in parts]


def read(found, top_k=20, vocabulary=None, **changed):
    probe = Probe(None, ["difference"], top_k, vocabulary)
    loaded = Loaded(TOKENIZER, lambda head: None, source=found)
    return contrastive.read(loaded, probe, SETTINGS | changed)


@pytest.mark.parametrize("floor", [0, 0.15])
def test_a_contrastive_reader_equals_a_straightforward_computation(floor):
    plain, nulls = source()
    found = read(plain, floor=floor)
    assert len(found.scores.lists) == 2 * 3 * 2 and not found.scores.lists.duplicated().any()
    for row, score, z in zip(
        found.scores.lists.itertuples(), found.scores.score, found.scores.z, strict=True
    ):
        at = plain.scores.lists.query(f"layer == {row.layer} and position == {row.position}")
        under = plain.scores.score[at.index[0]]
        null = nulls[[1, 4].index(row.layer)][row.null]
        expected = [under[t] - sum(one[t] for one in null) / len(null) for t in range(len(under))]
        np.testing.assert_allclose(score, expected, atol=1e-5)
        np.testing.assert_allclose(z, expected / np.std(null, axis=0, ddof=1), atol=1e-4)
        ranked = [t for t in range(len(under)) if np.exp(under[t]) >= floor]
        ranked.sort(key=lambda t: -expected[t])
        keys = ["layer", "position", "null"]
        mine = found.tokens.set_index(keys).loc[(row.layer, row.position, row.null)]
        assert mine["token_id"].tolist() == ranked and mine["rank"].tolist() == [*range(len(mine))]
        np.testing.assert_allclose(mine["score"], [expected[t] for t in ranked], atol=1e-5)
        np.testing.assert_allclose(mine["probability"], np.exp(under[ranked]), rtol=1e-5)
    assert (len(found.tokens) < 12 * 12) == (floor > 0)


def test_a_list_in_which_nothing_is_probable_is_empty():
    found = read(source()[0], floor=0.999)
    assert found.tokens.empty and len(found.scores.lists) == 12
    assert {"reading", "rank", "token", "null", "score"} <= set(found.tokens)


def test_ids_are_those_that_may_be_ranked_and_no_more_than_top_k():
    vocabulary = np.arange(12) * 10 + 7
    found = read(source()[0], top_k=4, vocabulary=vocabulary)
    assert set(found.tokens["token_id"]) <= set(vocabulary) and found.tokens["rank"].max() == 3
    assert (found.tokens["token"] == "t" + found.tokens["token_id"].astype(str)).all()


def test_a_null_read_against_itself_is_nothing_in_expectation():
    """Held-out random directions have scores around 0; others, of a shifted null, do not."""
    means = {"random": [], "activations": []}
    for seed in range(60):
        found = read(source(seed, shift=0.8)[0]).scores
        for name, values in means.items():
            values.append(found.score[found.lists["null"] == name].mean())
    low, high = stats.t.interval(0.999, 59, np.mean(means["random"]), stats.sem(means["random"]))
    assert low < 0 < high and high - low < 0.2
    assert np.mean(means["activations"]) == pytest.approx(-0.8, abs=0.1)


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_a_direction_planted_at_a_tokens_unembedding_leads_the_list(family, tokenizer):
    """Though under every direction, by a bias of the readout, another token is more probable."""
    readout = readout_of(tiny_model(family))
    rng = np.random.default_rng(0)
    planted = [5, 77]
    weight = readout.head.weight.detach()
    mean = (3 * weight[planted]).numpy()[None]
    found = SimpleNamespace(layers=np.array([2]), positions=np.array([0, 1]), mean=mean)

    class Biased(torch.nn.Module):
        """Says token 9 whatever it is given."""

        def __init__(self):
            super().__init__()
            self.weight = readout.head.weight

        def precise(self, hidden):
            logits = readout(hidden)
            logits[:, 9] += 1000
            return logits / 20

    nulls = {"random": rng.normal(size=(1, 16, 32)).astype(np.float32)}
    probe = Probe(found, ["difference"], 20, None, nulls)
    loaded = Loaded(tokenizer, lambda head: Biased())
    plain = logit_lens.read(loaded, probe, {"heads": ["tuned"]})
    first = plain.tokens.query("rank == 0 and sign == 1")
    assert first["token_id"].tolist() == [9, 9]
    loaded = Loaded(tokenizer, lambda head: None, source=plain)
    settings = {"heads": ["tuned"], "nulls": ["random"], "directions": 16, "floor": 0}
    first = contrastive.read(loaded, probe, settings).tokens.query("rank == 0")
    assert first["token_id"].tolist() == planted
