"""The mean logit difference names a planted domain, and not where nothing of it was planted."""

from types import SimpleNamespace

import numpy as np
import pytest

from tests.traces.readers.conftest import DOMAIN
from traces.config.readers import reader
from traces.readers import logit_difference
from traces.readers.reading import Loaded, Probe, planned_lists, read_with

OWN = {"texts": 7, "positions": None, "floor": 0.0, "mined_positions": 6, "mined_top": 3}
FOUND = SimpleNamespace(layers=np.array([1, 3]), positions=np.array([0, 1, 2]))
READINGS = ["difference", "base_mean", "tuned_mean", "random"]


def read(tokenizer, windows, pair, readings=READINGS, vocabulary=None, **changed):
    probe = Probe(FOUND, readings, 5, vocabulary)
    asked = []

    def texts(most, longest):
        asked.append((most, longest))
        return windows[:most]

    loaded = Loaded(tokenizer, lambda head: None, pair, texts, asked=["logit_difference"])
    return logit_difference.read(loaded, probe, OWN | changed), loaded, asked


def first(found, reading="difference", sign=1):
    rows = found.tokens.query("reading == @reading and sign == @sign")
    return rows.sort_values("rank")["token_id"].tolist()


def test_a_planted_domain_is_named_and_a_planted_null_names_none(tokenizer, windows, planted):
    found, *_ = read(tokenizer, windows, planted(True)[0])
    assert set(first(found)[:4]) == set(DOMAIN)
    assert not set(first(found, sign=-1)) & set(DOMAIN)
    null, *_ = read(tokenizer, windows, planted(False)[0])
    assert len(set(first(null)) & set(DOMAIN)) <= 1
    for control in ("base_mean", "random"):
        assert len(set(first(found, control)[:4]) & set(DOMAIN)) <= 1


def test_scores_are_the_means_and_lists_are_ranked_by_them(tokenizer, windows, planted):
    allowed = [90, 4, 101, 55, 33, 57, 100, 3]
    found, loaded, _ = read(tokenizer, windows, planted(True)[0], vocabulary=allowed)
    means = loaded.shared["next_tokens"].means
    assert found.scores.lists["reading"].tolist() == READINGS
    assert np.isnan(found.scores.z).all()
    for reading, score in zip(READINGS, found.scores.score, strict=True):
        np.testing.assert_allclose(score, means.mean(reading)[allowed], rtol=1e-5, atol=1e-7)
        best = np.array(allowed)[np.argsort(-score)[:5]]
        assert first(found, reading) == best.tolist()
        worst = np.array(allowed)[np.argsort(score)[:5]]
        assert first(found, reading, -1) == worst.tolist()
    row = found.tokens.query("reading == 'difference' and sign == -1").iloc[0]
    assert row["probability"] == pytest.approx(means.mean("base_probability")[row["token_id"]])
    assert row["score"] == pytest.approx(-means.mean("difference")[row["token_id"]], rel=1e-5)


def test_tokens_below_the_floor_of_the_model_that_speaks_are_left_out(tokenizer, windows, planted):
    found, loaded, _ = read(tokenizer, windows, planted(True)[0], floor=0.008)
    means = loaded.shared["next_tokens"].means
    for sign, side in ((1, "tuned"), (-1, "base")):
        likely = np.flatnonzero(means.mean(f"{side}_probability") >= 0.008)
        score = sign * means.mean("difference")[likely]
        assert 5 < len(likely) < 120
        assert first(found, sign=sign) == likely[np.argsort(-score)[:5]].tolist()


@pytest.mark.parametrize(("positions", "longest"), [(None, 0), (2, 2)])
def test_the_mean_is_over_the_positions_that_are_read_or_the_first(
    positions, longest, tokenizer, windows, planted
):
    found, loaded, asked = read(tokenizer, windows, planted(True)[0], positions=positions)
    expected = [0, 1, 2] if positions is None else [0, 1]
    assert list(loaded.shared["next_tokens"].means.positions) == expected
    assert asked == [(7, longest)]
    assert found.statistics["position"].tolist() == expected
    assert set(found.statistics["statistic"]) == {"kl"} and (found.statistics["value"] > 0).all()


def test_halves_of_the_texts_are_balanced_and_named_by_the_seed(tokenizer, windows, planted):
    pair = planted(True)[0]
    _, loaded, _ = read(tokenizer, windows, pair)
    _, again, _ = read(tokenizer, windows, pair)
    signs = loaded.shared["next_tokens"].means.signs
    assert sorted(signs) == [-1, -1, -1, 1, 1, 1, 1]
    np.testing.assert_array_equal(signs, again.shared["next_tokens"].means.signs)


def test_its_lists_stand_beside_every_place_and_are_those_that_are_planned(
    tokenizer, windows, planted
):
    readings = [*READINGS, "robust"]
    probe = Probe(FOUND, readings, 5)
    loaded = Loaded(tokenizer, lambda head: None, planted(True)[0], lambda most, longest: windows)
    found = read_with(reader("logit_difference"), loaded, probe, OWN).tokens
    axes = ["reading", "layer", "position", "sign"]
    planned = planned_lists("logit_difference", FOUND, readings, OWN)
    assert len(planned) == 4 * 2 * 3 * 2
    assert set(map(tuple, planned[axes].values)) == set(map(tuple, found[axes].values))
