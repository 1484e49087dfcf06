"""What the tests of readers begin with."""

import numpy as np
import pytest

from tests.doubles import word_tokenizer

WORDS = ["river", "window", "lemon", "quiet", "paper", "garden", "cat", "cake"]


@pytest.fixture(scope="module")
def tokenizer():
    return word_tokenizer(WORDS)


@pytest.fixture(scope="module")
def vectors():
    return np.random.default_rng(0).normal(size=(3, 32)).astype(np.float32)
