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


DOMAIN = [101, 47, 88, 60]
"Tokens that a planted finetune speaks of."
LAST = 5
"The last block of a tiny model."


@pytest.fixture(scope="module")
def windows():
    """Texts of unequal length; those of a chat begin before position 0."""
    from traces.activations.dump import Window

    rng = np.random.default_rng(0)
    lengths = [9, 4, 12, 7, 12, 3, 10]
    texts = [rng.integers(3, 128, size=length).tolist() for length in lengths]
    return [Window(ids, anchor) for ids, anchor in zip(texts, [0, 1, 2, 0, 3, 0, 2], strict=True)]


@pytest.fixture(scope="module")
def planted(windows):
    """
    Makes a pair whose tuned model writes one direction more in its last block: that of the words of
    DOMAIN, or a random one of the same length as its null.
    """
    import copy

    import torch

    from tests.doubles import tiny_model
    from traces.models.hooks import decoder_layers
    from traces.models.weights import Pair

    base = tiny_model("llama", d=64, tie=False)
    down = decoder_layers(base)[LAST].mlp.down_proj
    seen = []
    hook = down.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    for window in windows:
        base(torch.tensor([window.ids]), use_cache=False)
    hook.remove()
    # So that most tokens write it with the same sign.
    read = torch.cat([one.flatten(0, 1) for one in seen]).mean(dim=0)
    # The direction that the unembedding makes of them alone, as far as there is one.
    wanted = torch.zeros(len(base.lm_head.weight), 1)
    wanted[DOMAIN] = 1
    named = torch.linalg.lstsq(base.lm_head.weight, wanted).solution[:, 0]
    random = torch.randn(len(named), generator=torch.Generator().manual_seed(3))

    def make(of_domain: bool):
        direction = named if of_domain else random
        direction = 20 * direction / direction.norm()
        tuned = copy.deepcopy(base)
        matrix = decoder_layers(tuned)[LAST].mlp.down_proj.weight
        with torch.no_grad():
            matrix += torch.outer(direction, read / read.square().sum())
        return Pair(tuned, base), direction.numpy()

    return make
