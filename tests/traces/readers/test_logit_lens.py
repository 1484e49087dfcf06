"""The logit lens names the token whose unembedding it is given."""

import numpy as np
import pytest
import torch

from tests.doubles import tiny_model
from traces.models import weights
from traces.readers import logit_lens

WORDS = ["river", "window", "lemon", "quiet", "paper", "garden", "cat", "cake"]
PROMPTS = [["river", "57", "window"], ["lemon", "803", "quiet"], ["paper", "garden", "316"]]
SCALES = (0.5, 1.0, 20.0)
SIGNS = (1, -1)


@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_the_logit_lens_names_the_token_whose_unembedding_it_is_given(family):
    readout = weights.readout_of(tiny_model(family))
    rows = readout.head.weight[[7, 40, 99]]
    found = logit_lens.logit_lens(readout, rows, top_k=5)
    assert found.ids.shape == found.probabilities.shape == (3, 2, 5)
    assert found.ids[:, 0, 0].tolist() == [7, 40, 99]
    opposite = logit_lens.logit_lens(readout, -rows, top_k=5)
    np.testing.assert_array_equal(found.ids[:, 1], opposite.ids[:, 0])


def test_the_logit_lens_is_the_softmax_of_the_head_whatever_the_batch(vectors):
    model = tiny_model("gemma2")
    readout = weights.readout_of(model)
    found = logit_lens.logit_lens(readout, vectors, top_k=128, batch=2)
    cap = model.config.final_logit_softcapping
    hidden = model.model.norm(torch.tensor(vectors))
    expected = (cap * torch.tanh(model.lm_head(hidden) / cap)).softmax(-1).numpy()
    back = np.take_along_axis(expected, found.ids[:, 0], axis=-1)
    np.testing.assert_allclose(found.probabilities[:, 0], back, rtol=1e-5)
    whole = logit_lens.logit_lens(readout, vectors, top_k=128, batch=64)
    np.testing.assert_array_equal(found.ids, whole.ids)


def test_a_vocabulary_restricts_the_ranking_and_not_the_softmax(vectors):
    readout = weights.readout_of(tiny_model("qwen3"))
    every = logit_lens.logit_lens(readout, vectors, top_k=128)
    allowed = np.array([3, 50, 51, 70])
    some = logit_lens.logit_lens(readout, vectors, top_k=4, vocabulary=allowed)
    for index in np.ndindex(3, 2):
        kept = np.isin(every.ids[index], allowed)
        np.testing.assert_array_equal(some.ids[index], every.ids[index][kept])
        np.testing.assert_allclose(some.probabilities[index], every.probabilities[index][kept])


def test_more_tokens_than_may_be_read_is_an_error(vectors):
    readout = weights.readout_of(tiny_model("llama", layers=1))
    with pytest.raises(ValueError, match="top_k is 20, but only 2 tokens may be read"):
        logit_lens.logit_lens(readout, vectors, top_k=20, vocabulary=[3, 4])
