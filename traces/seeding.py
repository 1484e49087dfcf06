"""
Seeds with names: each draw has a generator of its own, whatever else is drawn from the same seed.

A name says what is drawn, so that adding one draw changes no other. There are three spellings, one
for each kind of generator. Results depend on them: a changed spelling is a changed number.
"""

import hashlib
import random

import numpy as np


def named_seed(seed: int, *names: str | int) -> int:
    """A seed of 63 bits, for a generator of torch or NumPy: of SHA-256 over `seed/name/...`."""
    return _bits("/".join(map(str, (seed, *names)))) >> 1


def array_generator(seed: int, *names: str | int) -> np.random.Generator:
    """NumPy's generator, seeded with `seed` and 64 bits of SHA-256 over the tuple of names."""
    return np.random.default_rng([seed, _bits(repr(names))])


def text_generator(seed: int | str, name: str) -> random.Random:
    """Python's generator, seeded with the text `name seed`: it chooses among words and rows."""
    return random.Random(f"{name} {seed}")


def _bits(text: str) -> int:
    """The first 64 bits of the text's SHA-256."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
