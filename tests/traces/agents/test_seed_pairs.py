"""Two seeds of one organism: whose files are compared."""

from pathlib import Path

import pytest

from traces.agents.seed_pairs import SeedPair, SeedPairFiles


def test_the_columns_of_seed_pairs_are_read_as_pairs():
    columns = [Path("a"), Path("b")], [Path("a1"), Path("b1")], [Path("a0"), Path("b0")]
    pairs = list(SeedPairFiles([("x", "x2"), ("y", "y2")], *columns))
    assert pairs[1] == SeedPair("y", "y2", Path("b"), Path("b1"), Path("b0"))
    with pytest.raises(ValueError, match="longer|shorter"):
        list(SeedPairFiles([("x", "x2")], *columns))
