"""A group of files loads what a rule names: which folders, in which number format."""

from pathlib import Path

import pytest

from traces.config.registries import Loading
from traces.models import pairs, weights

LOADING = Loading(dtype="bfloat16", attention="eager", offload=True)
OPTIONS = {"attention": "eager", "offload": True}


@pytest.fixture
def asked(monkeypatch):
    """What is asked of the module that loads weights."""
    found = []

    def noted(*given, **named):
        found.append((given, named))

    monkeypatch.setattr(weights, "load_pair", noted)
    monkeypatch.setattr(weights, "load_readout", noted)
    return found


@pytest.mark.parametrize("reference", [None, Path("other")])
def test_a_pair_is_loaded_as_its_model_says(asked, reference):
    pairs.PairFiles(Path("base"), Path("tuned"), LOADING).load_pair(reference)
    pairs.BaseFiles(Path("base"), LOADING).load_pair(Path("tuned"), reference)
    given = (Path("base"), Path("tuned"), "bfloat16")
    assert asked == 2 * [(given, {"reference": reference, **OPTIONS})]


@pytest.mark.parametrize(("head", "checkpoint"), [("tuned", Path("tuned")), ("base", None)])
def test_a_readout_is_the_finetunes_own_or_the_bases(asked, head, checkpoint):
    pairs.PairFiles(Path("base"), Path("tuned"), LOADING).load_readout(head)
    assert asked == [((Path("base"),), {"checkpoint": checkpoint})]
