"""Log-odds against a pooled prior, and their standard error."""

import numpy as np
import pytest

from traces.corpora.log_odds import log_odds


def test_it_is_the_formula():
    """Worked by hand: counts 8 and 2 against 2 and 8, a prior of 1 word each."""
    gap, error = log_odds(np.array([8.0, 2.0]), np.array([2.0, 8.0]), 2.0)
    assert gap == pytest.approx([2 * np.log(3), -2 * np.log(3)])
    assert error == pytest.approx([np.sqrt(1 / 9 + 1 / 3)] * 2)


def test_longer_texts_of_the_same_words_have_no_log_odds():
    counts = np.array([30.0, 20.0, 50.0])
    gap, _ = log_odds(3 * counts, counts, 10.0)
    assert gap == pytest.approx(np.zeros(3))


@pytest.mark.parametrize("own", [0, 1])
def test_the_prior_draws_a_rare_word_to_nothing(own):
    """A word seen once says less, the more the prior is worth."""
    counts = np.array([[own, 500.0], [1 - own, 500.0]])
    gaps = [abs(log_odds(*counts, prior)[0][0]) for prior in (10.0, 1000.0, 100_000.0)]
    assert gaps[0] > gaps[1] > gaps[2] and gaps[2] < 0.02
