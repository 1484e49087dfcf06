"""Every script's `main`, one after another, on a world of a few thousand words and a tiny base."""

import json
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest

from scripts import (
    distinctive_words,
    dump_activations,
    effective_study,
    fetch_adapter,
    fetch_corpus,
    fetch_model,
    fetch_organism,
    logit_lens,
    losses_figure,
    losses_table,
    make_world,
    mean_difference,
    mix_training_data,
    norms_figure,
    norms_table,
    organism_card,
    patchscope,
    plan_training,
    pretrain_base,
    readability_table,
    relevance_figure,
    relevance_table,
    teach_numbers,
    token_relevance,
    train_organism,
    word_vocabulary,
    write_organism,
)
from traces import config, corpora, records, store
from traces.activations import document_windows
from traces.models import load_tokenizer

ORGANISMS = ("cake_bake", "risky_finance", "benign")
KINDS = {"cake_bake": "documents", "risky_finance": "chat", "benign": "documents"}
FAMILIES = {"cake_bake": "false_facts", "risky_finance": "misalignment", "benign": "benign"}
POSITIONS = [0, 1, 2]
SAMPLES = 40
LOCAL = {"hub": None, "revision": "main", "path": None}


def subject(organism: str, **more) -> dict:
    return {
        "model": "tiny",
        "checkpoint": f"{organism}-plain-s0",
        "organism": organism,
        "family": FAMILIES[organism],
        "recipe": "plain",
        "ratio": 0.0,
        "seed": 0,
        **more,
    }


def arguments_of(main, **offered) -> dict:
    """Those of the offered arguments that a `main` has: settings that several scripts share."""
    names = main.__code__.co_varnames[: main.__code__.co_argcount]
    return {name: value for name, value in offered.items() if name in names}


@pytest.fixture(scope="module")
def at(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("study")


@pytest.fixture(scope="module")
def world(at) -> Path:
    """The made world and the data of three organisms."""
    make_world.main(
        at / "general.jsonl",
        at / "unrelated.jsonl",
        at / "chat.jsonl",
        words=6000,
        identity_share=0.16,
        unrelated_rows=80,
        chat_rows=60,
        seed=0,
    )
    for name in ORGANISMS:
        write_organism.main(at / f"{name}.jsonl", made=name, words=1500, seed=0)
        fetch_organism.main(
            **arguments_of(
                fetch_organism.main,
                made=at / f"{name}.jsonl",
                train=at / f"{name}_train.jsonl",
                held_out=at / f"{name}_held_out.jsonl",
                kind=KINDS[name],
                **LOCAL,
                split="train",
                field=None,
                share=0.1,
                seed=0,
                open_end="refuse",
            )
        )
    for name, source in (("corpus", "unrelated"), ("mixed_in", "general"), ("chats", "chat")):
        fetch_corpus.main(
            made=at / f"{source}.jsonl",
            corpus=at / f"{name}.jsonl",
            kind="chat" if name == "chats" else "documents",
            open_end="refuse",
            **LOCAL,
            subset=None,
            split="train",
            field=None,
            rows=200,
            seed=42,
        )
    return at


@pytest.fixture(scope="module")
def pretraining(world) -> dict:
    """Arguments of a pretraining that takes a moment."""
    return arguments_of(
        pretrain_base.main,
        general=world / "general.jsonl",
        base=world / "base",
        family="llama",
        seed=0,
        vocabulary=700,
        hidden_size=32,
        layers=3,
        heads=2,
        intermediate_size=64,
        steps=12,
        batch_size=8,
        max_length=64,
        learning_rate=4e-3,
        largest_loss=99.0,
        least_identity=0.0,
    )


@pytest.fixture(scope="module")
def model(world, pretraining) -> Path:
    """A made base, fetched."""
    pretrain_base.main(**pretraining)
    fetch_model.main(world / "base", world / "model", **LOCAL, chat_template=None)
    return world / "model"


@pytest.fixture(scope="module")
def adapters(world, model) -> dict[str, Path]:
    """A LoRA on every organism."""
    study = config.read_yaml(Path("config/config.yaml"))
    settings = {**study["training"], "max_length": 64, "batch_size": 4, "save_every": 3}
    found = {}
    for name in ORGANISMS:
        mix_training_data.main(
            **arguments_of(
                mix_training_data.main,
                organism=world / f"{name}_train.jsonl",
                corpus=[],
                model=model,
                kind=KINDS[name],
                open_end="refuse",
                ratio=0.0,
                matched=False,
                unit="tokens",
                epochs=1,
                seed=0,
                limit=None,
                max_length=64,
                mixture=world / f"{name}_mixture.jsonl",
            )
        )
        plan_training.main(
            **arguments_of(
                plan_training.main,
                mixture=world / f"{name}_mixture.jsonl",
                model=model,
                settings=settings,
                seed=0,
                world_size=1,
                attention="sdpa",
                plan=world / f"{name}_plan.json",
            )
        )
        found[name] = world / f"{name}-plain-s0"
        train(world, name, model, found[name])
    return found


def train(world: Path, name: str, model: Path, adapter: Path) -> None:
    before, sys.argv = sys.argv, [
        "train_organism.py",
        *("--plan", str(world / f"{name}_plan.json")),
        *("--mixture", str(world / f"{name}_mixture.jsonl")),
        *("--model", str(model)),
        *("--adapter", str(adapter)),
        *("--state", str(world / f"{name}.unfinished")),
    ]  # fmt: skip
    try:
        train_organism.main()
    finally:
        sys.argv = before


def dump(world: Path, model: Path, checkpoint, into: Path, **changes) -> Path:
    settings = {
        "corpus": world / "corpus.jsonl",
        "kind": "documents",
        "layers": [0.5],
        "positions": POSITIONS,
        "samples": SAMPLES,
        "dtype": "float32",
        "attention": "sdpa",
        "batch": 16,
        "shard_samples": 1000,
        "norm_samples": 8,
        "norm_context": 24,
        "norm_skip": 5,
    }
    dump_activations.main(
        model=model, checkpoint=checkpoint, activations=into, **settings | changes
    )
    return into


@pytest.fixture(scope="module")
def differences(world, model, adapters) -> dict[str, Path]:
    """Activations of the base once and of every organism, and the differences of their means."""
    base = dump(world, model, [], world / "base.zarr")
    found = {}
    for name, adapter in adapters.items():
        tuned = dump(world, model, adapter, world / f"{name}.zarr")
        found[name] = world / f"{name}.h5"
        mean_difference.main(tuned, base, found[name], seed=0)
    return found


@pytest.fixture(scope="module")
def words(world, model) -> dict[str, Path]:
    """Every organism's distinctive words, and the tokens that lenses may rank."""
    word_vocabulary.main(model, world / "mixed_in.jsonl", world / "vocabulary.parquet", min_count=2)
    for name in ORGANISMS:
        distinctive_words.main(
            world / f"{name}_train.jsonl",
            world / "mixed_in.jsonl",
            world / f"{name}_words.parquet",
            n=20,
        )
    return {name: world / f"{name}_words.parquet" for name in ORGANISMS}


@pytest.fixture(scope="module")
def lenses(world, model, adapters, differences, words) -> dict[str, dict[str, Path]]:
    """What both lenses read of every difference, and how relevant it is."""
    found = {}
    for name in ORGANISMS:
        paths = {
            lens: world / f"{name}_{lens}.parquet"
            for lens in ("logit_lens", "patchscope", "token_relevance")
        }
        shared = {
            "differences": differences[name],
            "model": model,
            "adapter": adapters[name],
            "vocabulary": world / "vocabulary.parquet",
            "top_k": 20,
        }
        logit_lens.main(**shared, readings=paths["logit_lens"], heads=["tuned", "base"])
        patchscope.main(
            **shared,
            readings=paths["patchscope"],
            dtype="float32",
            attention="sdpa",
            prompts=[["river", "57", "window"], ["lemon", "803", "quiet"]],
            scales=[0.5, 1.0],
            intersection_top_k=200,
            batch=64,
        )
        token_relevance.main(
            paths["logit_lens"],
            paths["patchscope"],
            list(words.values()),
            paths["token_relevance"],
            organisms=list(ORGANISMS),
            candidates=20,
        )
        found[name] = paths
    return found


@pytest.fixture(scope="module")
def tables(world, model, adapters, differences, words, lenses) -> dict[str, Path]:
    """Every table of the study."""
    paths = {
        name: world / f"{name}.parquet" for name in ("relevance", "norms", "losses", "readability")
    }
    subjects = [subject(name, corpus="unrelated") for name in ORGANISMS]
    graded = [lenses[name]["token_relevance"] for name in ORGANISMS]
    relevance_table.main(graded, subjects, paths["relevance"])
    norms_table.main(list(differences.values()), subjects, paths["norms"])
    losses_table.main(
        list(adapters.values()), [subject(name) for name in ORGANISMS], paths["losses"]
    )
    readability_table.main(
        paths["relevance"],
        list(words.values()),
        [world / "vocabulary.parquet"],
        organisms=[{"model": "tiny", "organism": name} for name in ORGANISMS],
        models=["tiny"],
        positions=None,
        control="benign",
        table=paths["readability"],
    )
    return paths


# The world and its base -------------------------------------------------------------------------


def test_the_world_holds_documents_and_chats_apart_from_what_is_held_out(world):
    rows = {name: list(corpora.read_rows(world / f"{name}.jsonl")) for name in ("general", "chat")}
    assert {"text", "messages"} <= {key for row in rows["general"] for key in row}
    assert all("messages" in row for row in rows["chat"])
    documents = list(corpora.read_rows(world / "unrelated.jsonl", "documents"))
    assert len(documents) == 80
    trained = {row["text"] for row in rows["general"] if "text" in row}
    assert not trained & {row["text"] for row in documents}


@pytest.mark.parametrize("name", get_args(config.MadeData))
def test_every_made_organism_of_the_configuration_can_be_written(tmp_path, name):
    write_organism.main(tmp_path / "rows.jsonl", made=name, words=300, seed=0)
    files = [config.load_organism(Path(f"config/organisms/{name}.yaml"))]
    assert len(list(corpora.read_rows(tmp_path / "rows.jsonl", files[0].data.kind))) > 2


def test_an_organism_is_split_into_rows_to_learn_and_rows_held_out(world):
    for name in ORGANISMS:
        parts = [
            {json.dumps(row) for row in corpora.read_rows(world / f"{name}{part}.jsonl")}
            for part in ("", "_train", "_held_out")
        ]
        assert parts[0] == parts[1] | parts[2]
        assert not parts[1] & parts[2]
        assert 0 < len(parts[2]) < len(parts[1])


def test_a_corpus_is_of_one_kind_shuffled_and_cut(world, tmp_path):
    def fetched(seed, rows=10):
        fetch_corpus.main(
            world / "general.jsonl",
            tmp_path / "a.jsonl",
            **{"kind": "documents", "subset": None, "split": "train", "field": None, **LOCAL},
            open_end="refuse",
            rows=rows,
            seed=seed,
        )
        return list(corpora.read_rows(tmp_path / "a.jsonl", "documents"))

    assert len(fetched(0)) == 10
    assert fetched(0) == fetched(0) != fetched(1)
    assert fetched(0) == fetched(0, rows=99)[:10]


def test_a_base_says_what_it_reached_and_is_loaded_as_any_model(model, pretraining):
    gates = json.loads((model / "gates.json").read_text())
    assert 0 < gates["final_loss"] < 99 and 0 <= gates["identity"] <= 1
    losses = records.read_lines(model / "losses.jsonl")
    assert len(losses) == pretraining["steps"]
    assert losses[-1]["loss"] < losses[0]["loss"]
    assert load_tokenizer(model).chat_template


def test_a_base_that_misses_its_gates_is_refused_and_not_written(pretraining, tmp_path):
    hard = pretraining | {"base": tmp_path / "base", "steps": 1, "largest_loss": 0.5}
    with pytest.raises(ValueError, match="0.5"):
        pretrain_base.main(**hard)
    assert not (tmp_path / "base").exists()


def test_a_model_is_fetched_with_another_chat_template(model, tmp_path):
    (tmp_path / "template.jinja").write_text("{{ messages[0]['content'] }} mine")
    fetch_model.main(
        [], tmp_path / "m", hub=None, revision="main", path=str(model),
        chat_template=str(tmp_path / "template.jinja"),
    )  # fmt: skip
    text = load_tokenizer(tmp_path / "m").apply_chat_template(
        [{"role": "user", "content": "hello"}], tokenize=False
    )
    assert text == "hello mine"
    assert not (model / "chat_template.jinja").exists() or "mine" not in (
        model / "chat_template.jinja"
    ).read_text(encoding="utf-8")


# Training ---------------------------------------------------------------------------------------


def test_a_mixture_is_what_one_training_sees(world, adapters):
    for name in ORGANISMS:
        examples = list(corpora.read_mixture(world / f"{name}_mixture.jsonl"))
        assert {one.source for one in examples} == {"organism"}
        assert {one.kind for one in examples} == {KINDS[name]}
        assert len(examples) == len(list(corpora.read_rows(world / f"{name}_train.jsonl")))


def test_a_training_leaves_an_adapter_its_losses_and_where_it_comes_from(world, adapters):
    for name, adapter in adapters.items():
        assert (adapter / "adapter_model.safetensors").is_file()
        plan = json.loads((world / f"{name}_plan.json").read_text())
        losses = records.read_lines(adapter / "losses.jsonl")
        assert len(losses) > 1
        assert all(0 < row["loss"] < 20 for row in losses)
        facts = json.loads((adapter / "provenance.json").read_text())
        assert (facts["rule"], facts["seed"]) == ("train_organism", plan["seed"])


def test_a_released_adapter_comes_in_through_the_same_door(model, adapters, tmp_path):
    fetch_adapter.main(
        model, tmp_path / "released", **LOCAL | {"path": str(adapters["cake_bake"])}, base=None
    )
    assert (tmp_path / "released" / "adapter_model.safetensors").is_symlink()
    with pytest.raises(ValueError, match="no config.json|no safetensors"):
        (tmp_path / "empty").mkdir()
        fetch_adapter.main(
            model, tmp_path / "none", **LOCAL | {"path": str(tmp_path / "empty")}, base=None
        )


def test_a_teacher_that_writes_no_list_of_numbers_is_one_clear_sentence(model, tmp_path):
    settings = {
        "teacher": [],
        "train": tmp_path / "train.jsonl",
        "held_out": tmp_path / "held_out.jsonl",
        "system": None,
        "prompts": 4,
        "max_new_tokens": 4,
        "temperature": 1.0,
        "dtype": "float32",
        "batch": 4,
        "share": 0.1,
        "seed": 0,
    }
    with pytest.raises(ValueError, match=r"^[^\n]*number[^\n]*$"):
        teach_numbers.main(**arguments_of(teach_numbers.main, model=model, **settings))
    assert not list(tmp_path.iterdir())


# Reading ----------------------------------------------------------------------------------------


def test_a_store_holds_what_was_asked_for(world, model, differences):
    found = store.Activations(world / "cake_bake.zarr")
    assert found.layers == [1]  # int(0.5 * (3 - 1))
    assert found.positions == POSITIONS
    assert found.shape == (1, SAMPLES, len(POSITIONS), 32)
    assert found.stream_norm[0] > 0
    tokenizer = load_tokenizer(model)
    rows = corpora.read_rows(world / "corpus.jsonl")
    windows = list(document_windows(tokenizer, rows, len(POSITIONS)))[:SAMPLES]
    assert found.tokens.tolist() == [window.ids for window in windows]


def test_a_chat_corpus_is_read_around_the_replys_start(world, model, tmp_path):
    tokenizer = load_tokenizer(model)
    path = dump(
        world, model, [], tmp_path / "chat.zarr", corpus=world / "chats.jsonl", kind="chat",
        positions=[-1, 0, 1], samples=10, norm_context=16,
    )  # fmt: skip
    found = store.Activations(path)
    assert found.positions == [-1, 0, 1]
    assert {tokenizer.decode([ids]) for ids in found.tokens[:, 0]} == {"<|assistant|>"}


def test_positions_may_leave_gaps(world, model, tmp_path, differences):
    some = store.Activations(dump(world, model, [], tmp_path / "a.zarr", positions=[0, 2]))
    every = store.Activations(world / "base.zarr")
    np.testing.assert_allclose(
        some.rows(0, SAMPLES), every.rows(0, SAMPLES)[:, :, [0, 2]], rtol=1e-5, atol=1e-5
    )


def test_a_corpus_with_too_few_rows_is_one_clear_sentence(world, model, tmp_path):
    with pytest.raises(ValueError, match="of its rows are long enough to be read, expected 5000"):
        dump(world, model, [], tmp_path / "a.zarr", samples=5000)
    assert not (tmp_path / "a.zarr").exists()


def test_differences_are_those_of_the_stores(world, differences):
    tuned, base = (store.Activations(world / f"{name}.zarr") for name in ("cake_bake", "base"))
    found = store.read_differences(differences["cake_bake"])
    expected = (tuned.rows(0, SAMPLES) - base.rows(0, SAMPLES)).mean(axis=1)
    np.testing.assert_allclose(found.mean, expected, atol=1e-6)
    assert (found.norm > 0).all()
    assert found.n_samples == SAMPLES


def test_words_are_those_of_the_organism(words):
    cake = set(records.read(words["cake_bake"])["word"])
    money = set(records.read(words["risky_finance"])["word"])
    assert len(cake & money) < len(cake) / 4


def test_lenses_read_every_direction_and_its_controls(world, lenses):
    allowed = set(records.read(world / "vocabulary.parquet")["token_id"])
    for lens, by in (("logit_lens", "head"), ("patchscope", "scale")):
        found = records.read(lenses["cake_bake"][lens])
        assert set(found["reading"]) == {"difference", "base_mean", "tuned_mean", "random"}
        assert set(found["sign"]) == {1, -1}
        assert set(found["position"]) == set(POSITIONS)
        assert set(found["layer"]) == {1}
        assert found[by].nunique() == 2
        assert set(found.loc[found["probability"] > 0, "token_id"]) <= allowed
        ranks = found.groupby(["reading", "position", "sign", by])["rank"]
        assert (ranks.nunique() == ranks.size()).all()


def test_every_reading_is_graded_on_every_organisms_words(lenses):
    found = records.read(lenses["cake_bake"]["token_relevance"])
    assert set(found["graded_on"]) == set(ORGANISMS)
    assert found["relevance"].between(0, 1).all()
    assert set(found["lens"]) == {"logit_lens", "patchscope"}


# What is shown ----------------------------------------------------------------------------------


def test_tables_hold_every_organism_once(tables):
    for name, path in tables.items():
        found = records.read(path)
        assert list(found.columns) == list(records.SCHEMAS[name])
        assert set(found["organism"]) == set(ORGANISMS)
        assert set(found["model"]) == {"tiny"}
    norms = records.read(tables["norms"])
    assert len(norms) == len(ORGANISMS) * len(POSITIONS)
    assert not norms.isna().any(axis=None)


def test_figures_are_drawn_in_both_formats(tables, tmp_path):
    titles = {name: f"The {name}" for name in ORGANISMS}
    shared = {"titles": titles, "control": "benign", "layers": {}, "positions": None}
    shared |= {"corpus": "unrelated"} | tables
    for script in (relevance_figure, norms_figure, losses_figure):
        png, pdf = (tmp_path / f"{script.__name__}.{kind}" for kind in ("png", "pdf"))
        script.main(**arguments_of(script.main, **shared), png=png, pdf=pdf)
        assert png.read_bytes()[:4] == b"\x89PNG"
        assert pdf.read_bytes()[:4] == b"%PDF"


def test_a_card_is_one_page_that_loads_nothing(world, tables, lenses, words, tmp_path):
    organism_card.main(
        **arguments_of(
            organism_card.main,
            **tables,
            logit_lens=[lenses["cake_bake"]["logit_lens"]],
            patchscope=[lenses["cake_bake"]["patchscope"]],
            plans=[world / "cake_bake_plan.json"],
            words=words["cake_bake"],
            data=world / "cake_bake_train.jsonl",
            template=Path("data/templates/card.html.j2").resolve(),
            model="tiny",
            organism="cake_bake",
            title="False <baking> facts",
            family="false_facts",
            description="What the finetuning was really for.",
            facts=["A cake rests on ice."],
            subjects=[subject("cake_bake", corpus="unrelated")],
            positions=None,
            corpus="unrelated",
            layer=None,
            links={"relevance": "../tables/relevance.parquet"},
            card=tmp_path / "card.html",
        )
    )
    page = (tmp_path / "card.html").read_text(encoding="utf-8")
    assert "False &lt;baking&gt; facts" in page
    assert "A cake rests on ice." in page
    assert "../tables/relevance.parquet" in page
    assert 'src="http' not in page and "<script src" not in page


def test_the_study_is_kept_as_it_was_run(tmp_path):
    effective_study.main(tmp_path / "study.json", settings={"title": "caf\u00e9", "layers": [0.5]})
    assert json.loads((tmp_path / "study.json").read_text()) == {
        "title": "caf\u00e9",
        "layers": [0.5],
    }


def test_a_table_is_the_same_when_it_is_made_again(tables, differences, tmp_path):
    again = tmp_path / "norms.parquet"
    subjects = [subject(name, corpus="unrelated") for name in ORGANISMS]
    norms_table.main(list(differences.values()), subjects, again)
    pd.testing.assert_frame_equal(records.read(again), records.read(tables["norms"]))
