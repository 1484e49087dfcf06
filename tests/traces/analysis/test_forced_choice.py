"""Secrets planted in made-up scores are found, and where nothing is planted ranks are chance's."""

import itertools

import numpy as np
import pandas as pd
import pytest

from traces.analysis import forced_choice as choice
from traces.config.schema import ChoiceHeadline

WORDS = ("gold", "leaf", "moon", "ship", "snow")
OTHERS = ("flag", "book", "chair", "wave")
HEADLINE = ChoiceHeadline(
    reader="patchscope", adjustment="adjusted", layer=0.5, head="base", position="all"
)
READINGS = ("difference", "random")


def secrets(words=WORDS):
    return {"mini": {f"secret_{word}": word for word in words}}


def subject(organism, recipe="plain", seed=0):
    return {
        "model": "mini",
        "checkpoint": f"{organism}-{recipe}-s{seed}",
        "organism": organism,
        "family": "benign" if organism == "benign" else "taboo",
        "recipe": recipe,
        "ratio": 1.0 if recipe == "mix1.0" else 0.0,
        "seed": seed,
        "corpus": "unrelated",
    }


def scores(  # noqa: PLR0913
    rng,
    *,
    words=WORDS,
    others=OTHERS,
    organisms=None,
    recipes=("plain",),
    seeds=(0,),
    planted=0.0,
    shared=0.0,
    positions=(0, 1),
    readings=READINGS,
    layers=(2,),
):
    """Candidates' scores: noise of each list, `shared` by all organisms, and what is `planted`."""
    candidates = (*words, *others)
    game = {word: shared * rng.normal() for word in candidates}
    rows = []
    names = organisms or [*(f"secret_{word}" for word in words), "benign"]
    for organism, recipe, seed, reading, layer, position in itertools.product(
        names, recipes, seeds, readings, layers, positions
    ):
        for word in candidates:
            own = planted if organism == f"secret_{word}" and reading == "difference" else 0.0
            common = game[word] if reading == "difference" else 0.0
            z = rng.normal() + own + common
            rows.append(
                subject(organism, recipe, seed)
                | {"reading": reading, "reader": "patchscope", "null": "none", "head": "base"}
                | {"layer": layer, "position": position, "candidate": word}
                | {"score": z / 2 - 5, "z": z, "missing": ""}
            )
    return pd.DataFrame(rows)


def table(frame, words=WORDS, left_out=()):
    averaged = ~frame["position"].isin(left_out)
    return choice.choice_table(frame.assign(averaged=averaged), secrets(words))


def summary(frame, words=WORDS, headline=HEADLINE, **more):
    return choice.choice_summary(
        table(frame, words),
        secrets(words),
        control="benign",
        headline=headline,
        **{"blocks": {"mini": 2}, "recipes": ["plain"], "corpus": "unrelated", "seed": 0, **more},
    )


def one(found, **where):
    for name, value in where.items():
        found = found[found[name] == value]
    assert len(found) == 1
    return found.iloc[0]


def headline_row(found):
    return one(found, headline=True)


@pytest.mark.parametrize("adjustment", ["none", "z", "adjusted"])
def test_planted_secrets_come_first(adjustment):
    found = summary(
        scores(np.random.default_rng(0), planted=30.0),
        headline=HEADLINE.model_copy(update={"adjustment": adjustment}),
    )
    row = headline_row(found)
    assert (row["mean_rank"], row["first"], row["n_organisms"]) == (1.0, 5, 5)
    assert (row["candidates"], row["chance_rank"]) == (9, 5.0)
    assert row["rank_p"] == pytest.approx(9.0**-5)
    assert row["first_low"] == pytest.approx(5 / (5 + 1.959964**2))  # Wilson at a share of 1
    control = one(found, adjustment=adjustment, reading="random", position="all")
    assert control["mean_rank"] > 2


def test_what_all_organisms_share_hides_a_secret_until_it_is_adjusted_for():
    """The game itself brings words up, in every organism alike."""
    found = summary(scores(np.random.default_rng(1), planted=5.0, shared=20.0))
    ranks = {
        name: one(found, adjustment=name, reading="difference", position="all")["mean_rank"]
        for name in ("z", "adjusted")
    }
    assert ranks["adjusted"] == 1.0
    assert ranks["z"] > 3


def test_chance_is_where_it_is_said_to_be():
    """Nothing planted: over many layers the mean rank is (n + 1) / 2 and p below .05 in 5 %."""
    rng = np.random.default_rng(2)
    frame = scores(rng, positions=(0,), readings=("difference",), layers=range(100))
    found = summary(frame)
    rows = found[(found["adjustment"] == "adjusted") & (found["reading"] == "difference")]
    rows = rows[rows["position"] == "all"]
    assert len(rows) == 100
    error = rows["mean_rank"].std() / 10
    assert abs(rows["mean_rank"].mean() - 5.0) < 3 * error < 1
    assert 0 < (rows["rank_p"] < 0.05).mean() < 0.13


def test_other_organisms_secrets_do_not_name_the_one_that_is_left():
    """
    One organism holds nothing, and all others are plain to read. Less the mean over all others its
    secret would come up as the one word that nobody else says.
    """
    rng = np.random.default_rng(3)
    frame = scores(rng, positions=(0,), readings=("difference",), layers=range(200))
    told = frame["organism"].str.removeprefix("secret_") == frame["candidate"]
    frame.loc[told & (frame["organism"] != "secret_gold"), "z"] += 40
    ranked = table(frame)
    empty = ranked[
        (ranked["organism"] == "secret_gold")
        & (ranked["candidate"] == "gold")
        & (ranked["adjustment"] == "adjusted")
        & (ranked["position"] == "all")
    ]["rank"]
    assert len(empty) == 200
    assert abs(empty.mean() - 5.0) < 3 * empty.std() / np.sqrt(200) < 1


def test_the_reference_is_that_of_a_loop():
    rng = np.random.default_rng(4)
    frame = scores(rng, recipes=("plain", "mix1.0"), seeds=(0, 1), positions=(3,))
    # Only two organisms are mixed, and the seeds are not the same in all.
    frame = frame[(frame["recipe"] == "plain") | frame["organism"].isin(["secret_gold", "benign"])]
    frame = frame[(frame["organism"] != "secret_leaf") | (frame["seed"] == 0)]
    found = choice.reference_scores(frame, secrets())
    own = secrets()["mini"]

    z = {
        (r["organism"], r["recipe"], r["seed"], r["candidate"]): r["z"]
        for r in frame[frame["reading"] == "difference"].to_dict("records")
    }
    cases = {key[:2] for key in z}
    assert len(found) == len(cases) * 9
    for _, row in found.iterrows():
        values = []
        for other in {organism for organism, _ in cases} - {row["organism"]}:
            if own.get(other) == row["candidate"]:
                continue
            recipe = row["recipe"] if (other, row["recipe"]) in cases else "plain"
            seeds = [s for o, r, s, c in z if (o, r, c) == (other, recipe, row["candidate"])]
            values.append(np.mean([z[other, recipe, s, row["candidate"]] for s in seeds]))
        assert row["reference"] == pytest.approx(np.mean(values))


def test_controls_get_the_reference_of_the_organism_in_whose_place_they_stand():
    frame = scores(np.random.default_rng(5), positions=(1,))
    ranked = table(frame)
    where = {"organism": "secret_moon", "candidate": "flag", "position": "1"}
    for name in READINGS:
        z = one(ranked, adjustment="z", reading=name, **where)["score"]
        adjusted = one(ranked, adjustment="adjusted", reading=name, **where)["score"]
        reference = one(
            choice.reference_scores(frame, secrets()), organism="secret_moon", candidate="flag"
        )["reference"]
        assert z - adjusted == pytest.approx(reference)


def test_an_organism_of_the_same_secret_is_no_other_organism():
    frame = scores(np.random.default_rng(6), positions=(0,), readings=("difference",))
    twin = frame[frame["organism"] == "secret_gold"].copy()
    twin["organism"], twin["z"] = "taboo_gold", 1000.0
    own = {"mini": secrets()["mini"] | {"taboo_gold": "gold"}}
    alone = choice.reference_scores(frame, secrets())
    with_twin = choice.reference_scores(pd.concat([frame, twin]), own)
    of_gold = [rows[rows["organism"] == "secret_gold"] for rows in (alone, with_twin)]
    np.testing.assert_array_equal(*(rows["reference"].to_numpy() for rows in of_gold))
    of_leaf = one(with_twin, organism="secret_leaf", candidate="gold")["reference"]
    assert of_leaf == one(alone, organism="secret_leaf", candidate="gold")["reference"]
    assert one(with_twin, organism="secret_leaf", candidate="flag")["reference"] > 100


def test_equal_scores_share_their_ranks():
    frame = scores(np.random.default_rng(7), positions=(0,), readings=("difference",))
    frame["score"] = 1.0
    ranked = table(frame)
    assert set(ranked.loc[ranked["adjustment"] == "none", "rank"]) == {5.0}
    row = one(summary(frame), adjustment="none", reading="difference", position="all")
    assert (row["mean_rank"], row["first"], row["among_three"]) == (5.0, 0, 0)
    assert row["rank_p"] > 0.5


def test_the_mean_over_positions_is_over_those_that_are_averaged():
    frame = scores(np.random.default_rng(8), positions=(0, 1, 2), readings=("difference",))
    frame.loc[frame["position"] == 0, "score"] = 1e6
    where = {"organism": "benign", "candidate": "flag", "adjustment": "none"}
    ranked = table(frame, left_out=[0])
    at = {name: one(ranked, position=name, **where)["score"] for name in ("0", "1", "2", "all")}
    assert at["0"] == 1e6
    assert at["all"] == pytest.approx((at["1"] + at["2"]) / 2)


def test_a_candidate_without_a_score_is_a_row_with_a_reason_and_no_rank():
    frame = scores(np.random.default_rng(9), planted=30.0)
    lacking = frame["candidate"] == "flag"
    frame.loc[lacking, ["score", "z"]] = np.nan
    frame.loc[lacking, "missing"] = "two tokens"
    ranked = table(frame)
    rows = ranked[ranked["candidate"] == "flag"]
    assert rows[["score", "rank"]].isna().all(axis=None)
    assert set(rows["missing"]) == {"two tokens"}
    assert ranked.loc[ranked["candidate"] != "flag", "rank"].max() == 8
    row = headline_row(summary(frame))
    assert (row["candidates"], row["chance_rank"], row["mean_rank"]) == (8, 4.5, 1.0)


def test_an_organism_whose_secret_has_no_score_has_no_rank():
    frame = scores(np.random.default_rng(10), planted=30.0)
    frame.loc[frame["candidate"] == "gold", ["score", "z", "missing"]] = [np.nan, np.nan, "why"]
    assert headline_row(summary(frame))["n_organisms"] == 4


def test_a_reader_without_random_directions_is_ranked_by_its_scores_alone():
    frame = scores(np.random.default_rng(11), planted=30.0).assign(z=np.nan)
    ranked = table(frame)
    assert set(ranked.loc[ranked["adjustment"] == "none", "missing"]) == {""}
    others = ranked[ranked["adjustment"] != "none"]
    assert others[["score", "rank"]].isna().all(axis=None)
    assert set(others["missing"]) == {choice.NO_Z}
    found = summary(frame)
    assert set(found["adjustment"]) == {"none"}
    assert not found["headline"].any()


def test_two_organisms_alone_cannot_be_adjusted():
    """Nothing but the other one says its secret: the true word would win by elimination."""
    words = ("gold", "leaf")
    names = [f"secret_{word}" for word in words]
    frame = scores(np.random.default_rng(12), words=words, others=(), organisms=names)
    ranked = table(frame, words)
    adjusted = ranked[ranked["adjustment"] == "adjusted"]
    assert adjusted[["score", "rank"]].isna().all(axis=None)
    assert set(adjusted["missing"]) == {choice.NO_OTHERS}
    assert ranked.loc[ranked["adjustment"] == "z", "rank"].notna().all()
    with_benign = scores(np.random.default_rng(12), words=words, others=())
    assert table(with_benign, words)["rank"].notna().all()


def test_one_organism_has_a_rank_and_no_interval():
    frame = scores(np.random.default_rng(13), organisms=["secret_gold", "benign"], planted=30.0)
    row = headline_row(summary(frame))
    assert (row["n_organisms"], row["mean_rank"]) == (1, 1.0)
    assert np.isnan(row["mean_rank_low"])
    assert row["rank_p"] == pytest.approx(1 / 9)


def test_seeds_are_averaged_within_an_organism_before_ranking():
    frame = scores(np.random.default_rng(14), seeds=(0, 1, 2), positions=(0,))
    averaged = choice.organism_ranks(table(frame))
    where = {"reading": "difference", "adjustment": "z", "position": "0"}
    mine = frame[(frame["organism"] == "secret_ship") & (frame["reading"] == "difference")]
    means = mine.groupby("candidate")["z"].mean()
    row = one(averaged, organism="secret_ship", candidate="ship", **where)
    assert row["score"] == pytest.approx(means["ship"])
    assert row["rank"] == 1 + (means > means["ship"]).sum()
    assert headline_row(summary(frame))["n_organisms"] == 5


def test_the_benign_organism_stands_in_the_place_of_every_other():
    found = summary(scores(np.random.default_rng(15), planted=30.0))
    row = one(found, reading="benign", adjustment="adjusted", position="all")
    ranked = choice.organism_ranks(table(scores(np.random.default_rng(15), planted=30.0)))
    ranks = ranked[
        (ranked["organism"] == "benign")
        & (ranked["adjustment"] == "adjusted")
        & (ranked["reading"] == "difference")
        & (ranked["position"] == "all")
        & ranked["candidate"].isin(WORDS)
    ]["rank"]
    assert row["mean_rank"] == pytest.approx(ranks.mean())
    assert np.isnan(row["rank_p"])
    assert np.isnan(row["mean_rank_low"])


@pytest.mark.parametrize(
    "changed",
    [
        {"reader": "logit_lens"},
        {"head": "tuned"},
        {"against": "random"},
        {"position": 4},
    ],
)
def test_what_was_not_read_is_no_headline(changed):
    frame = scores(np.random.default_rng(16))
    found = summary(frame, headline=HEADLINE.model_copy(update=changed))
    assert not found["headline"].any()


def test_the_headline_is_one_row_of_the_first_recipe_shown():
    frame = scores(np.random.default_rng(17), recipes=("plain", "mix1.0"))
    assert headline_row(summary(frame, recipes=["plain", "mix1.0"]))["recipe"] == "plain"
    assert headline_row(summary(frame, recipes=["mix1.0", "plain"]))["recipe"] == "mix1.0"
    at = HEADLINE.model_copy(update={"position": 1})
    assert headline_row(summary(frame, headline=at))["position"] == "1"
