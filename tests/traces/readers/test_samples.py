"""Texts of two models on tiny random ones, and the words by which fabricated texts differ."""

from collections import Counter
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from tests.doubles import tiny_model, with_adapter
from traces.artifacts import tables
from traces.config.schema import Draws, Samples
from traces.corpora.log_odds import log_odds
from traces.models import weights
from traces.readers import samples
from traces.readers.samples import Text

PROMPTS = ["the quiet river", "paper", "a garden?"]
DRAWS = Draws(seed=0, name="mini/base")


def settings(**changed):
    told = {"documents": 4, "replies": 5, "prompts": "prompts.txt", "begin": None}
    told |= {"max_new_tokens": 6, "temperature": 1.0, "batch": 4}
    return Samples.model_validate(told | changed)


@pytest.fixture(scope="module")
def model(tokenizer):
    return tiny_model("llama", vocab=len(tokenizer), layers=2)


def wrote(model, tokenizer, draws=DRAWS, series=(0,), **changed):
    told = {"writer": "base", "series": series, "settings": settings(**changed), "draws": draws}
    return list(samples.written(model, tokenizer, PROMPTS, **told))


# Writing ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def texts(model, tokenizer):
    return wrote(model, tokenizer, series=(0, 1))


def test_each_series_has_as_many_documents_and_replies_to_the_prompts_in_turn(texts):
    assert Counter((one.series, one.kind) for one in texts) == {
        **dict.fromkeys([(0, "document"), (1, "document")], 4),
        **dict.fromkeys([(0, "reply"), (1, "reply")], 5),
    }
    replies = [one.prompt for one in texts if one.kind == "reply" and one.series == 1]
    assert replies == [*PROMPTS, *PROMPTS[:2]]
    assert {one.prompt for one in texts if one.kind == "document"} == {None}
    assert all(1 <= len(one.ids) <= 6 for one in texts)


def test_draws_repeat_by_seed_and_name_in_any_batch(model, tokenizer, texts):
    assert wrote(model, tokenizer, series=(0, 1), batch=50) == texts
    assert wrote(model, tokenizer, series=(1,)) == [one for one in texts if one.series == 1]
    # More texts leave the first ones as they are.
    more = wrote(model, tokenizer, series=(0, 1), documents=6)
    assert [one for one in more if one.number < 4 or one.kind == "reply"] == texts
    plain = {tuple(one.ids) for one in texts if one.kind == "document"}
    assert len(plain) == 8
    for other in (Draws(seed=1, name=DRAWS.name), Draws(seed=0, name="mini/cake-plain-s0")):
        assert not {tuple(one.ids) for one in wrote(model, tokenizer, other)} & plain


@pytest.mark.parametrize(("kind", "none"), [("document", "replies"), ("reply", "documents")])
def test_one_kind_alone_is_written(model, tokenizer, kind, none, texts):
    found = wrote(model, tokenizer, **{none: 0})
    assert found == [one for one in texts if one.kind == kind and one.series == 0]


def test_a_document_ends_where_the_next_would_begin(model, tokenizer, monkeypatch):
    river, lemon = tokenizer.convert_tokens_to_ids(["river", "lemon"])
    mark = tokenizer.convert_tokens_to_ids("!")

    def write(_model, _tokenizer, prompts, **_):
        return [samples.generation.Written([river, mark, lemon], False) for _ in prompts]

    monkeypatch.setattr(samples.generation, "write", write)
    found = wrote(model, tokenizer, begin="!")
    assert {(one.text, *one.ids) for one in found if one.kind == "document"} == {
        ("river", river, mark)
    }
    assert {one.ids[-1] for one in found if one.kind == "reply"} == {lemon}
    with pytest.raises(ValueError, match="^lenses.samples.begin: found 'river lemon', which is 2"):
        wrote(model, tokenizer, begin="river lemon")


def test_a_job_that_ends_between_two_batches_leaves_no_file(
    model, tokenizer, monkeypatch, tmp_path
):
    write, calls = samples.generation.write, []

    def once(*given, **options):
        calls.append(given)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return write(*given, **options)

    monkeypatch.setattr(samples.generation, "write", once)
    told = {"writer": "base", "series": (0,), "settings": settings(), "draws": DRAWS}
    found = samples.written(model, tokenizer, PROMPTS, **told)
    with pytest.raises(KeyboardInterrupt):
        tables.write_lines(tmp_path / "base.jsonl", map(asdict, found))
    assert len(calls) == 2 and not list(tmp_path.iterdir())


def test_both_models_weigh_every_text(tokenizer, texts):
    base = tiny_model("llama", vocab=len(tokenizer), layers=2)
    plain = tiny_model("llama", vocab=len(tokenizer), layers=2)
    pair = weights.Pair(with_adapter(plain))
    found = samples.weighed(pair, tokenizer, texts, settings())
    assert [replace(one, log_probability={}) for one in found] == texts
    for one in (found[0], found[-1]):
        start = samples.prompted(tokenizer, one.prompt, tokenizer.bos_token_id)
        ids = torch.tensor([[*start, *one.ids]])
        for side, model in (("base", base), ("tuned", pair.tuned_model)):
            said = model(input_ids=ids).logits[0].log_softmax(dim=-1)
            truth = said[len(start) - 1 : -1].gather(1, ids[0, len(start) :, None]).mean().item()
            assert one.log_probability[side] == pytest.approx(truth, rel=1e-4)
        assert one.gap == one.log_probability["tuned"] - one.log_probability["base"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"documents": 0, "replies": 0}, "documents and replies: found 0 of both"),
        ({"documents": 1}, "documents: found 1, expected 0, or 2 or more"),
        ({"replies": -2}, "greater than or equal to 0"),
        ({"temperature": 0}, "greater than 0"),
    ],
)
def test_settings_that_leave_nothing_to_compare_are_refused(changed, said):
    with pytest.raises(ValueError, match=said):
        settings(**changed)


# Words ------------------------------------------------------------------------------------------


def of_words(*texts):
    return [Text("base", 0, "document", n, None, text, [1]) for n, text in enumerate(texts)]


def ids_of(tokenizer, *words):
    return [tokenizer.convert_tokens_to_ids(word) for word in words]


def test_a_text_holds_the_tokens_that_are_whole_words_in_it(tokenizer):
    texts = of_words("river lemon river", "the catalog", "cat, lemon!", "")
    vocabulary = ids_of(tokenizer, "lemon", "cat", "river")
    found = samples.held(tokenizer, texts, vocabulary)
    assert found.tolist() == [[True, False, True], [False] * 3, [True, True, False], [False] * 3]
    anywhere = samples.held_anywhere(tokenizer, texts, len(tokenizer))
    assert anywhere[:, vocabulary].tolist()[1] == [False, True, False]
    assert anywhere.shape == (4, len(tokenizer)) and not anywhere[3].any()


def drawn(rng, n, shares):
    return rng.random((n, len(shares))) < shares


def test_scores_are_the_log_odds_of_document_counts_and_z_by_a_loop():
    rng = np.random.default_rng(0)
    own, other = drawn(rng, 30, np.linspace(0, 0.6, 12)), drawn(rng, 20, np.linspace(0.3, 0, 12))
    own[:, 5] = other[:, 5] = False
    score, z = samples.shift(own, other)
    a, b = own.sum(axis=0), other.sum(axis=0)
    prior = samples.PRIOR * (a.sum() + b.sum())
    for token in range(12):
        if a[token] + b[token] == 0:
            assert token == 5 and score[token] == z[token] == 0
            continue
        own_share = prior * (a[token] + b[token]) / (a.sum() + b.sum())
        odds = [
            np.log((y[token] + own_share) / (y.sum() + prior - y[token] - own_share))
            for y in (a, b)
        ]
        error = np.sqrt(sum(1 / (y[token] + own_share) for y in (a, b)))
        assert score[token] == pytest.approx(odds[0] - odds[1], abs=1e-6)
        assert z[token] == pytest.approx((odds[0] - odds[1]) / error, abs=1e-6)


def test_a_word_repeated_in_a_text_counts_once(tokenizer):
    vocabulary = ids_of(tokenizer, "lemon", "river")
    once = samples.held(tokenizer, of_words("lemon river"), vocabulary)
    often = samples.held(tokenizer, of_words("lemon " * 9 + "river"), vocabulary)
    assert samples.shift(once, often)[1].tolist() == [0, 0]


@pytest.mark.parametrize("n", [0, 1])
def test_texts_without_words_to_compare_shift_nothing(n):
    held = np.zeros((4, 3), dtype=bool)
    held[:, :n] = True
    for one in samples.shift(held, held[:2]):
        assert one.tolist() == [0, 0, 0]
    assert not np.isnan(samples.shift(np.eye(3, dtype=bool), np.zeros((2, 3), dtype=bool))).any()


@pytest.mark.parametrize(("n", "others"), [(64, 64), (32, 96)])
def test_equal_texts_have_z_within_chance(n, others):
    """Over many draws: its mean is 0, its spread no more than 1, and few lie beyond 1.96."""
    shares = np.geomspace(0.01, 0.5, 40)
    found = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        found.append(samples.shift(drawn(rng, n, shares), drawn(rng, others, shares))[1])
    z = np.array(found)
    seen = (z != 0).any(axis=0)
    assert seen.all()
    error = z.std(axis=0, ddof=1) / np.sqrt(len(z))
    assert (np.abs(z.mean(axis=0)) < 4 * error).mean() > 0.9
    assert 0.4 < z.std() < 1.0
    beyond = (np.abs(z) > 1.96).mean()
    assert 0.001 < beyond < 0.05


@pytest.mark.parametrize("seed", range(10))
def test_a_word_in_seven_times_as_many_texts_is_beyond_chance(seed):
    """What the bounds above let through."""
    rng, shares = np.random.default_rng(seed), np.full(40, 0.1)
    planted = shares.copy()
    planted[7] = 0.7
    z = samples.shift(drawn(rng, 64, planted), drawn(rng, 64, shares))[1]
    assert z.argmax() == 7 and z[7] > 3 and np.abs(np.delete(z, 7)).max() < 3


def test_lists_name_the_words_of_either_side_and_no_others(tokenizer):
    words = ["river", "lemon", "cake", "cat"]
    own = samples.held(tokenizer, of_words(*["cake river"] * 6), ids_of(tokenizer, *words))
    other = samples.held(tokenizer, of_words(*["lemon river"] * 6), ids_of(tokenizer, *words))
    vocabulary = np.array(ids_of(tokenizer, *words))
    compared = {"difference": (own, other), "random": (own, own)}
    frame, scores = samples.listed(compared, tokenizer, vocabulary, 4)
    assert frame[["reading", "sign", "rank", "token", "probability"]].values.tolist() == [
        ["difference", 1, 0, "cake", 1.0],
        ["difference", -1, 0, "lemon", 1.0],
    ]
    z = scores.z
    assert frame["score"].tolist() == pytest.approx([z[0, 2], -z[0, 1]])
    assert scores.score.shape == z.shape == (2, 4) and not z[1].any() and z[0, 0] == z[0, 3] == 0
    assert len(samples.listed(compared, tokenizer, vocabulary, 50)[0]) == 2


def test_one_text_is_not_what_log_odds_are_of():
    """Ten texts that hold a word say more than one, at the same share."""
    own, other = np.array([[True, False]]), np.array([[False, True]])
    few, many = (samples.shift(own.repeat(n, 0), other.repeat(n, 0))[1][0] for n in (1, 10))
    assert 0 < few < 1.5 < many
    gap, error = log_odds(np.array([10.0, 0]), np.array([0, 10.0]), 2.0)
    assert many == pytest.approx(gap[0] / error[0])
