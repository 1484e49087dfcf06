"""What readers say of domains, on lists whose shares and standard scores are known by hand."""

import numpy as np
import pandas as pd
import pytest

from traces.artifacts.scores import Scores
from traces.benchmark.said import (
    KEPT,
    TOP,
    Domains,
    Said,
    first_list,
    said_by,
    score_rows,
    standard_scores,
    top_share,
)
from traces.readers.reading import Found

VOCABULARY = ["moon", " Moon", " sun", " cake", " flour", " the"]
DOMAINS = Domains({"sky": ["Moon", "sun"], "kitchen": ["cake", "flour"]}, VOCABULARY)


PLACES = range(5)
"The positions that count."


def found(score, heads=("tuned", "base"), reading="difference", layers=(2,), null=None) -> Found:
    """A reader's lists at position 0; each ranks all tokens by `score`, [head, layer, token]."""
    score = np.asarray(score, dtype=np.float32).reshape(len(heads) * len(layers), -1)
    keys = [(head, layer) for head in heads for layer in layers]
    lists = pd.DataFrame(keys, columns=["head", "layer"]).assign(reading=reading, position=0)
    lists = lists if null is None else lists.assign(null=null)
    rows = [
        {**key, "sign": 1, "rank": rank, "token": VOCABULARY[token]}
        for key, own in zip(lists.to_dict("records"), score, strict=True)
        for rank, token in enumerate(np.argsort(-own, kind="stable"))
    ]
    return Found(pd.DataFrame(rows), Scores(lists, score, np.full_like(score, np.nan)))


def listing(tokens: pd.DataFrame, lists: int) -> Said:
    return Said("logit_lens", tokens, np.empty((lists, 6), np.float32), lists)


def test_words_are_found_in_all_their_spellings():
    assert DOMAINS.places["sky"].tolist() == [0, 1, 2]
    assert DOMAINS.places["kitchen"].tolist() == [3, 4]


def test_a_domain_whose_words_are_no_tokens_is_refused():
    with pytest.raises(ValueError, match="sea: none of its words is a token"):
        Domains({"sea": ["harbour"]}, VOCABULARY)


def test_a_share_is_of_twenty_tokens_however_many_are_listed_and_a_mean_over_positions():
    tokens = pd.DataFrame(
        {
            "position": [0] * 3 + [1] * 25,
            "rank": [*range(3), *range(25)],
            # Of the second list ten count, and five behind the first twenty do not.
            "token": [" cake", " moon", " flour", *[" the"] * 10, *[" Moon"] * 15],
        }
    )
    said = top_share(listing(tokens, 2), DOMAINS)

    assert said == pytest.approx({"sky": (1 + 10) / (2 * TOP), "kitchen": 2 / (2 * TOP)})


def test_a_position_whose_list_holds_no_token_is_in_the_mean():
    one = found([[6, 5, 4, 3, 2, 1]], heads=("tuned",))
    empty = one.scores.lists.assign(position=1)
    both = Scores(
        pd.concat([one.scores.lists, empty], ignore_index=True),
        *(np.repeat(getattr(one.scores, name), 2, axis=0) for name in ("score", "z")),
    )
    alone, half = (
        next(said_by("logit_lens", Found(one.tokens, scores), {"heads": ("tuned",)}, 2, PLACES))
        for scores in (one.scores, both)
    )
    assert (alone.lists, half.lists) == (1, 2)
    assert top_share(half, DOMAINS)["sky"] == top_share(alone, DOMAINS)["sky"] / 2 > 0


def test_a_reader_without_positions_counts_at_each_that_is_read():
    one = found([[6, 5, 4, 3, 2, 1]], heads=("tuned",))
    beside = pd.concat([one.tokens.assign(position=place) for place in range(5)])
    scores = Scores(one.scores.lists.drop(columns="position"), one.scores.score, one.scores.z)
    said = next(said_by("weight_change", Found(beside, scores), {"heads": ("tuned",)}, 2, PLACES))
    assert said.lists == 5 and top_share(said, DOMAINS)["sky"] == 3 / TOP


def test_an_empty_list_says_nothing():
    tokens = pd.DataFrame({"position": [], "rank": [], "token": []})
    assert top_share(listing(tokens, 0), DOMAINS) == {"sky": 0.0, "kitchen": 0.0}
    assert standard_scores(np.empty((0, 6), np.float32), DOMAINS) == {"sky": 0.0, "kitchen": 0.0}


def test_standard_scores_are_in_deviations_over_the_vocabulary_and_a_mean_over_lists():
    # Mean 1, standard deviation 1.
    first, second = [2.0, 2.0, 2.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 2.0, 2.0, 2.0]

    assert standard_scores(np.array([first]), DOMAINS) == {"sky": 1.0, "kitchen": -1.0}
    assert standard_scores(np.array([first, second]), DOMAINS) == {"sky": 0.0, "kitchen": 0.0}


def test_a_score_that_is_no_number_counts_as_the_least_and_a_flat_list_as_nothing():
    held = standard_scores(np.array([[2.0, 2.0, 2.0, -np.inf, 0.0, np.nan]]), DOMAINS)
    assert held == {"sky": 1.0, "kitchen": -1.0}
    for value in (3.0, -np.inf, 0.0):
        assert standard_scores(np.full((2, 6), value), DOMAINS) == {"sky": 0.0, "kitchen": 0.0}


def test_a_position_of_attention_sinks_is_in_no_mean():
    sky, kitchen = [6, 5, 4, 3, 2, 1], [1, 2, 3, 4, 5, 6]
    sink, other = (found([one], heads=("tuned",)) for one in (sky, kitchen))
    tokens = pd.concat([sink.tokens, other.tokens.assign(position=1)], ignore_index=True)
    lists = pd.concat([sink.scores.lists, other.scores.lists.assign(position=1)], ignore_index=True)
    both = Scores(lists, *(np.array([sky, kitchen], np.float32) for _ in range(2)))

    settings = {"heads": ("tuned",)}
    (said,) = said_by("logit_lens", Found(tokens, both), settings, 2, [1])
    assert said.scores.tolist() == [kitchen] and said.lists == 1
    assert first_list(said)["token"].iloc[0] == " the"
    (every,) = said_by("logit_lens", Found(tokens, both), settings, 2, [0, 1])
    assert every.lists == 2 and first_list(every)["token"].iloc[0] == "moon"


@pytest.mark.parametrize(
    ("name", "counts"),
    [("black_box", "z"), ("perplexity_differencing", "z"), ("logit_mining", "score")],
)
def test_a_domain_is_scored_by_what_the_reader_ranks_by(name, counts):
    lists = pd.DataFrame({"reading": ["difference"]})
    values = {"score": [[6, 5, 4, 3, 2, 1]], "z": [[1, 2, 3, 4, 5, 6]]}
    scores = Scores(lists, *(np.array(values[one], np.float32) for one in ("score", "z")))
    tokens = pd.DataFrame(
        {"reading": "difference", "sign": 1, "position": [0], "layer": 2, "rank": 0, "token": "x"}
    )
    (said,) = said_by(name, Found(tokens, scores), {}, 2, PLACES)
    assert said.scores.tolist() == values[counts]


def test_every_head_is_a_reader_of_its_own_at_the_one_layer():
    sky, kitchen = [6, 5, 4, 3, 2, 1], [1, 2, 3, 4, 5, 6]
    both = found([[sky, kitchen], [kitchen, sky]], layers=(2, 4))

    told = list(said_by("logit_lens", both, {"heads": ("tuned", "base")}, 4, PLACES))

    assert [one.reader for one in told] == ["logit_lens_tuned", "logit_lens_base"]
    assert told[0].scores.tolist() == [kitchen] and told[1].scores.tolist() == [sky]
    assert told[0].tokens["token"].iloc[0] == " the" and told[1].tokens["token"].iloc[0] == "moon"


def test_controls_and_turned_readings_are_left_out():
    others = found([[1, 2, 3, 4, 5, 6]], heads=("tuned",), reading="random")
    told = list(said_by("logit_lens", others, {"heads": ("tuned",)}, 2, PLACES))
    assert told[0].scores.shape == (0, 6) and told[0].tokens.empty


def test_of_several_nulls_the_random_ones_are_subtracted():
    lists = [
        found([[place, 0, 0, 0, 0, 1]], heads=("tuned",), null=null)
        for place, null in ((5, "random"), (9, "activations"))
    ]
    both = Found(
        pd.concat([one.tokens for one in lists], ignore_index=True),
        Scores(
            pd.concat([one.scores.lists for one in lists], ignore_index=True),
            *(
                np.concatenate([getattr(one.scores, name) for one in lists])
                for name in ("score", "z")
            ),
        ),
    )
    told = list(said_by("contrastive_logit_lens", both, {"heads": ("tuned",)}, 2, PLACES))
    assert told[0].scores.tolist() == [[5, 0, 0, 0, 0, 1]]


def test_a_reader_without_scores_is_refused():
    with pytest.raises(ValueError, match="logit_lens: found no scores of all tokens"):
        list(said_by("logit_lens", Found(pd.DataFrame()), {"heads": ("tuned",)}, 2, PLACES))


def test_rows_hold_both_scores_of_every_candidate_and_lists_their_first_tokens():
    said = next(
        said_by(
            "logit_lens", found([[6, 5, 4, 3, 2, 1]], ("base",)), {"heads": ("base",)}, 2, PLACES
        )
    )

    rows = list(score_rows(said, DOMAINS))
    assert {(one["statistic"], one["candidate"]) for one in rows} == {
        (statistic, domain) for statistic in ("top20", "z") for domain in ("sky", "kitchen")
    }
    assert {one["reader"] for one in rows} == {"logit_lens_base"}
    assert first_list(said)["token"].tolist() == VOCABULARY
    long = said._replace(tokens=pd.DataFrame({"position": 0, "rank": range(90), "token": " the"}))
    assert len(first_list(long)) == KEPT
