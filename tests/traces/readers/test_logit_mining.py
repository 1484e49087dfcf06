"""Mining names a planted domain by how often its words are raised, in the pass of the mean."""

from types import SimpleNamespace

import numpy as np
import pytest

from tests.traces.readers.conftest import DOMAIN
from traces.readers import logit_difference, logit_mining
from traces.readers.reading import Loaded, Probe

OWN = {"texts": 7, "positions": None, "floor": 0.0, "mined_positions": 6, "mined_top": 5}
FOUND = SimpleNamespace(layers=np.array([3]), positions=np.array([0, 1, 2]))
READINGS = ["difference", "base_mean", "tuned_mean", "random"]


def loaded_with(tokenizer, windows, pair, passes):
    def texts(most, longest):
        passes.append((most, longest))
        return windows

    asked = ["logit_difference", "logit_mining"]
    return Loaded(tokenizer, lambda head: None, pair, texts, asked=asked)


def first(found, reading="difference", sign=1):
    rows = found.tokens.query("reading == @reading and sign == @sign")
    return rows.sort_values("rank")["token_id"].tolist()


def test_a_planted_domain_is_named_and_a_planted_null_names_none(tokenizer, windows, planted):
    for of_domain in (True, False):
        loaded = loaded_with(tokenizer, windows, planted(of_domain)[0], [])
        found = logit_mining.read(loaded, Probe(FOUND, READINGS, 5), OWN)
        hits = len(set(first(found)[:4]) & set(DOMAIN))
        assert (hits == 4) if of_domain else (hits <= 1)
        assert len(set(first(found, "random")[:4]) & set(DOMAIN)) <= 1


@pytest.mark.parametrize("vocabulary", [None, [90, 4, 101, 55, 47, 57, 100, 3]])
def test_lists_are_ranked_by_shares_and_never_name_what_never_occurs(
    vocabulary, tokenizer, windows, planted
):
    loaded = loaded_with(tokenizer, windows, planted(True)[0], [])
    found = logit_mining.read(loaded, Probe(FOUND, READINGS, 128, vocabulary), OWN)
    mined = loaded.shared["next_tokens"].occurrences
    ids = np.arange(128) if vocabulary is None else np.array(vocabulary)
    for reading, score in zip(READINGS, found.scores.score, strict=True):
        if reading == "random":
            plain = mined.share("difference", 1)
            np.testing.assert_allclose(np.sort(score), np.sort(plain), rtol=1e-6)
            assert (score != plain.astype(np.float32)).any()
            continue
        share = mined.share(reading, 1)
        np.testing.assert_allclose(score, share, rtol=1e-6)
        assert share.sum() == pytest.approx(5)
        order = np.argsort(-share, kind="stable")[: (share > 0).sum()]
        assert first(found, reading) == ids[order].tolist()
    assert (found.tokens["score"] > 0).all() and (found.tokens["probability"] > 0).all()


def test_one_pass_serves_it_and_the_mean(tokenizer, windows, planted):
    passes = []
    loaded = loaded_with(tokenizer, windows, planted(True)[0], passes)
    probe = Probe(FOUND, READINGS, 5)
    logit_difference.read(loaded, probe, OWN)
    found = logit_mining.read(loaded, probe, OWN)
    assert passes == [(7, 6)]
    assert loaded.shared["next_tokens"].means.positions == [0, 1, 2]
    assert found.statistics is None
