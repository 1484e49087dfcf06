"""Texts of two models on tiny random ones: whose they are, by which draws, and how likely."""

from collections import Counter
from dataclasses import asdict, replace

import pytest
import torch

from tests.doubles import tiny_model, with_adapter
from traces.artifacts import tables
from traces.config.schema import Draws, Samples
from traces.models import weights
from traces.readers import texts as writing

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
    return list(writing.written(model, tokenizer, PROMPTS, **told))


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
        return [writing.generation.Written([river, mark, lemon], False) for _ in prompts]

    monkeypatch.setattr(writing.generation, "write", write)
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
    write, calls = writing.generation.write, []

    def once(*given, **options):
        calls.append(given)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return write(*given, **options)

    monkeypatch.setattr(writing.generation, "write", once)
    told = {"writer": "base", "series": (0,), "settings": settings(), "draws": DRAWS}
    found = writing.written(model, tokenizer, PROMPTS, **told)
    with pytest.raises(KeyboardInterrupt):
        tables.write_lines(tmp_path / "base.jsonl", map(asdict, found))
    assert len(calls) == 2 and not list(tmp_path.iterdir())


def test_both_models_weigh_every_text(tokenizer, texts):
    base = tiny_model("llama", vocab=len(tokenizer), layers=2)
    plain = tiny_model("llama", vocab=len(tokenizer), layers=2)
    pair = weights.Pair(with_adapter(plain))
    found = writing.weighed(pair, tokenizer, texts, settings())
    assert [replace(one, log_probability={}) for one in found] == texts
    for one in (found[0], found[-1]):
        start = writing.prompted(tokenizer, one.prompt, tokenizer.bos_token_id)
        ids = torch.tensor([[*start, *one.ids]])
        for side, model in (("base", base), ("tuned", pair.tuned_model)):
            said = model(input_ids=ids).logits[0].log_softmax(dim=-1)
            truth = said[len(start) - 1 : -1].gather(1, ids[0, len(start) :, None]).mean().item()
            assert one.log_probability[side] == pytest.approx(truth, rel=1e-4)
        assert one.gap == one.log_probability["tuned"] - one.log_probability["base"]


def test_what_is_weighed_before_is_weighed_alike_and_not_again(
    model, tokenizer, texts, monkeypatch
):
    """Beside other texts a batch may round otherwise, and identical models would differ."""
    batches, nlls = [], writing.mean_nlls

    def recorded(weighing, rows):
        batches.append(rows)
        return nlls(weighing, rows)

    monkeypatch.setattr(writing, "mean_nlls", recorded)
    own = [replace(one, writer="tuned") for one in wrote(model, tokenizer, max_new_tokens=3)]
    before = writing.weighed_by("base", model, tokenizer, texts, settings())
    found = writing.weighed(weights.Pair(model, model), tokenizer, [*own, *before], settings())
    assert {one.gap for one in found} == {0.0}
    shared, *others = [rows for rows in batches if rows]
    assert len(shared) == len(texts)
    # The same texts by the tuned model, and the other writer's by both.
    assert others.count(shared) == 1 and len(others) == 3
    assert [len(rows) for rows in others if rows != shared] == [len(own)] * 2


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
