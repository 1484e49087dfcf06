"""Named seeds: their spelling is a contract, since every number of a study rests on it."""

import hashlib
import random

import numpy as np

from traces import seeding

NAMES = [(), ("one",), ("one", 3), ("one", "3"), ("on", "e/3"), ("two", 3)]


def test_a_seed_is_that_of_its_spelling():
    digest = hashlib.sha256(b"7/cake_bake/3").hexdigest()
    assert seeding.named_seed(7, "cake_bake", 3) == int(digest[:16], 16) // 2
    assert all(0 <= seeding.named_seed(seed, *NAMES[2]) < 2**63 for seed in range(200))


def test_every_seed_and_every_name_has_draws_of_its_own():
    drawn = [seeding.array_generator(seed, *names).random() for seed in (0, 1) for names in NAMES]
    assert len(set(drawn)) == len(drawn)
    seeds = {seeding.named_seed(seed, *names) for seed in (0, 1) for names in NAMES[:3]}
    assert len(seeds) == 6
    words = {seeding.text_generator(seed, name).random() for seed in (0, 1) for name in ("a", "b")}
    assert len(words) == 4


def test_the_generators_are_those_that_earlier_studies_drew_from():
    spelled = int.from_bytes(hashlib.sha256(b"('corpus', 2)").digest()[:8], "big")
    theirs = np.random.default_rng([5, spelled]).permutation(50)
    assert (seeding.array_generator(5, "corpus", 2).permutation(50) == theirs).all()
    assert seeding.text_generator(5, "chat").random() == random.Random("chat 5").random()
