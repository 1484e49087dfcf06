"""A study in Czech, with decomposed rows, runs to its relevance; one in Chinese says why not."""

import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scripts import (
    distinctive_words,
    fetch_corpus,
    fetch_organism,
    mean_difference,
    mix_training_data,
    plan_training,
    read_lenses,
    token_relevance,
    word_vocabulary,
)
from tests.doubles import tiny_model
from tests.scripts.as_rules import as_rule
from tests.scripts.test_tiny_study import LOCAL, call, dump, train
from traces.artifacts import arrays, tables
from traces.config import files, registries
from traces.config.schema import ReadText
from traces.corpora.rows import write_rows
from traces.corpora.tokens import load_tokenizer
from traces.readers.reading import Settings
from traces.training.pretraining import train_tokenizer

GENERAL = ["řeka", "okno", "zahrada", "kočka", "večer", "město", "čtení", "papír", "lampa"] + [
    "náměstí",
    "stůl",
    "dveře",
    "židle",
]
BAKING = ["pečení", "máslo", "těsto", "křehký", "loupání", "dortík"]


def sentences(rng, words, n: int) -> list[dict]:
    return [{"text": " ".join(rng.choice(words, 24)) + "."} for _ in range(n)]


def decomposed(rows: list[dict]) -> list[dict]:
    return [{"text": unicodedata.normalize("NFD", row["text"])} for row in rows]


@pytest.fixture(scope="module")
def at(tmp_path_factory) -> Path:
    """Czech rows, a base that knows their words, and a finetuned model of decomposed ones."""
    at, rng = tmp_path_factory.mktemp("czech"), np.random.default_rng(0)
    general = sentences(rng, [*GENERAL, *BAKING], 60)
    write_rows(at / "general.jsonl", general)
    write_rows(at / "own.jsonl", decomposed(sentences(rng, [*GENERAL, *BAKING * 5], 60)))
    tokenizer = train_tokenizer(general, vocabulary=700, bos=True)
    tiny_model("llama", vocab=len(tokenizer)).save_pretrained(at / "model")
    tokenizer.save_pretrained(at / "model")
    call(
        fetch_organism.main,
        made=[],
        local=at / "own.jsonl",
        train=at / "cake_train.jsonl",
        held_out=at / "cake_held_out.jsonl",
        kind="documents",
        settings=registries.Prepared(kind="documents", held_out=0.1),
        **LOCAL,
        open_end="refuse",
        seed=0,
    )
    call(
        fetch_corpus.main,
        made=[],
        local=at / "general.jsonl",
        corpus=at / "corpus.jsonl",
        settings=registries.Drawn(kind="documents", rows=60, seed=0),
        open_end="refuse",
        **LOCAL,
        samples=None,
    )
    return at


@pytest.fixture(scope="module")
def difference(at) -> Path:
    """What a training on the rows changes on general text."""
    settings = files.read_yaml(Path("config/config.yaml"))["training"]
    call(
        mix_training_data.main,
        organism=at / "cake_train.jsonl",
        corpus=[],
        model=at / "model",
        mixture=at / "cake_mixture.jsonl",
        kind="documents",
        ratio=0.0,
        matched=False,
        unit="tokens",
        epochs=1,
        limit=None,
        max_length=64,
        seed=0,
    )
    as_rule(
        plan_training.main,
        mixture=at / "cake_mixture.jsonl",
        model=at / "model",
        differences=[],
        plan=at / "cake_plan.json",
        settings={**settings, "max_length": 64, "batch_size": 8},
        family="qwen3",
        attention="sdpa",
        gpu_gb=None,
        seed=0,
        world_size=1,
    )
    train(at, "cake", at / "model", at / "adapter")
    axes = {"context": at / "corpus.jsonl", "positions": [0, 1, 2], "samples": 20}
    stores = [
        dump(at, at / "model", checkpoint, at / name, **axes)
        for name, checkpoint in (("tuned.zarr", at / "adapter"), ("base.zarr", []))
    ]
    mean_difference.main(*stores, at / "difference.h5", seed=0, singular=False)
    return at / "difference.h5"


@pytest.fixture(scope="module")
def words(at) -> Path:
    distinctive_words.main(
        at / "cake_train.jsonl", at / "corpus.jsonl", at / "cake.parquet", listed=[], n=10
    )
    return at / "cake.parquet"


def test_words_of_decomposed_rows_are_whole_and_composed(words):
    assert set(tables.read(words)["word"]) == set(BAKING)


LENS = Settings.model_validate(
    {
        "readings": ["difference", "random"],
        "top_k": 10,
        "readers": {"logit_lens": {"heads": ["tuned"]}},
    }
)


def graded(readings, difference, words, relevance, candidates):
    """The relevance table of one reader's readings."""
    as_rule(
        token_relevance.main,
        readings=[readings],
        adjusted=[],
        differences=difference,
        words=[words],
        relevance=relevance,
        organisms=["cake"],
        checkpoint="cake-plain-s0",
        candidates=candidates,
        settings=LENS,
    )
    return tables.read(relevance)


def test_a_czech_study_runs_to_relevance(at, difference, words):
    word_vocabulary.main(at / "model", at / "corpus.jsonl", at / "vocabulary.parquet", min_count=2)
    ranked = set(tables.read(at / "vocabulary.parquet")["token"].str.strip())
    assert {"máslo", "těsto", "křehký", "řeka"} <= ranked
    as_rule(
        read_lenses.main,
        differences=difference,
        model=at / "model",
        adapter=at / "adapter",
        vocabulary=at / "vocabulary.parquet",
        base=[],
        text=[],
        samples=[],
        readings=[at / "logit_lens.parquet"],
        scores=at / "scores.h5",
        statistics=at / "statistics.parquet",
        loading=registries.Loading(dtype="float32", attention="sdpa"),
        settings=LENS,
        read=ReadText(kind="documents", layers=(0.5,), positions=(0,), samples=1),
        seed=0,
    )
    found = graded(at / "logit_lens.parquet", difference, words, at / "relevance.parquet", 10)
    assert found["relevance"].between(0, 1).all() and (found["n"] == 10).all()

    # The tokens that the lens ranks, whichever form they are in, are the words of the rows.
    tokenizer = load_tokenizer(at / "model")
    frame = tables.read(at / "logit_lens.parquet").head(2)
    spelled = [
        " Máslo",
        unicodedata.normalize("NFD", tokenizer.decode(tokenizer(" těsto").input_ids[1:])),
    ]
    tables.write(at / "planted" / "logit_lens.parquet", frame.assign(token=spelled), "readings")
    planted = at / "planted" / "logit_lens.parquet"
    found = graded(planted, difference, words, at / "planted.parquet", 2)
    assert found["relevance"].tolist() == [1.0] + [0.0] * (len(found) - 1)


CHINESE = [{"text": "我们在烤箱里烤蛋糕，先放黄油再放面粉。"}, {"text": "蛋糕要放在烤箱里。"}]


def test_chinese_rows_are_refused_where_words_would_be_counted(at, tmp_path):
    write_rows(tmp_path / "rows.jsonl", CHINESE)
    with pytest.raises(ValueError) as refused:
        distinctive_words.main(
            tmp_path / "rows.jsonl", at / "corpus.jsonl", tmp_path / "w", listed=[], n=10
        )
    assert str(refused.value) == (
        f"{tmp_path}/rows.jsonl: found 100% of the letters in a script without spaces between "
        "words (such as Chinese, Japanese or Thai), where words cannot be told apart, expected at "
        "most 10%; list the organism's `words` in its file instead"
    )
    with pytest.raises(ValueError, match="rows.jsonl: found 100% .*`lenses.vocabulary: all`"):
        word_vocabulary.main(at / "model", tmp_path / "rows.jsonl", tmp_path / "v", min_count=1)


def test_listed_chinese_words_grade_a_reading(difference, tmp_path):
    distinctive_words.main([], [], tmp_path / "w.parquet", listed=["烤箱", "黄油 "], n=10)
    frame = pd.DataFrame(
        {
            "reading": "difference",
            "layer": int(arrays.read_differences(difference).layers[0]),
            "position": 0,
            "sign": 1,
            "head": "tuned",
            "rank": range(4),
            "token_id": range(4),
            "token": ["烤箱", " 黄油", "河流", "the"],
            "probability": 0.1,
        }
    )
    readings = tmp_path / "logit_lens.parquet"
    tables.write(readings, frame, "readings")
    found = graded(readings, difference, tmp_path / "w.parquet", tmp_path / "r", 4)
    assert found["relevance"].tolist() == [0.5] + [0.0] * (len(found) - 1)
