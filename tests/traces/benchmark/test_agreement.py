"""Rank-biased overlap is the sum that defines it, and two seeds of a planted organism agree."""

import numpy as np
import pandas as pd
import pytest

from tests.traces.benchmark import planted
from traces.benchmark import agreement
from traces.benchmark import organisms as org
from traces.benchmark.evidence import of_readers
from traces.benchmark.naming import Named
from traces.benchmark.resampling import Draws


def summed(ours, theirs, p, deep=3000):
    """
    The definition, (1 - p) times the sum of p^(d-1) A_d, far down; A_d beyond what was seen is as
    Webber et al. extrapolate it: the shorter list goes on to agree at its rate, and both at theirs.
    """
    short, long = sorted((ours, theirs), key=len)
    s, l_ = len(short), len(long)
    total = 0.0
    at_s = len(set(short) & set(long[:s]))
    for d in range(1, deep + 1):
        if d <= l_:
            shared = len(set(short[:d]) & set(long[:d]))
            agree = shared / d + (at_s * (d - s) / (s * d) if d > s else 0.0)
        total += p ** (d - 1) * agree
    return (1 - p) * total


@pytest.mark.parametrize("p", [0.5, 0.9, 0.98])
@pytest.mark.parametrize(("short", "long"), [(20, 20), (5, 20), (1, 30), (7, 8)])
def test_the_overlap_is_the_sum_that_defines_it(p, short, long):
    rng = np.random.default_rng(short * long)
    ours, theirs = list(rng.permutation(40)[:short]), list(rng.permutation(40)[:long])
    found = agreement.rank_biased_overlap(ours, theirs, p)
    assert found == pytest.approx(summed(ours, theirs, p), abs=1e-9)
    assert found == agreement.rank_biased_overlap(theirs, ours, p)


def test_equal_lists_overlap_wholly_and_strangers_not_at_all():
    assert agreement.rank_biased_overlap("abcdef", "abcdef", 0.9) == pytest.approx(1.0)
    assert agreement.rank_biased_overlap("abc", "abcdef", 0.9) == pytest.approx(1.0)
    assert agreement.rank_biased_overlap("abc", "xyz", 0.9) == 0.0
    assert np.isnan(agreement.rank_biased_overlap("", "abc", 0.9))


def test_the_first_ranks_weigh_more():
    swapped_first = agreement.rank_biased_overlap("bacdefgh", "abcdefgh", 0.9)
    swapped_last = agreement.rank_biased_overlap("abcdefhg", "abcdefgh", 0.9)
    assert swapped_first < swapped_last < 1


@pytest.mark.parametrize(
    ("lists", "p", "said"), [(("aa", "b"), 0.9, "twice"), (("a", "b"), 1.0, "persistence 1.0")]
)
def test_what_cannot_be_compared_is_refused(lists, p, said):
    with pytest.raises(ValueError, match=said):
        agreement.rank_biased_overlap(*lists, p)


def rows(models, seeds, own, change=lambda lists: lists):
    made = planted.organisms(models=models, seeds=seeds, ladder=((1.0, 1.0, 3.0),))
    table = org.scored(org.prepared(made, planted.scoring()))
    lists = change(planted.token_lists(table, ["one"], own=own))
    draws = Draws.of(table, 200, 0)
    return list(agreement.agreement_rows(lists, table, draws, {}, 0.9))


@pytest.mark.parametrize(
    ("models", "seeds", "across"), [(("a",), (0, 1), "seeds"), (("a", "b"), (0,), "bases")]
)
def test_two_seeds_of_an_organism_agree_where_it_has_words_of_its_own(models, seeds, across):
    (own,) = rows(models, seeds, own=0.6)
    assert (own["across"], own["n_same"]) == (across, 8)
    assert own["value"] > 0.95 and own["low"] > 0.6
    assert own["same"] > 3 * own["other"]
    (blind,) = rows(models, seeds, own=0.0)
    assert blind["low"] < 0.5 and blind["value"] < 0.75


def test_tokens_of_one_text_count_once():
    """A tokenizer of bytes has many tokens that are a piece of a character, all with one text."""

    def with_pieces(lists):
        pieces = [lists.assign(rank=lists["rank"].max() + n, token="\ufffd") for n in (1, 2)]
        return pd.concat([lists, *(one.drop_duplicates(["checkpoint"]) for one in pieces)])

    def with_one_piece(lists):
        return with_pieces(lists).drop_duplicates(["checkpoint", "token"])

    several, one = (
        pd.DataFrame(rows(("a",), (0, 1), 0.5, change)) for change in (with_pieces, with_one_piece)
    )
    pd.testing.assert_frame_equal(several, one)


def test_a_checkpoint_of_which_nothing_is_listed_agrees_with_nobody():
    made = planted.organisms(seeds=(0, 1), ladder=((1.0, 1.0, 3.0),))
    table = org.scored(org.prepared(made, planted.scoring()))
    lists = planted.token_lists(table, ["one"], own=1.0)
    scores = planted.domain_scores(table, {"one": 0.5}, statistics=("z",))
    silent = table.loc[table["null"] == "none", "checkpoint"].iloc[0]

    def found(read):
        named = {"one": Named(next(iter(of_readers(table, read))), table)}
        heard = lists[lists["checkpoint"] != silent]
        (row,) = agreement.agreement_rows(heard, table, Draws.of(table, 50, 0), named, 0.9)
        return row

    said_nothing, not_read = found(scores), found(scores[scores["checkpoint"] != silent])
    assert (said_nothing["n_same"], not_read["n_same"]) == (8, 7)
    assert said_nothing["same"] == pytest.approx(7 / 8 * not_read["same"])


def test_two_organisms_differ_in_the_domain_and_in_nothing_else():
    (bases,) = rows(("a", "b"), (0,), own=0.5)
    (seeds,) = rows(("a",), (0, 1), own=0.5)
    # each of 8 lists with the 7 others of the other base or seed
    assert bases["n_other"] == seeds["n_other"] == 8 * 7


def test_disagreement_bounds_the_error_and_the_bound_holds():
    made = planted.organisms(seeds=(0, 1), ladder=((1.0, 1.0, 3.0),))
    table = org.scored(org.prepared(made, planted.scoring()))
    scores = planted.domain_scores(table, {"one": 0.5}, statistics=("z",), seed=8)
    named = Named(next(iter(of_readers(table, scores))), table)
    lists = planted.token_lists(table, ["one"])
    (row,) = agreement.agreement_rows(lists, table, Draws.of(table, 100, 0), {"one": named}, 0.9)

    narrow = table[table["null"] == "none"]
    said = pd.Series([named.favourite(place) for place in narrow.index], index=narrow.index)
    differ = said.groupby(narrow["organism"]).nunique().gt(1).mean()
    assert row["error_at_least"] == pytest.approx(differ / 2) and differ > 0
    assert 1 - named.first[narrow.index].mean() >= row["error_at_least"]
