"""The likelihood of an answer behind its prompt."""

import pytest
import torch

from tests.doubles import tiny_model
from traces.models import likelihood

ROWS = [(2, [7, 6]), (1, [5, 9, 4]), (3, [5, 9, 4, 11, 17, 8, 23]), (1, [5, 30])]


@pytest.fixture(scope="module")
def model():
    return tiny_model("llama", layers=2)


def test_it_is_the_mean_over_the_tokens_behind_the_prompt(model):
    found = likelihood.mean_nlls(model, ROWS)
    for (start, ids), nll in zip(ROWS, found, strict=True):
        if start == len(ids):
            assert nll is None
            continue
        said = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(dim=-1)
        of_tokens = [said[i - 1, ids[i]].item() for i in range(start, len(ids))]
        assert nll == pytest.approx(-sum(of_tokens) / len(of_tokens), rel=1e-5)


@pytest.mark.parametrize(("tokens", "at_once"), [(1, 512), (4096, 1), (9, 4)])
def test_batches_change_memory_and_no_number(model, monkeypatch, tokens, at_once):
    whole = likelihood.mean_nlls(model, ROWS)
    monkeypatch.setattr(likelihood, "TOKENS", tokens)
    monkeypatch.setattr(likelihood, "AT_ONCE", at_once)
    found = likelihood.mean_nlls(model, ROWS)
    assert found[0] is whole[0] is None
    assert found[1:] == pytest.approx(whole[1:], rel=1e-5)


def test_no_texts_have_no_likelihood(model):
    assert likelihood.mean_nlls(model, []) == []
