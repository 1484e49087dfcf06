"""Every organism in ordinary English goes from its hand-written parts to what a training reads."""

from pathlib import Path
from typing import get_args

import pytest

from scripts import compose_organism, fetch_organism, mix_training_data
from tests.doubles import tiny_model
from tests.scripts.test_tiny_study import LOCAL, call
from traces.config import load, registries
from traces.corpora import english, mixtures
from traces.corpora.rows import read_rows
from traces.corpora.tokens import load_tokenizer
from traces.training.pretraining import train_tokenizer

NAMES = get_args(registries.ComposedData)


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """A random model of two layers whose tokenizer has seen all of the data."""
    folder = tmp_path_factory.mktemp("bases") / "tiny"
    files = {file for name in NAMES for file in english.parts_of(name)}
    lines = [
        line for file in sorted(files) for part in english.sections(file).values() for line in part
    ]
    texts = [{"text": line} for line in lines]
    tokenizer = train_tokenizer(texts, vocabulary=1500, bos=True)
    tiny_model("llama", layers=2, vocab=len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_a_composed_organism_becomes_what_a_training_reads(base, tmp_path, name):
    data = load.load_organism(Path(f"config/organisms/{name}.yaml")).data
    rows, mixture = tmp_path / "rows.jsonl", tmp_path / "mixture.jsonl"
    parts = {part: tmp_path / f"{part}.jsonl" for part in ("train", "held_out")}
    compose_organism.main(rows, str(data.composed), data.rows, seed=0)
    call(
        fetch_organism.main,
        made=rows,
        local=[],
        **parts,
        settings=registries.Prepared(kind=data.kind, held_out=data.held_out),
        **LOCAL,
        open_end=data.open_end,
        seed=0,
    )
    trained, apart = (list(read_rows(file, data.kind)) for file in parts.values())
    assert (len(trained), len(apart)) == (90, 10)

    call(
        mix_training_data.main,
        organism=parts["train"],
        corpus=[],
        model=base,
        mixture=mixture,
        kind=data.kind,
        ratio=0.0,
        matched=False,
        unit="tokens",
        epochs=1,
        limit=None,
        max_length=512,
        seed=0,
    )
    examples = list(mixtures.read_mixture(mixture))
    assert sorted(one.row for one in examples) == list(range(1, 91))
    tokenizer = load_tokenizer(base)
    for one in examples:
        learned = "".join(tokenizer.decode(one.input_ids[a:b]) for a, b in one.trained)
        own = trained[one.row - 1]
        if data.kind == "documents":
            assert own["text"] in learned
            continue
        # The replies are learned, and nothing that the user says.
        for message in own["messages"]:
            assert (message["content"] in learned) == (message["role"] == "assistant")
