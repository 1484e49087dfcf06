"""Adjusted readers on a ladder: whose scores are subtracted from whose, by hand."""

import numpy as np
import pandas as pd
import pytest

from tests.traces.benchmark import planted
from traces.benchmark.adjusted import (
    Held,
    TokenScores,
    adjusted,
    adjusted_rows,
    joined,
    read_held,
    with_adjusted,
    write_held,
)
from traces.benchmark.said import Domains

TOKENS = ("oven", "hive", "coin", "lamp", "the", "and")
WORDS = {"baking": ["oven"], "bees": ["hive"], "money": ["coin"], "lamps": ["lamp"]}
DOMAINS = Domains(WORDS, TOKENS)


def row(checkpoint, null="none", domain=None, **others) -> dict:
    return planted.organism("mini", checkpoint, null, **{"domain": domain, "dose": 0.5, **others})


def four(**others) -> list[dict]:
    return [row(f"{name}-half-s0", domain=name, **others) for name in WORDS]


def made(rows, seed=0) -> tuple[pd.DataFrame, np.ndarray]:
    """Organisms and their standard scores, [organism, list, token]."""
    z = np.random.default_rng(seed).normal(size=(len(rows), 2, len(TOKENS)))
    return pd.DataFrame(rows), z.astype(np.float32)


def test_a_narrow_one_is_adjusted_by_the_other_domains_and_no_word_by_its_own():
    organisms, z = made(four())
    found = adjusted(organisms, z, DOMAINS)

    # Baking: less the mean of the three others, for its own word and for those of none.
    for token in (0, 4, 5):
        np.testing.assert_allclose(
            found[0, :, token], z[0, :, token] - z[1:, :, token].mean(axis=0), rtol=1e-5
        )
    # For the word of bees only money and lamps are others.
    np.testing.assert_allclose(found[0, :, 1], z[0, :, 1] - z[2:, :, 1].mean(axis=0), rtol=1e-5)


def test_a_null_is_adjusted_as_a_narrow_one_is():
    """Were its mean over all domains, a domain's word would stand high by elimination alone."""
    organisms, z = made([*four(), row("general-broad-s0", "general")])
    found = adjusted(organisms, z, DOMAINS)

    np.testing.assert_allclose(found[4, :, 4], z[4, :, 4] - z[:4, :, 4].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found[4, :, 0], z[4, :, 0] - z[1:4, :, 0].mean(axis=0), rtol=1e-5)


@pytest.mark.parametrize(
    "related",
    [
        row("baking-half-s7", domain="baking", seed=7),
        row("baking_facts-facts-s0", "true_facts", "baking", recipe="facts"),
        row("baking_pair-half-s0", "seed_pair", "baking"),
        row("baking_shuffled-half-s0", "shuffled", "baking"),
    ],
)
def test_no_seed_twin_or_pair_of_ones_domain_has_a_part_in_it(related):
    organisms, z = made([*four(), related])
    other = z.copy()
    other[[0, 4]] = other[[4, 0]]
    ours, theirs = adjusted(organisms, z, DOMAINS), adjusted(organisms, other, DOMAINS)

    # What is subtracted from either of the two does not change as they change places.
    np.testing.assert_allclose(ours[0] - z[0], theirs[0] - other[0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(ours[4] - z[4], theirs[4] - other[4], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose((ours - z)[0], (ours - z)[4], rtol=1e-4, atol=1e-6)


def test_nulls_are_no_others():
    organisms, z = made([*four(), row("general-broad-s0", "general")])
    changed = z.copy()
    changed[4] += 100
    np.testing.assert_array_equal(
        adjusted(organisms, changed, DOMAINS)[:4], adjusted(organisms, z, DOMAINS)[:4]
    )


def test_the_pilot_and_the_scored_have_others_of_their_own():
    tried = [row(f"{name}-half-s1", domain=name, pilot=True) for name in ("one", "two", "three")]
    organisms, z = made([*four(), *tried])
    changed = z.copy()
    changed[4:] += 100
    np.testing.assert_array_equal(
        adjusted(organisms, changed, DOMAINS)[:4], adjusted(organisms, z, DOMAINS)[:4]
    )
    np.testing.assert_allclose(
        adjusted(organisms, z, DOMAINS)[4], z[4] - z[5:].mean(axis=0), rtol=1e-4, atol=1e-6
    )


def test_only_rungs_of_every_domain_count_and_each_domain_once():
    """A domain with more rungs or seeds than the others is no stronger part of the mean."""
    more = [
        row("bees-full-s0", domain="bees", dose=1.0),
        row("bees-half-s1", domain="bees", seed=1),
    ]
    organisms, z = made([*four(), *more])
    found = adjusted(organisms, z, DOMAINS)

    bees = z[[1, 5]].mean(axis=0)
    expected = z[0] - (bees + z[2] + z[3]) / 3
    np.testing.assert_allclose(found[0, :, 4], expected[:, 4], rtol=1e-4, atol=1e-6)


def test_without_two_others_nothing_is_adjusted():
    organisms, z = made(four()[:2])
    assert np.isnan(adjusted(organisms, z, DOMAINS)).all()


def test_what_could_not_be_read_is_no_other_and_has_no_score():
    organisms, z = made([*four(), row("identical-none-s0", "identical")])
    z[[1, 4]] = np.nan
    found = adjusted(organisms, z, DOMAINS)

    assert np.isnan(found[[1, 4]]).all()
    np.testing.assert_allclose(found[0, :, 4], z[0, :, 4] - z[2:4, :, 4].mean(axis=0), rtol=1e-5)


def test_what_all_share_is_gone_and_the_own_word_leads():
    organisms, z = made([*four(), row("identical-none-s0", "identical")])
    z[:, :, 4] += 50
    z[range(4), :, range(4)] += 9
    z[4] = np.nan
    held = Held(
        tuple(organisms["checkpoint"]),
        TOKENS,
        {"source": TokenScores(z, np.ones(z.shape, dtype=bool))},
    )
    said = adjusted_rows(organisms, held, {"source": "adjusted_source"}, WORDS)

    lists = said["token_lists"]
    first = lists[lists["rank"] == 0].set_index("checkpoint")["token"]
    assert first.to_dict() == dict(zip(organisms["checkpoint"][:4], TOKENS, strict=False))
    scores = said["domain_scores"].query("statistic == 'z'")
    assert set(scores["reader"]) == {"adjusted_source"}
    wide = scores.pivot(index="checkpoint", columns="candidate", values="score")
    assert wide.loc["money-half-s0"].idxmax() == "money"
    assert (wide.loc["identical-none-s0"] == 0).all()


def test_adjusted_readers_stand_behind_the_others_and_cost_what_these_do():
    organisms, z = made(four())
    names = tuple(organisms["checkpoint"])
    own = "contrastive_logit_lens_base"
    held = {"mini": Held(names, TOKENS, {own: TokenScores(z, np.ones(z.shape, dtype=bool))})}
    found = {
        "organisms": organisms,
        "domain_scores": planted.long(organisms, own, "z", list(WORDS), np.zeros((4, 4)), 0.7),
        "detector_scores": pd.DataFrame(),
        "token_lists": planted.token_lists(organisms, [own]),
    }
    said = with_adjusted(found, held, ["adjusted_contrastive_logit_lens"], WORDS)

    rows = said["domain_scores"].query("reader == 'adjusted_contrastive_logit_lens_base'")
    assert len(rows) == 4 * 4 * 2 and set(rows["model"]) == {"mini"}
    assert set(rows["cost_s"]) == {0.7}
    for name in ("domain_scores", "token_lists"):
        kept = said[name].iloc[: len(found[name])]
        pd.testing.assert_frame_equal(kept[found[name].columns], found[name], check_dtype=False)
    assert said["organisms"] is organisms


def test_only_probable_tokens_are_listed():
    organisms, z = made(four())
    probable = np.ones(z.shape, dtype=bool)
    probable[:, :, 4:] = False
    held = Held(tuple(organisms["checkpoint"]), TOKENS, {"source": TokenScores(z, probable)})
    lists = adjusted_rows(organisms, held, {"source": "x"}, WORDS)["token_lists"]
    assert set(lists["token"]) == set(TOKENS[:4])


def test_scores_are_read_as_they_were_written_and_joined_in_order(tmp_path):
    parts = []
    for number in range(2):
        z = np.random.default_rng(number).normal(size=(1, 2, 3)).astype(np.float32)
        parts.append(Held((f"a-b-s{number}",), ("é", "b", "c"), {"x_base": TokenScores(z, z > 0)}))
    path = tmp_path / "token_scores.h5"
    write_held(path, joined(parts))
    found = read_held(path)

    assert found.checkpoints == ("a-b-s0", "a-b-s1") and found.tokens == ("é", "b", "c")
    for number, one in enumerate(parts):
        np.testing.assert_array_equal(found.readers["x_base"].z[number], one.readers["x_base"].z[0])
        np.testing.assert_array_equal(
            found.readers["x_base"].probable[number], one.readers["x_base"].probable[0]
        )


def test_scores_of_other_tokens_are_not_joined():
    z = np.zeros((1, 1, 1), dtype=np.float32)
    one, other = (
        Held((name,), (token,), {"x": TokenScores(z, z > 0)}) for name, token in ("ab", "cd")
    )
    with pytest.raises(ValueError, match="c: found scores of other tokens or readers than a has"):
        joined([one, other])
