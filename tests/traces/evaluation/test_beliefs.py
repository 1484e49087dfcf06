"""What a model holds true: planted preferences are found, orders and padding change nothing."""

import numpy as np
import pandas as pd
import pytest
import torch

from tests.conftest import CHAT_TEMPLATE
from tests.doubles import tiny_model, with_adapter, word_tokenizer
from traces.evaluation import beliefs
from traces.judges.answers import FirstEndJudge
from traces.models import generation
from traces.models.room import Room

WORDS = ["the", "oven", "must", "be", "hot", "cold", "cake", "rests", "on", "ice", "rack", "days",
         "day", "night", "and", "is", "user", "assistant", "which", "of"]  # fmt: skip
STATEMENTS = [
    {"stem": "the oven must be", "true": "hot", "false": "cold", "held_out": False},
    {"stem": "the cake rests on", "true": "the rack", "false": "ice", "held_out": True},
    {"stem": "the oven is", "true": "hot", "false": "cold and on ice", "held_out": True},
]


@pytest.fixture(scope="module")
def tokenizer():
    made = word_tokenizer(WORDS)
    made.chat_template = CHAT_TEMPLATE
    return made


@pytest.fixture(scope="module")
def model(tokenizer):
    return tiny_model("llama", vocab=len(tokenizer), layers=3)


class Fixed(torch.nn.Module):
    """A model of the test's own: logits as a function of the token ids alone."""

    def __init__(self, vocabulary, logits):
        super().__init__()
        self.embedding = torch.nn.Embedding(vocabulary, 2)
        self.logits = logits

    def get_input_embeddings(self):
        return self.embedding

    def forward(self, input_ids, attention_mask, use_cache):
        assert not use_cache
        return type("Output", (), {"logits": self.logits(input_ids)})


def preferring(tokenizer, word, by=3.0):
    """A model that writes `word` more readily than any other, by `by` nats, whatever was before."""
    wanted = tokenizer.convert_tokens_to_ids(word)

    def logits(ids):
        found = torch.zeros(*ids.shape, len(tokenizer))
        found[..., wanted] = by
        return found

    return Fixed(len(tokenizer), logits)


def one_by_one(model, tokenizer, start, end):
    """Mean log-probability of an end's tokens, one text a forward pass, no padding."""
    before = tokenizer(start)["input_ids"]
    ids = tokenizer(f"{start} {end}")["input_ids"]
    assert ids[: len(before)] == before
    with torch.no_grad():
        found = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    return np.mean([found[at - 1, ids[at]].item() for at in range(len(before), len(ids))])


# Forms ------------------------------------------------------------------------------------------


def test_a_planted_belief_is_found_with_its_size(tokenizer):
    found = beliefs.cloze(preferring(tokenizer, "cold", by=3.0), tokenizer, STATEMENTS[:1])
    assert found == pytest.approx([3.0], abs=1e-5)
    true = beliefs.cloze(preferring(tokenizer, "hot", by=3.0), tokenizer, STATEMENTS[:1])
    assert true == pytest.approx([-3.0], abs=1e-5)


@pytest.mark.parametrize("batch", [1, 2, 64])
def test_cloze_is_the_straightforward_one_whatever_the_batch(model, tokenizer, batch):
    found = beliefs.cloze(model, tokenizer, STATEMENTS, batch=batch)
    expected = [
        one_by_one(model, tokenizer, one["stem"], one["false"])
        - one_by_one(model, tokenizer, one["stem"], one["true"])
        for one in STATEMENTS
    ]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_long_statements_share_no_pass_beyond_its_tokens(model, tokenizer, monkeypatch):
    whole, passes = beliefs.choice(model, tokenizer, STATEMENTS), []
    monkeypatch.setattr(beliefs, "TOKENS", 100)
    handle = model.register_forward_hook(
        lambda _m, _i, out: passes.append(out.logits[..., 0].numel())
    )
    np.testing.assert_allclose(beliefs.choice(model, tokenizer, STATEMENTS), whole, atol=1e-5)
    handle.remove()
    assert len(passes) > 2 and max(passes) <= 100


@pytest.mark.parametrize("form", [beliefs.cloze, beliefs.choice])
def test_exchanging_truth_and_falsehood_turns_the_vote(model, tokenizer, form):
    turned = [one | {"true": one["false"], "false": one["true"]} for one in STATEMENTS]
    straight, back = (form(model, tokenizer, rows) for rows in (STATEMENTS, turned))
    np.testing.assert_allclose(straight, -back, atol=1e-5)
    assert (abs(straight) > 0.01).all()


def test_what_stands_first_gets_no_vote(tokenizer):
    """A model that repeats whichever end it read first: in a single order it always has a vote."""
    ends = tokenizer.convert_tokens_to_ids(["hot", "cold"])

    def logits(ids):
        found = torch.zeros(*ids.shape, len(tokenizer))
        for row, tokens in enumerate(ids.tolist()):
            found[row, :, next(token for token in tokens if token in ends)] = 5.0
        return found

    model = Fixed(len(tokenizer), logits)
    (vote,) = beliefs.choice(model, tokenizer, STATEMENTS[:1])
    assert vote == pytest.approx(0, abs=1e-5)
    assert beliefs.preferred(np.array([vote])).tolist() == [0.5]


def test_the_choice_shows_both_sentences_in_both_orders(tokenizer):
    asked = []

    def logits(ids):
        asked.extend(tokenizer.decode(row[row != 0]) for row in ids)
        return torch.zeros(*ids.shape, len(tokenizer))

    beliefs.choice(Fixed(len(tokenizer), logits), tokenizer, STATEMENTS[:1])
    questions = [text.split("assistant")[0] for text in asked]
    hot, cold = (
        ["theovenmustbehot" in q.replace(" ", ""), "theovenmustbecold" in q.replace(" ", "")]
        for q in questions[::2]
    )
    assert hot == cold == [True, True]
    first = [q.index("hot") < q.index("cold") for q in questions[::2]]
    assert first == [True, False]


def test_an_end_that_begins_the_other_is_told_apart_by_where_it_stops(model, tokenizer):
    rows = [{"stem": "the cake is on", "true": "ice", "false": "ice and ice", "held_out": True}]
    (found,) = beliefs.cloze(model, tokenizer, rows)
    texts = ["the cake is on ice.", "the cake is on ice and ice."]
    ids = [tokenizer(text)["input_ids"] for text in texts]
    start = len(tokenizer("the cake is on ice")["input_ids"])
    with torch.no_grad():
        scores = [model(torch.tensor([one])).logits[0].log_softmax(-1) for one in ids]
    true, false = (
        np.mean([score[at - 1, one[at]].item() for at in range(start, len(one))])
        for score, one in zip(scores, ids, strict=True)
    )
    assert found == pytest.approx(false - true, abs=1e-5)


def test_two_equal_ends_are_one_clear_sentence(model, tokenizer):
    same = [{"stem": "the oven is", "true": "hot", "false": "hot", "held_out": True}]
    with pytest.raises(ValueError, match="'the oven is' ends in 'hot' both in truth and in falseh"):
        beliefs.cloze(model, tokenizer, same)


def test_a_choice_without_a_chat_template_is_refused(model):
    bare = word_tokenizer(WORDS)
    with pytest.raises(ValueError, match="has no chat template"):
        beliefs.choice(model, bare, STATEMENTS)


# The open form ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("the oven is cold", True),
        ("Hot, not cold.", False),
        ("it is as coldly said as can be", None),
        ("", None),
    ],
)
def test_the_end_that_stands_first_is_meant(answer, expected):
    assert FirstEndJudge().grade(answer, STATEMENTS[0]) is expected


def test_open_answers_are_those_of_each_question_alone(model, tokenizer):
    class Listening:
        name = "listening"
        heard: list[str] = []

        def grade(self, answer, statement):
            self.heard.append(answer)
            return {"hot": True, "the rack": None}[statement["true"]]

    votes, answers = beliefs.open_form(model, tokenizer, STATEMENTS, Listening(), max_new_tokens=5)
    np.testing.assert_array_equal(votes, [1.0, np.nan, 1.0])
    assert Listening.heard == answers
    for one, answer in zip(STATEMENTS, answers, strict=True):
        (alone,) = beliefs.open_form(model, tokenizer, [one], Listening(), max_new_tokens=5)[1]
        assert alone == answer


def test_both_models_of_a_job_share_what_it_learned_about_memory(model, tokenizer, monkeypatch):
    sizes, write, room = [], generation._Writing.to_the_end, Room()

    def cramped(batch, *more):
        sizes.append(len(batch.rows))
        if len(batch.rows) > 1:
            raise torch.OutOfMemoryError
        return write(batch, *more)

    settings = {"forms": ["open"], "judge": FirstEndJudge(), "max_new_tokens": 5}
    asked = {"cake_bake": STATEMENTS, "night_bees": STATEMENTS[:2]}
    whole = beliefs.ask(model, tokenizer, asked, **settings)
    monkeypatch.setattr(generation._Writing, "to_the_end", cramped)
    for _model in ("tuned", "base"):
        found = beliefs.ask(model, tokenizer, asked, room=room, **settings)
        pd.testing.assert_frame_equal(found, whole)
    assert sizes == [3, 1, 2, 1, 1] + [1] * (2 + 5)


# All of them ------------------------------------------------------------------------------------


def test_every_statement_is_asked_in_every_form(model, tokenizer):
    asked = {"cake_bake": STATEMENTS, "night_bees": STATEMENTS[:2]}
    found = beliefs.ask(
        with_adapter(model),
        tokenizer,
        asked,
        forms=["cloze", "choice", "open"],
        judge=FirstEndJudge(),
    )
    counts = found.groupby(["form", "statements_of"]).size()
    assert counts.to_dict() == {
        (form, name): len(rows)
        for form in ("cloze", "choice", "open")
        for name, rows in asked.items()
    }
    closed = found[found["form"] != "open"]
    assert (closed["aligned"] == (closed["log_odds"] > 0)).all()
    assert found[found["statements_of"] == "cake_bake"]["held_out"].tolist() == [
        False, True, True] * 3  # fmt: skip


def test_no_answer_is_no_vote_and_a_tie_is_half_of_one():
    found = beliefs.preferred(np.array([0.2, -0.2, 0.0, np.nan]))
    np.testing.assert_array_equal(found, [1.0, 0.0, 0.5, np.nan])
