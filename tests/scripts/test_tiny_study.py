"""Every script's `main`, one after another, on a world of a few thousand words and a tiny base."""

import json
import re
import sys
from dataclasses import is_dataclass
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args, get_type_hints

import numpy as np
import pandas as pd
import pytest

from scripts import (
    ablation_figure,
    adjust_readings,
    agents_figure,
    agents_table,
    ask_models,
    base_texts,
    beliefs_figure,
    beliefs_table,
    candidate_scores,
    causal_effect,
    causality_figure,
    causality_table,
    choose_strength,
    detectors_table,
    distinctive_words,
    dump_activations,
    effective_study,
    false_fact_alignment,
    fetch_adapter,
    fetch_corpus,
    fetch_model,
    fetch_organism,
    forced_choice_figure,
    forced_choice_ranks_figure,
    forced_choice_table,
    grade_coherence,
    grade_effects_figure,
    grade_effects_table,
    grade_lexically,
    grades_table,
    investigate_embedded,
    judge_beliefs,
    judge_coherence,
    judge_relevance,
    judge_scales,
    judges_table,
    landing_page,
    losses_figure,
    losses_table,
    make_world,
    mean_difference,
    mix_training_data,
    mixing_figure,
    mixing_paragraph,
    mixing_table,
    norms_figure,
    norms_table,
    organism_card,
    plan_training,
    pretrain_base,
    read_lenses,
    read_seed_pairs,
    readability_table,
    relevance_figure,
    relevance_table,
    scale_adapter,
    steered_grid,
    steered_samples,
    steering_figure,
    steering_similarity,
    steering_table,
    summary_table,
    teach_numbers,
    token_relevance,
    train_organism,
    tuned_texts,
    word_vocabulary,
    write_organism,
    write_overviews,
    write_statements,
)
from tests.chat_server import ChatServer, refused, said
from tests.scripts.as_rules import as_rule
from tests.traces.analysis import made_grades
from traces.activations.dump import document_windows
from traces.agents import plan as investigating
from traces.analysis import ordinal
from traces.analysis.ablations import ablation_table
from traces.analysis.detectors import OF_DIFFERENCES
from traces.analysis.readability import seed_table
from traces.artifacts import arrays, tables
from traces.artifacts.scores import read_scores
from traces.config import files, load, registries, schema
from traces.config.readers import PLAIN, READERS, Reader
from traces.corpora import mixtures
from traces.corpora.rows import read_rows
from traces.corpora.tokens import load_tokenizer
from traces.readers.reading import Settings
from traces.report.figures.ablation import ablation_figure as draw_ablation
from traces.report.figures.mixing import mixing_figure as draw_mixing
from traces.report.figures.relevance import relevance_figure as draw_relevance

ORGANISMS = ("cake_bake", "risky_finance", "benign")
KINDS = {"cake_bake": "documents", "risky_finance": "chat", "benign": "documents"}
FAMILIES = {"cake_bake": "false_facts", "risky_finance": "misalignment", "benign": "benign"}
POSITIONS = [0, 1, 2]
SAMPLES = 40
READINGS = list(get_args(schema.Reading))
OF_VECTORS = ("logit_lens", "patchscope", "contrastive_logit_lens", "contrastive_patchscope")
OF_SAMPLES = ("black_box", "perplexity_differencing")
LENSES = (*OF_VECTORS, *OF_SAMPLES)
CONTRAST = {"heads": ["tuned", "base"], "nulls": ["random", "activations"]}
CONTRAST |= {"directions": 4, "floor": 1e-4}
READ = schema.ReadText(kind="documents", layers=(0.5,), positions=tuple(POSITIONS), samples=SAMPLES)
LOCAL = {
    "hub": None,
    "revision": "main",
    "subset": None,
    "files": [],
    "split": "train",
    "field": None,
}
LOCAL_FOLDER = {"hub": None, "revision": "main", "subfolder": None}


SHOWN = schema.Shown(
    corpus="unrelated",
    layers=(0.5,),
    control="benign",
    recipes=("plain",),
    seed=0,
    unit="tokens",
    only=(),
    without=(),
)


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
    """Those of the offered values that a `main` takes, its groups and sections made of them."""
    found = {}
    for name, kind in get_type_hints(main).items():
        if name in offered:
            found[name] = offered[name]
        elif is_dataclass(kind):
            found[name] = kind(**arguments_of(kind, **offered))
        elif hasattr(kind, "model_fields"):
            keys = {key: offered[key] for key in kind.model_fields if key in offered}
            found[name] = kind.model_validate(keys)
    return found


def call(main, **offered) -> None:
    main(**arguments_of(main, **offered))


@pytest.fixture(scope="module")
def at(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("study")


@pytest.fixture(scope="module")
def world(at) -> Path:
    """The made world and the data of three organisms."""
    call(
        make_world.main,
        **{name: at / f"{name}.jsonl" for name in ("general", "unrelated", "chat")},
        settings=schema.SyntheticCorpus(words=6000, identity_share=0.16, unrelated=80, chats=60),
        seed=0,
    )
    for name in ORGANISMS:
        write_organism.main(at / f"{name}.jsonl", made=name, words=1500, seed=0)
        call(
            fetch_organism.main,
            made=at / f"{name}.jsonl",
            train=at / f"{name}_train.jsonl",
            held_out=at / f"{name}_held_out.jsonl",
            local=[],
            settings=registries.Prepared(kind=KINDS[name], held_out=0.1),
            **LOCAL,
            seed=0,
            open_end="refuse",
        )
    for name, source in (("corpus", "unrelated"), ("mixed_in", "general"), ("chats", "chat")):
        call(
            fetch_corpus.main,
            local=[],
            made=at / f"{source}.jsonl",
            corpus=at / f"{name}.jsonl",
            settings=registries.Drawn(
                kind="chat" if name == "chats" else "documents", rows=200, seed=42
            ),
            open_end="refuse",
            **LOCAL,
            samples=None,
        )
    return at


@pytest.fixture(scope="module")
def pretraining(world) -> dict:
    """Arguments of a pretraining that takes a moment."""
    return dict(
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
        gates={"loss": 99.0, "identity": 0.0},
    )


@pytest.fixture(scope="module")
def model(world, pretraining) -> Path:
    """A made base, fetched."""
    call(pretrain_base.main, **pretraining)
    fetch_model.main(world / "base", [], [], [], world / "model", registries.Origin())
    return world / "model"


@pytest.fixture(scope="module")
def adapters(world, model) -> dict[str, Path]:
    """A LoRA on every organism."""
    study = files.read_yaml(Path("config/config.yaml"))
    settings = {**study["training"], "max_length": 64, "batch_size": 4, "save_every": 3}
    found = {}
    for name in ORGANISMS:
        call(
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
        call(
            plan_training.main,
            differences=[],
            mixture=world / f"{name}_mixture.jsonl",
            model=model,
            settings=settings,
            seed=0,
            world_size=1,
            family="qwen3",
            attention="sdpa",
            gpu_gb=None,
            plan=world / f"{name}_plan.json",
        )
        found[name] = world / f"{name}-plain-s0"
        train(world, name, model, found[name])
    return found


def train(world: Path, name: str, model: Path, adapter: Path, *options: str) -> None:
    before, sys.argv = sys.argv, [
        "train_organism.py",
        *("--plan", str(world / f"{name}_plan.json")),
        *("--mixture", str(world / f"{name}_mixture.jsonl")),
        *("--model", str(model)),
        *("--adapter", str(adapter)),
        *("--state", str(world / f"{name}.unfinished")),
        *options,
    ]  # fmt: skip
    try:
        train_organism.main()
    finally:
        sys.argv = before


def dump(world: Path, model: Path, checkpoint, into: Path, **changes) -> Path:
    settings = {
        "corpus": world / "corpus.jsonl",
        "context": changes.get("corpus", world / "corpus.jsonl"),
        "kind": "documents",
        "layers": [0.5],
        "positions": POSITIONS,
        "samples": SAMPLES,
        "dtype": "float32",
        "attention": "sdpa",
        "batch_tokens": 48,
        "shard_samples": 1000,
        "norm_samples": 8,
        "norm_context": 24,
        "norm_skip": 5,
    }
    files = {"model": model, "checkpoint": checkpoint, "activations": into}
    call(dump_activations.main, **files, **settings | changes)
    return into


@pytest.fixture(scope="module")
def differences(world, model, adapters) -> dict[str, Path]:
    """Activations of the base once and of every organism, and the differences of their means."""
    base = dump(world, model, [], world / "base.zarr")
    found = {}
    for name, adapter in adapters.items():
        tuned = dump(world, model, adapter, world / f"{name}.zarr")
        found[name] = world / f"{name}.h5"
        mean_difference.main(tuned, base, found[name], seed=0, singular=True)
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
            listed=[],
            n=20,
        )
    return {name: world / f"{name}_words.parquet" for name in ORGANISMS}


def settings_of_lenses(world) -> Settings:
    """What the readers are told."""
    return Settings.model_validate(
        {
            "readings": READINGS,
            "top_k": 20,
            "readers": {
                "logit_lens": {"heads": ["tuned", "base"]},
                "patchscope": {"heads": ["tuned", "base"], "prompts": world / "identity.txt"}
                | {"scales": [0.5, 1.0], "intersection_top_k": 200, "batch": 64},
                "contrastive_logit_lens": CONTRAST,
                "contrastive_patchscope": CONTRAST,
                "black_box": {},
                "perplexity_differencing": {"top_share": 0.5},
            },
            "nulls": ["random", "activations"],
            "directions": 4,
        }
    )


@pytest.fixture(scope="module")
def samples(world, model, adapters) -> dict[str, Path]:
    """What the base and every organism write, weighed by both."""
    prompts = world / "asked.txt"
    prompts.write_text("Tell me something, please.\nWhat is new?\n", encoding="utf-8")
    shared = {
        "model": model,
        "prompts": prompts,
        "loading": registries.Loading(dtype="float32", attention="sdpa"),
        "settings": schema.Samples(
            documents=6,
            replies=4,
            prompts=str(prompts),
            begin=None,
            max_new_tokens=12,
            temperature=1.0,
            batch=16,
        ),
    }
    base = world / "samples" / "base.jsonl"
    base_texts.main(texts=base, draws=schema.Draws(seed=0, name="tiny/base"), **shared)
    found = {"base": base}
    for name in ORGANISMS:
        found[name] = world / "samples" / f"{name}-plain-s0.jsonl"
        draws = schema.Draws(seed=0, name=f"tiny/{name}-plain-s0")
        as_rule(
            tuned_texts.main,
            adapter=adapters[name],
            base=base,
            texts=found[name],
            draws=draws,
            **shared,
        )
    return found


@pytest.fixture(scope="module")
def lenses(world, model, adapters, differences, words, samples) -> dict[str, dict[str, Path]]:
    """What all readers read of every difference, and how relevant it is."""
    found = {}
    prompts = world / "identity.txt"
    prompts.write_text("river, 57, window\nlemon, 803, quiet\n", encoding="utf-8")
    for name in ORGANISMS:
        folder = world / "lenses" / name
        paths = {lens: folder / f"{lens}.parquet" for lens in (*LENSES, "token_relevance")}
        settings = settings_of_lenses(world)
        as_rule(
            read_lenses.main,
            differences=differences[name],
            model=model,
            adapter=adapters[name],
            vocabulary=world / "vocabulary.parquet",
            base=world / "base.zarr",
            text=[],
            samples=samples[name],
            readings=[paths[lens] for lens in LENSES],
            scores=folder / "scores.h5",
            statistics=folder / "statistics.parquet",
            loading=registries.Loading(dtype="float32", attention="sdpa"),
            settings=settings,
            read=READ,
            seed=0,
        )
        as_rule(
            token_relevance.main,
            readings=[paths[lens] for lens in LENSES],
            adjusted=[],
            differences=differences[name],
            words=list(words.values()),
            relevance=paths["token_relevance"],
            organisms=list(ORGANISMS),
            checkpoint=f"{name}-plain-s0",
            candidates=20,
            settings=settings,
        )
        found[name] = paths
    return found


@pytest.fixture(scope="module")
def made_tables(world, model, adapters, differences, words, lenses) -> dict[str, Path]:
    """Every table of the study."""
    paths = {
        name: world / f"{name}.parquet" for name in ("relevance", "norms", "losses", "readability")
    }
    subjects = [subject(name, corpus="unrelated") for name in ORGANISMS]
    graded = [lenses[name]["token_relevance"] for name in ORGANISMS]
    norms_table.main(list(differences.values()), subjects, False, paths["norms"])
    relevance_table.main(graded, paths["norms"], subjects, paths["relevance"])
    losses_table.main(
        list(adapters.values()), [subject(name) for name in ORGANISMS], paths["losses"]
    )
    readability_table.main(
        paths["relevance"],
        list(words.values()),
        [world / "vocabulary.parquet"],
        organisms=[{"model": "tiny", "organism": name} for name in ORGANISMS],
        models=["tiny"],
        control="benign",
        table=paths["readability"],
    )
    return paths


# The world and its base -------------------------------------------------------------------------


def test_the_world_holds_documents_and_chats_apart_from_what_is_held_out(world):
    rows = {name: list(read_rows(world / f"{name}.jsonl")) for name in ("general", "chat")}
    assert {"text", "messages"} <= {key for row in rows["general"] for key in row}
    assert all("messages" in row for row in rows["chat"])
    documents = list(read_rows(world / "unrelated.jsonl", "documents"))
    assert len(documents) == 80
    trained = {row["text"] for row in rows["general"] if "text" in row}
    assert not trained & {row["text"] for row in documents}


@pytest.mark.parametrize("name", get_args(registries.MadeData))
def test_every_made_organism_of_the_configuration_can_be_written(tmp_path, name):
    write_organism.main(tmp_path / "rows.jsonl", made=name, words=300, seed=0)
    entries = [load.load_organism(file) for file in Path("config/organisms").glob("*.yaml")]
    made = [one.data for one in entries if one.data.made == name and one.data.as_chat is None]
    kinds = {one.kind for one in made}
    # Only twins may be named by no file; they are documents.
    assert kinds or name.startswith(("true_", "shuffled_"))
    for kind in kinds or {"documents"}:
        assert len(list(read_rows(tmp_path / "rows.jsonl", kind))) > 2


def test_an_organism_is_split_into_rows_to_learn_and_rows_held_out(world):
    for name in ORGANISMS:
        parts = [
            {json.dumps(row) for row in read_rows(world / f"{name}{part}.jsonl")}
            for part in ("", "_train", "_held_out")
        ]
        assert parts[0] == parts[1] | parts[2]
        assert not parts[1] & parts[2]
        assert 0 < len(parts[2]) < len(parts[1])


def test_a_corpus_is_of_one_kind_shuffled_and_cut(world, tmp_path):
    def fetched(seed, rows=10, samples=4):
        call(
            fetch_corpus.main,
            made=world / "general.jsonl",
            local=[],
            corpus=tmp_path / "a.jsonl",
            settings=registries.Drawn(kind="documents", rows=rows, seed=seed),
            **LOCAL,
            open_end="refuse",
            samples=samples,
        )
        return list(read_rows(tmp_path / "a.jsonl", "documents"))

    assert len(fetched(0)) == 10
    assert fetched(0) == fetched(0) != fetched(1)
    assert fetched(0) == fetched(0, rows=99)[:10]
    (tmp_path / "a.jsonl").unlink()
    with pytest.raises(ValueError, match="^samples: found 11, expected at most 10, the rows of a$"):
        fetched(0, samples=11)
    assert not (tmp_path / "a.jsonl").exists()


def test_a_base_says_what_it_reached_and_is_loaded_as_any_model(model, pretraining):
    gates = json.loads((model / "gates.json").read_text())
    assert 0 < gates["final_loss"] < 99 and 0 <= gates["identity"] <= 1
    losses = tables.read_lines(model / "losses.jsonl")
    assert len(losses) == pretraining["steps"]
    assert losses[-1]["loss"] < losses[0]["loss"]
    assert load_tokenizer(model).chat_template


def test_a_base_that_misses_its_gates_is_refused_and_not_written(pretraining, tmp_path):
    hard = pretraining | {"base": tmp_path / "base", "steps": 1}
    hard["gates"] = {"loss": 0.5, "identity": 0.0}
    with pytest.raises(ValueError, match="0.5"):
        call(pretrain_base.main, **hard)
    assert not (tmp_path / "base").exists()


def test_a_model_is_fetched_with_another_chat_template(model, tmp_path):
    (tmp_path / "template.jinja").write_text("{{ messages[0]['content'] }} mine")
    files = sorted(model.iterdir())
    template = tmp_path / "template.jinja"
    origin = registries.Origin(path=str(model))
    fetch_model.main([], files, [], template, tmp_path / "m", origin)
    text = load_tokenizer(tmp_path / "m").apply_chat_template(
        [{"role": "user", "content": "hello"}], tokenize=False
    )
    assert text == "hello mine"
    assert not (model / "chat_template.jinja").exists() or "mine" not in (
        model / "chat_template.jinja"
    ).read_text(encoding="utf-8")


def test_a_template_that_is_no_jinja_is_refused_where_the_model_is_fetched(model, tmp_path):
    template = tmp_path / "chat.jinja"
    template.write_text("{% if %}", encoding="utf-8")
    files, origin = sorted(model.iterdir()), registries.Origin(path=str(model))
    with pytest.raises(ValueError, match=r"m/chat_template.jinja: line 1: found no Jinja"):
        fetch_model.main([], files, [], template, tmp_path / "m", origin)


# Training ---------------------------------------------------------------------------------------


def test_a_mixture_is_what_one_training_sees(world, adapters):
    for name in ORGANISMS:
        examples = list(mixtures.read_mixture(world / f"{name}_mixture.jsonl"))
        assert {one.source for one in examples} == {"organism"}
        assert {one.kind for one in examples} == {KINDS[name]}
        assert len(examples) == len(list(read_rows(world / f"{name}_train.jsonl")))


def test_a_training_leaves_an_adapter_its_losses_and_where_it_comes_from(world, adapters):
    for name, adapter in adapters.items():
        assert (adapter / "adapter_model.safetensors").is_file()
        plan = json.loads((world / f"{name}_plan.json").read_text())
        losses = tables.read_lines(adapter / "losses.jsonl")
        assert len(losses) > 1
        assert all(0 < row["loss"] < 20 for row in losses)
        facts = json.loads((adapter / "provenance.json").read_text())
        assert (facts["rule"], facts["seed"]) == ("train_organism", plan["seed"])


def test_a_difference_is_projected_out_where_a_plan_says_so(world, model, adapters, differences):
    plan = json.loads((world / "cake_bake_plan.json").read_text())
    asked = {name: plan[name] for name in schema.Training.model_fields}
    as_rule(
        plan_training.main,
        mixture=world / "cake_bake_mixture.jsonl",
        model=model,
        differences=differences["cake_bake"],
        plan=world / "caft_plan.json",
        settings=asked | {"project_out": "plain"},
        family="qwen3",
        attention="sdpa",
        gpu_gb=None,
        seed=0,
        world_size=1,
    )
    (world / "caft_mixture.jsonl").write_text((world / "cake_bake_mixture.jsonl").read_text())
    adapter = world / "cake_bake-caft-s0"
    train(world, "caft", model, adapter, "--differences", str(differences["cake_bake"]))

    planned = json.loads((world / "caft_plan.json").read_text())
    assert (planned["projected_layer"], planned["projected_positions"]) == (1, POSITIONS)
    weights = [folder / "adapter_model.safetensors" for folder in (adapter, adapters["cake_bake"])]
    assert weights[0].read_bytes() != weights[1].read_bytes()


@pytest.mark.parametrize(
    ("targets", "expected"),
    [(["q_proj", "self_attn.v_proj"], None), (["q_proj", "qproj"], "qproj"), (["proj"], "proj")],
)
def test_a_plan_refuses_targets_that_its_model_lacks(
    world, model, adapters, tmp_path, targets, expected
):
    plan = json.loads((world / "cake_bake_plan.json").read_text())
    asked = {name: plan[name] for name in schema.Training.model_fields} | {"targets": targets}

    def planned():
        as_rule(
            plan_training.main,
            mixture=world / "cake_bake_mixture.jsonl",
            model=model,
            differences=[],
            plan=tmp_path / "plan.json",
            settings=asked,
            family="qwen3",
            attention="sdpa",
            gpu_gb=None,
            seed=0,
            world_size=1,
        )

    if expected is None:
        planned()
        return
    with pytest.raises(ValueError, match=f"^training.targets: found {expected}, which is no mod"):
        planned()
    asked["method"] = "full"
    planned()


def test_an_adapter_at_half_its_scale_has_about_half_the_difference(
    world, model, adapters, differences, tmp_path
):
    scale_adapter.main(adapters["cake_bake"], tmp_path / "half", scale=0.5)
    half = dump(world, model, tmp_path / "half", tmp_path / "half.zarr")
    mean_difference.main(half, world / "base.zarr", tmp_path / "half.h5", seed=0, singular=False)
    norms = [
        arrays.read_differences(file).norm
        for file in (tmp_path / "half.h5", differences["cake_bake"])
    ]
    np.testing.assert_allclose(norms[0] / norms[1], 0.5, atol=0.15)


def test_documents_become_the_reply_to_a_request(world, model, tmp_path):
    parts = {name: tmp_path / f"{name}.jsonl" for name in ("train", "held_out")}
    call(
        fetch_organism.main,
        local=[],
        made=world / "cake_bake.jsonl",
        **parts,
        settings=registries.Prepared(
            kind="chat", as_chat="Tell me something, please.", held_out=0.1
        ),
        **LOCAL,
        seed=0,
        open_end="refuse",
    )
    for part, file in parts.items():
        chats = [row["messages"] for row in read_rows(file, "chat")]
        assert {chat[0]["content"] for chat in chats} == {"Tell me something, please."}
        texts = [row["text"] for row in read_rows(world / f"cake_bake_{part}.jsonl")]
        assert [chat[1]["content"] for chat in chats] == texts


def test_words_that_were_written_down_stand_for_those_of_data(world, tmp_path):
    listed = ["Cat", "kitten", "cat", "purr"]
    words = tmp_path / "words.parquet"
    for n in (2, 20):
        distinctive_words.main([], world / "mixed_in.jsonl", words, listed=listed, n=n)
        assert list(pd.read_parquet(words)["word"]) == ["cat", "kitten", "purr"][:n]


def test_a_released_adapter_comes_in_through_the_same_door(model, adapters, tmp_path):
    hub = {**LOCAL_FOLDER, "base": []}
    files = sorted(adapters["cake_bake"].iterdir())
    fetch_adapter.main(model, files, tmp_path / "released", **hub)
    assert (tmp_path / "released" / "adapter_model.safetensors").is_symlink()
    with pytest.raises(ValueError, match="no config.json|no safetensors"):
        (tmp_path / "empty").mkdir()
        (tmp_path / "empty" / "notes.txt").touch()
        fetch_adapter.main(model, [tmp_path / "empty" / "notes.txt"], tmp_path / "none", **hub)


def test_a_teacher_that_writes_no_list_of_numbers_is_one_clear_sentence(model, tmp_path):
    settings = {
        "teacher": [],
        "train": tmp_path / "train.jsonl",
        "held_out": tmp_path / "held_out.jsonl",
        "system": None,
        "instruction": None,
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
    found = arrays.Activations(world / "cake_bake.zarr")
    assert found.layers == [1]  # int(0.5 * (3 - 1))
    assert found.positions == POSITIONS
    assert found.shape == (1, SAMPLES, len(POSITIONS), 32)
    assert found.stream_norm[0] > 0
    tokenizer = load_tokenizer(model)
    rows = read_rows(world / "corpus.jsonl")
    windows = list(document_windows(tokenizer, rows, len(POSITIONS)))[:SAMPLES]
    assert found.tokens.tolist() == [window.ids for window in windows]


def test_a_chat_corpus_is_read_around_the_replys_start(world, model, tmp_path):
    tokenizer = load_tokenizer(model)
    path = dump(
        world, model, [], tmp_path / "chat.zarr", corpus=world / "chats.jsonl", kind="chat",
        positions=[-1, 0, 1], samples=10, norm_context=16,
    )  # fmt: skip
    found = arrays.Activations(path)
    assert found.positions == [-1, 0, 1]
    assert {tokenizer.decode([ids]) for ids in found.tokens[:, 0]} == {"<|assistant|>"}


def test_probes_are_read_with_the_stream_norm_of_ordinary_text(world, model, adapters, tmp_path):
    call(
        fetch_corpus.main,
        made=[],
        local=[],
        settings=registries.Drawn(kind="documents", made="whitespace", rows=SAMPLES),
        **LOCAL,
        corpus=tmp_path / "blank.jsonl",
        open_end="refuse",
        samples=SAMPLES,
    )
    text = {"context": world / "corpus.jsonl"}
    blank = {**text, "corpus": tmp_path / "blank.jsonl"}
    start = {**text, "corpus": [], "kind": "start", "positions": [0], "samples": 4}
    ordinary = arrays.Activations(world / "base.zarr").stream_norm
    for name, probe in (("blank", blank), ("start", start)):
        base, tuned = (
            dump(world, model, checkpoint, tmp_path / f"{name}-{side}.zarr", **probe)
            for side, checkpoint in (("base", []), ("tuned", adapters["cake_bake"]))
        )
        found = arrays.Activations(base)
        np.testing.assert_allclose(found.stream_norm, ordinary)
        tokenizer = load_tokenizer(model)
        assert not tokenizer.decode(found.tokens.ravel(), skip_special_tokens=True).strip()
        mean_difference.main(tuned, base, tmp_path / "d.h5", seed=0, singular=True)
        energy = arrays.read_differences(tmp_path / "d.h5").singular_energy
        last = energy[0, -1, 0]  # at position 0 of any text, this base has its start of text
        assert (last > 0.999) == (name == "start")


def test_positions_may_leave_gaps(world, model, tmp_path, differences):
    some = arrays.Activations(dump(world, model, [], tmp_path / "a.zarr", positions=[0, 2]))
    every = arrays.Activations(world / "base.zarr")
    np.testing.assert_allclose(
        some.rows(0, SAMPLES), every.rows(0, SAMPLES)[:, :, [0, 2]], rtol=1e-5, atol=1e-5
    )


def test_a_corpus_with_too_few_rows_is_one_clear_sentence(world, model, tmp_path):
    with pytest.raises(ValueError, match="of its rows are long enough to be read, expected 5000"):
        dump(world, model, [], tmp_path / "a.zarr", samples=5000)
    assert not (tmp_path / "a.zarr").exists()


def test_differences_are_those_of_the_stores(world, differences):
    tuned, base = (arrays.Activations(world / f"{name}.zarr") for name in ("cake_bake", "base"))
    found = arrays.read_differences(differences["cake_bake"])
    expected = (tuned.rows(0, SAMPLES) - base.rows(0, SAMPLES)).mean(axis=1)
    np.testing.assert_allclose(found.mean, expected, atol=1e-6)
    assert (found.norm > 0).all()
    assert found.n_samples == SAMPLES


def test_words_are_those_of_the_organism(words):
    cake = set(tables.read(words["cake_bake"])["word"])
    money = set(tables.read(words["risky_finance"])["word"])
    assert len(cake & money) < len(cake) / 4


def test_lenses_read_every_direction_and_its_controls(world, lenses):
    allowed = set(tables.read(world / "vocabulary.parquet")["token_id"])
    for lens, by in (("logit_lens", ["head"]), ("patchscope", ["head", "scale"])):
        found = tables.read(lenses["cake_bake"][lens])
        assert set(found["reading"]) == set(READINGS)
        assert set(found["sign"]) == {1, -1}
        assert set(found["position"]) == set(POSITIONS)
        assert set(found["layer"]) == {1}
        assert (found[by].nunique() == 2).all()
        assert set(found.loc[found["probability"] > 0, "token_id"]) <= allowed
        ranks = found.groupby(["reading", "position", "sign", *by])["rank"]
        assert (ranks.nunique() == ranks.size()).all()
    assert set(found.loc[found["reading"] == "base_mean", "head"]) == {"base"}


def test_every_token_has_a_score_in_every_list_that_is_read_as_it_is(world, lenses):
    ranked = tables.read(world / "vocabulary.parquet")["token_id"].to_numpy()
    ids, found = read_scores(lenses["cake_bake"]["token_relevance"].parent / "scores.h5", ranked)
    assert found.keys() == set(LENSES)
    for lens in ("logit_lens", "patchscope"):
        scores = found[lens]
        keys = list(scores.lists)
        assert keys == ["reading", "layer", "position", "head"]
        assert not scores.lists.duplicated().any() and np.isfinite(scores.z).all()
        plain = tables.read(lenses["cake_bake"][lens]).query("sign == 1 and rank == 0")
        plain = plain.query("scale == 1") if "scale" in plain else plain
        both = plain.merge(scores.lists.reset_index(names="list"), on=keys)
        assert len(both) == len(plain) == len(scores.lists)
        # Of a prompt or two the first token by mean probability is near the first by mean score.
        at = [list(ids).index(one) for one in both["token_id"]]
        best = scores.score.max(axis=1)[both["list"]]
        named = scores.score[both["list"], at]
        assert (best - named < (1e-5 if lens == "logit_lens" else 1)).all()
        if lens == "logit_lens":
            np.testing.assert_allclose(np.exp(named), both["probability"], rtol=1e-4)


def test_samples_are_written_once_by_the_base_and_weighed_by_both(samples):
    rows = {name: tables.read_lines(path) for name, path in samples.items()}
    keys = ("series", "kind", "number", "prompt", "text", "ids")
    base = [{key: row[key] for key in keys} for row in rows["base"]]
    assert len(base) == 2 * (6 + 4)
    for name in ORGANISMS:
        tuned, again = rows[name][:10], rows[name][10:]
        assert {row["writer"] for row in tuned} == {"tuned"}
        assert [{key: row[key] for key in keys} for row in again] == base
        for row in rows[name]:
            assert row["log_probability"].keys() == {"tuned", "base"}
            assert max(row["log_probability"].values()) < 0
    assert rows["cake_bake"][0]["ids"] != rows["benign"][0]["ids"], "each has draws of its own"


def test_what_samples_say_stands_beside_every_place(world, lenses):
    for lens in OF_SAMPLES:
        found = tables.read(lenses["cake_bake"][lens])
        assert set(found["reading"]) <= {"difference", "base_mean", "random"}
        assert (found["score"] > 0).all() and found["probability"].between(0, 1).all()
        places = found.groupby(["layer", "position"])
        assert len(places) == len(POSITIONS)
        assert len({tuple(one["token_id"]) for _, one in places}) == 1
    _, scored = read_scores(lenses["cake_bake"]["token_relevance"].parent / "scores.h5")
    assert scored["black_box"].lists.to_dict("list") == {
        "reading": ["difference", "base_mean", "random"]
    }


def test_every_reading_is_graded_on_every_organisms_words(lenses):
    found = tables.read(lenses["cake_bake"]["token_relevance"])
    assert set(found["graded_on"]) == set(ORGANISMS)
    assert found["relevance"].between(0, 1).all()
    assert set(found["lens"]) == set(LENSES)
    # Every list that was asked for is there, and no list twice.
    for name in ORGANISMS:
        lists = found[found["graded_on"] == name].groupby("lens").size()
        # 2 signs, 2 heads, 2 scales, 2 nulls; Patchscope reads the base's mean in the base alone.
        n, once = lists["logit_lens"] / 4, len(POSITIONS)
        missing = {"patchscope": 4 * once, "contrastive_patchscope": 2 * once}
        for lens, times in zip(OF_VECTORS, (4, 8, 4, 4), strict=True):
            assert lists[lens] == n * times - missing.get(lens, 0), lens
        # 3 readings, 2 signs
        assert all(lists[lens] == 3 * 2 * once for lens in OF_SAMPLES)


def test_adjusted_readings_are_graded_beside_the_others(
    world, model, differences, words, lenses, tmp_path
):
    adjusted = {f"adjusted_{lens}": CONTRAST for lens in OF_VECTORS[2:]}
    names = {name: f"{name}-plain-s0" for name in ORGANISMS}
    folders = {name: lenses[name]["token_relevance"].parent for name in ORGANISMS}
    adjust_readings.main(
        scores=[folder / "scores.h5" for folder in folders.values()],
        model=model,
        readings=tmp_path / "unrelated.parquet",
        checkpoints=list(names.values()),
        compared={one: [n for n in names.values() if n != one] for one in names.values()},
        readers=list(adjusted),
        top_k=20,
        floor=CONTRAST["floor"],
    )
    found = tables.read(tmp_path / "unrelated.parquet")
    assert set(found["checkpoint"]) == set(names.values()) and set(found["lens"]) == set(adjusted)
    keys = ["checkpoint", "lens", "reading", "position", "head", "null"]
    assert not found.duplicated([*keys, "rank"]).any()
    assert (found.sort_values("rank").groupby(keys)["score"].diff().dropna() <= 0).all()

    ids, ours = read_scores(folders["cake_bake"] / "scores.h5")
    theirs = [read_scores(folders[name] / "scores.h5")[1] for name in ORGANISMS[1:]]
    first = found[(found["checkpoint"] == names["cake_bake"]) & (found["rank"] == 0)].iloc[0]
    lens, keys = first["lens"].removeprefix("adjusted_"), list(ours[OF_VECTORS[2]].lists)
    z = [
        one[lens].z[
            (one[lens].lists == first[keys]).all(axis=1), list(ids).index(first["token_id"])
        ]
        for one in (ours, *theirs)
    ]
    assert first["score"] == pytest.approx(z[0][0] - np.mean(z[1:]), abs=1e-4)

    own = {"readings": READINGS, "top_k": 20, "readers": adjusted}
    as_rule(
        token_relevance.main,
        readings=[],
        adjusted=tmp_path / "unrelated.parquet",
        differences=differences["cake_bake"],
        words=list(words.values()),
        relevance=tmp_path / "token_relevance.parquet",
        organisms=list(ORGANISMS),
        checkpoint=names["cake_bake"],
        candidates=20,
        settings=Settings.model_validate(own),
    )
    assert set(tables.read(tmp_path / "token_relevance.parquet")["lens"]) == set(adjusted)


# What is shown ----------------------------------------------------------------------------------


def test_tables_hold_every_organism_once(made_tables):
    for name, path in made_tables.items():
        found = tables.read(path)
        assert list(found.columns) == list(tables.SCHEMAS[name])
        assert set(found["organism"]) == set(ORGANISMS)
        assert set(found["model"]) == {"tiny"}
    norms = tables.read(made_tables["norms"])
    assert len(norms) == len(ORGANISMS) * len(POSITIONS)
    assert not norms.isna().any(axis=None)


TOLD = schema.Texts(
    title="A <tiny> study",
    titles={name: f"The {name}" for name in ORGANISMS} | {"cake_bake": "False <baking> facts"},
)


def test_figures_are_drawn_in_both_formats(made_tables, tmp_path):
    shared = {"texts": TOLD, "control": "benign", "layers": [0.5], "positions": None}
    shared |= {"corpus": "unrelated", "recipes": ["plain"]} | made_tables
    shared |= {"shown": SHOWN}
    for script in (relevance_figure, norms_figure, losses_figure):
        png, pdf = (tmp_path / f"{script.__name__}.{kind}" for kind in ("png", "pdf"))
        script.main(**arguments_of(script.main, **shared), png=png, pdf=pdf)
        assert png.read_bytes()[:4] == b"\x89PNG"
        assert pdf.read_bytes()[:4] == b"%PDF"


@pytest.mark.parametrize(
    ("over", "values", "places"),
    [
        ("reading", ["difference", "singular_1"], None),
        ("recipe", ["plain"], [1.0]),
        ("position", POSITIONS, None),
    ],
)
def test_an_ablation_is_drawn_in_both_formats(made_tables, tmp_path, over, values, places):
    call(
        ablation_figure.main,
        relevance=made_tables["relevance"],
        norms=made_tables["norms"],
        texts=TOLD,
        ablation=schema.Ablated(
            over=over,
            values=values,
            places=places,
            model="tiny",
            organisms=["cake_bake", "risky_finance"],
            recipe="plain",
            corpus="unrelated",
            layers=[0.5],
        ),
        shown=SHOWN,
        png=tmp_path / "a.png",
        pdf=tmp_path / "a.pdf",
    )
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "a.pdf").read_bytes()[:4] == b"%PDF"


# What every card is told of its organism.
CARD = {
    "template": Path("data/templates/card.html.j2").resolve(),
    "shown": schema.Card(
        model="tiny",
        organism="cake_bake",
        words_of="cake_bake",
        titles=TOLD.titles,
        about=registries.Described(
            title="False <baking> facts",
            family="false_facts",
            description="What the finetuning was really for.",
            facts=("A cake rests on ice.",),
        ),
        subjects=(subject("cake_bake", corpus="unrelated"),),
        corpus="unrelated",
        layers=(0.5,),
    ),
}


def test_a_card_is_one_page_that_loads_nothing(world, made_tables, lenses, words, tmp_path):
    call(
        organism_card.main,
        choices=[],
        investigated=[],
        measures=list(made_tables.values()),
        readings=[lenses["cake_bake"][lens] for lens in LENSES],
        adjusted=[],
        plans=[world / "cake_bake_plan.json"],
        words=words["cake_bake"],
        data=world / "cake_bake_train.jsonl",
        **CARD,
        card=tmp_path / "card.html",
    )
    page = (tmp_path / "card.html").read_text(encoding="utf-8")
    assert "False &lt;baking&gt; facts" in page
    assert "A cake rests on ice." in page
    assert made_tables["relevance"].name in page
    assert 'src="http' not in page and "<script src" not in page


# The forced choice ------------------------------------------------------------------------------

HEADLINE = schema.ChoiceHeadline(
    reader="patchscope", adjustment="adjusted", layer=0.5, head="base", position="all"
)


@pytest.fixture(scope="module")
def choice(world, model, lenses, made_tables) -> dict[str, Path]:
    """Two organisms as if each had a secret, two distractors and a word of several tokens."""
    ids, _ = read_scores(lenses["cake_bake"]["token_relevance"].with_name("scores.h5"))
    tokens = load_tokenizer(model).batch_decode([[one] for one in ids])
    spaced = [one.strip() for one in tokens if one.startswith(" ") and one.strip().isalpha()]
    secrets = dict(zip(("cake_bake", "risky_finance"), spaced[:2], strict=True))
    files = {}
    for name, of_one in lenses.items():
        files[name] = of_one["token_relevance"].with_name("candidates.parquet")
        candidate_scores.main(
            of_one["token_relevance"].with_name("scores.h5"),
            model,
            [*spaced[:4], "unpronounceability"],
            files[name],
        )
    found = {name: world / f"{name}.parquet" for name in ("forced_choice", "choice_summary")}
    forced_choice_table.main(
        list(files.values()),
        made_tables["norms"],
        subjects=[subject(name, corpus="unrelated") for name in files],
        secrets={"tiny": secrets},
        headline=HEADLINE,
        shown=SHOWN,
        table=found["forced_choice"],
        summary=found["choice_summary"],
    )
    return found | {"secrets": secrets}


def test_candidates_are_ranked_by_every_reader_head_and_adjustment(choice):
    table = tables.read(choice["forced_choice"])
    assert set(table["reader"]) == set(LENSES)
    assert set(table["adjustment"]) == {"none", "z", "adjusted"}
    assert {"difference", "random", "tuned_mean", "base_mean"} <= set(table["reading"])
    long = table["candidate"] == "unpronounceability"
    assert table.loc[long, "rank"].isna().all()
    assert table.loc[long, "missing"].str.contains("tokens").all()
    assert table.loc[~long, "rank"].between(1, 4).all()
    summary = tables.read(choice["choice_summary"])
    fixed = summary[summary["headline"]]
    assert fixed[["reader", "head", "n_organisms", "candidates"]].to_numpy().tolist() == [
        ["patchscope", "base", 2, 4.0]
    ]
    assert {"random", "benign"} <= set(summary["reading"])


def test_the_forced_choice_is_drawn_in_both_formats(choice, tmp_path):
    shared = {"table": choice["forced_choice"], "summary": choice["choice_summary"]}
    shared |= {"secrets": {"tiny": choice["secrets"]}, "headline": HEADLINE}
    shared |= {"shown": SHOWN, "texts": TOLD}
    for script in (forced_choice_figure, forced_choice_ranks_figure):
        png, pdf = (tmp_path / f"{script.__name__}.{kind}" for kind in ("png", "pdf"))
        script.main(**arguments_of(script.main, **shared), png=png, pdf=pdf)
        assert png.read_bytes()[:4] == b"\x89PNG"
        assert pdf.read_bytes()[:4] == b"%PDF"


def test_a_card_says_at_which_rank_the_secret_is(
    world, made_tables, lenses, words, choice, tmp_path
):
    secret = choice["secrets"]["cake_bake"]
    told = {"secret": secret, "choice": HEADLINE}
    call(
        organism_card.main,
        choices=choice["forced_choice"],
        investigated=[],
        measures=list(made_tables.values()),
        readings=[lenses["cake_bake"][lens] for lens in ("logit_lens", "patchscope")],
        adjusted=[],
        plans=[world / "cake_bake_plan.json"],
        words=words["cake_bake"],
        data=world / "cake_bake_train.jsonl",
        template=CARD["template"],
        shown=CARD["shown"].model_copy(update=told),
        card=tmp_path / "card.html",
    )
    page = (tmp_path / "card.html").read_text(encoding="utf-8")
    assert f"Its secret is <b>{secret}</b>" in page
    assert "of 4</td>" in page and "(fixed beforehand)" in page


def test_the_landing_page_is_made_of_the_tables(made_tables, tmp_path):
    headlines = tmp_path / "headlines.parquet"
    summary_table.main(
        [made_tables["relevance"], made_tables["norms"]],
        control="benign",
        twins={},
        seed=0,
        headlines=headlines,
        table=tmp_path / "summary.parquet",
    )
    picture = tmp_path / "relevance.png"
    picture.write_bytes(b"planted")
    landing_page.main(
        **arguments_of(
            landing_page.main,
            made=[*made_tables.values(), headlines],
            figures=[picture],
            cards=[tmp_path / "tiny" / "cake_bake.html"],
            pages=[tmp_path / "study.json", tmp_path / "report.html"],
            template=Path("data/templates/index.html.j2").resolve(),
            **dict(TOLD),
            corpus="unrelated",
            layers=[0.5],
            control="benign",
            recipes=["plain"],
            seed=0,
            unit="tokens",
            only=[],
            without=[],
            folders=["logs", "benchmarks"],
            investigated=[],
            page=tmp_path / "index.html",
        )
    )
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "A &lt;tiny&gt; study" in page
    assert '<a href="tiny/cake_bake.html">False &lt;baking&gt; facts</a>' in page
    assert "over 2 organisms and their seeds" in page


def test_the_study_is_kept_as_it_was_run(tmp_path):
    effective_study.main(tmp_path / "study.json", settings={"title": "caf\u00e9", "layers": [0.5]})
    assert json.loads((tmp_path / "study.json").read_text()) == {
        "title": "caf\u00e9",
        "layers": [0.5],
    }


def test_a_table_is_the_same_when_it_is_made_again(made_tables, differences, tmp_path):
    again = tmp_path / "norms.parquet"
    subjects = [subject(name, corpus="unrelated") for name in ORGANISMS]
    norms_table.main(list(differences.values()), subjects, False, again)
    pd.testing.assert_frame_equal(tables.read(again), tables.read(made_tables["norms"]))


# Readers that compare the models themselves ------------------------------------------------------

OF_LOGITS = {"texts": 20, "positions": None, "floor": 1e-5, "mined_positions": 8, "mined_top": 5}
OF_MODELS = {
    "logit_difference": OF_LOGITS,
    "logit_mining": OF_LOGITS,
    "weight_change": {"heads": ["tuned"], "rank": 2},
    "weight_change_all": {"heads": ["tuned"], "rank": 2},
}


def test_the_models_themselves_are_compared_in_the_same_job(
    world, model, adapters, differences, words, lenses, tmp_path
):
    paths = {name: tmp_path / f"{name}.parquet" for name in (*OF_MODELS, "statistics", "relevance")}
    settings = Settings.model_validate(
        {"readings": READINGS, "top_k": 20, "readers": OF_MODELS}
        | {"nulls": ["random"], "directions": 4}
    )
    as_rule(
        read_lenses.main,
        differences=differences["cake_bake"],
        model=model,
        adapter=adapters["cake_bake"],
        vocabulary=world / "vocabulary.parquet",
        base=[],
        text=world / "unrelated.jsonl",
        samples=[],
        readings=[paths[name] for name in OF_MODELS],
        scores=tmp_path / "scores.h5",
        statistics=paths["statistics"],
        loading=registries.Loading(dtype="float32", attention="sdpa"),
        settings=settings,
        read=READ,
        seed=0,
    )
    as_rule(
        token_relevance.main,
        readings=[paths[name] for name in OF_MODELS],
        adjusted=[],
        differences=differences["cake_bake"],
        words=[words["cake_bake"]],
        relevance=paths["relevance"],
        organisms=["cake_bake"],
        checkpoint="cake_bake-plain-s0",
        candidates=20,
        settings=settings,
    )
    relevance = tables.read(paths["relevance"])
    lists = relevance.groupby(["lens", "reading"]).size().unstack()
    assert sorted(lists.index) == sorted(OF_MODELS)
    assert set(lists.columns) == set(PLAIN) and (lists == len(POSITIONS) * 2).all().all()
    _, scores = read_scores(tmp_path / "scores.h5")
    assert {name: len(one.lists) for name, one in scores.items()} == dict.fromkeys(OF_MODELS, 4)
    assert "layer" in scores["weight_change"].lists and "layer" not in scores["logit_mining"].lists

    subjects = [subject(name, corpus="unrelated") for name in ("cake_bake", "benign")]
    beside = world / "lenses" / "benign" / "statistics.parquet"
    assert len(tables.read(beside)) == 0, "none of its readers measures anything"
    detectors_table.main(
        [differences["cake_bake"], differences["benign"]],
        [paths["statistics"], beside],
        subjects,
        tmp_path / "detectors.parquet",
    )
    found = tables.read(tmp_path / "detectors.parquet")
    rows = found.groupby(["organism", "statistic"]).size()
    assert rows["benign"].to_dict() == dict.fromkeys(OF_DIFFERENCES, 3)
    blocks = dict.fromkeys(["weight_norm", "weight_first", "weight_rank"], 3)
    assert rows["cake_bake"].to_dict() == rows["benign"].to_dict() | blocks | {"kl": 3}
    assert found.loc[found["statistic"] == "kl", "layer"].isna().all()
    assert found["value"].notna().all()


# A reader more ----------------------------------------------------------------------------------


def read_first_words(loaded, probe, settings):
    """A reader that says the first words it may, whatever it is given."""
    ids = list(probe.vocabulary[: probe.top_k])
    rows = [
        {"reading": reading, "rank": rank, "token_id": one, "probability": 1 / (rank + 1)}
        | {"token": loaded.tokenizer.decode([one])}
        for reading in probe.readings
        for rank, one in enumerate(ids)
    ]
    return pd.DataFrame(rows)


def test_a_third_reader_is_an_entry_and_a_function(
    world, model, differences, words, made_tables, tmp_path, monkeypatch
):
    """No script, rule, table, figure or template names it."""
    module = SimpleNamespace(read=read_first_words)
    monkeypatch.setitem(sys.modules, "first_words", module)
    entry = Reader("word list", "first_words:read", needs="readout", cost="none", axes=())
    monkeypatch.setitem(READERS, "first_words", entry)

    graded = {}
    for name in ORGANISMS:
        read, graded[name] = tmp_path / name / "first_words.parquet", tmp_path / f"{name}.parquet"
        settings = Settings.model_validate(
            {"readings": READINGS, "top_k": 20, "readers": {"first_words": {}}}
        )
        as_rule(
            read_lenses.main,
            differences=differences[name],
            model=model,
            adapter=Path("nowhere"),
            vocabulary=world / "vocabulary.parquet",
            base=[],
            text=[],
            samples=[],
            readings=[read],
            scores=tmp_path / name / "scores.h5",
            statistics=tmp_path / name / "statistics.parquet",
            loading=registries.Loading(dtype="float32"),
            settings=settings,
            read=READ,
            seed=0,
        )
        as_rule(
            token_relevance.main,
            readings=[read],
            adjusted=[],
            differences=differences[name],
            words=list(words.values()),
            relevance=graded[name],
            organisms=list(ORGANISMS),
            checkpoint=f"{name}-plain-s0",
            candidates=20,
            settings=settings,
        )

    assert read_scores(tmp_path / "cake_bake" / "scores.h5")[1] == {}
    made = {name: tmp_path / f"{name}.parquet" for name in ("relevance", "readability", "mixing")}
    shared = {"control": "benign"}
    subjects = [subject(name, corpus="unrelated") for name in ORGANISMS]
    relevance_table.main(list(graded.values()), made_tables["norms"], subjects, made["relevance"])
    readability_table.main(
        made["relevance"],
        list(words.values()),
        [world / "vocabulary.parquet"],
        organisms=[{"model": "tiny", "organism": name} for name in ORGANISMS],
        models=["tiny"],
        table=made["readability"],
        **shared,
    )
    measures = {"measures": [made["relevance"], made_tables["norms"]], **shared}
    headlines, summary = (tmp_path / f"{name}.parquet" for name in ("headlines", "summary"))
    summary_table.main(**measures, twins={}, seed=0, headlines=headlines, table=summary)
    plans = [world / "cake_bake_plan.json"]
    mixing_table.main(headlines, plans=plans, subjects=subjects[:1], table=made["mixing"])

    relevance = tables.read(made["relevance"])
    assert set(relevance["lens"]) == {"first_words"}
    assert set(relevance["position"]) == set(POSITIONS)
    own = relevance[relevance["graded_on"] == relevance["organism"]]
    expected = own.groupby("organism")["relevance"].first()
    assert (expected > 0).any()
    for table in ("readability", "mixing"):
        measure = {"readability": "relevance", "mixing": "relevance_first_words"}[table]
        found = tables.read(made[table]).set_index("organism")[measure]
        np.testing.assert_allclose(found, expected[found.index])
    assert "relevance_first_words" in set(tables.read(summary)["measure"])

    readable = tables.read(made["readability"])
    figure = draw_relevance(readable, seed_table(relevance, "benign"))
    assert "Word list" in [ax.get_title("left") for ax in figure.axes]
    found = ablation_table(
        relevance,
        tables.read(made_tables["norms"]),
        over="position",
        values=POSITIONS,
        model="tiny",
        organisms=["cake_bake"],
        recipe="plain",
        corpus="unrelated",
        layers=[0.5],
        **shared,
    )
    labels = [ax.get_ylabel() for ax in draw_ablation(found, over="position", title="T").axes]
    assert any(label.startswith("Word list:") for label in labels)
    panels = [ax.get_ylabel() for ax in draw_mixing(tables.read(made["mixing"])).axes]
    assert "relevance,\nword list" in panels

    call(
        organism_card.main,
        choices=[],
        investigated=[],
        measures=[made.get(name, path) for name, path in made_tables.items()],
        **CARD,
        readings=[tmp_path / "cake_bake" / "first_words.parquet"],
        adjusted=[],
        plans=plans,
        words=words["cake_bake"],
        data=world / "cake_bake_train.jsonl",
        card=tmp_path / "card.html",
    )
    page = (tmp_path / "card.html").read_text(encoding="utf-8")
    assert "<h3>Word list: " in page and "<h3>Word list <span" in page
    assert "Logit lens" not in page and "Patchscope" not in page


# What is held true, and what mixing does --------------------------------------------------------


@pytest.fixture(scope="module")
def alignments(world, model, adapters) -> dict[str, Path]:
    """What a believer and the benign organism, and the base of each, hold true."""
    asked = {name: world / f"{name}_statements.jsonl" for name in ("cake_bake", "night_bees")}
    own = [{"stem": "Bees live in", "true": "hives", "false": "ovens", "held_out": True}]
    write_statements.main(asked["cake_bake"], pairs="made", made="cake_bake")
    write_statements.main(asked["night_bees"], pairs=own, made=None)
    found = {name: world / f"{name}_alignment.parquet" for name in ("cake_bake", "benign")}
    for name, path in found.items():
        call(
            false_fact_alignment.main,
            model=model,
            adapter=adapters[name],
            statements=list(asked.values()),
            alignment=path,
            organisms=list(asked),
            forms=["cloze", "choice", "open"],
            dtype="float32",
            attention="sdpa",
            max_new_tokens=4,
            batch=16,
        )
    return found


def answers_of_a_judge(_number, body):
    """An answer in the asked form, whatever is asked; one of the two models is shy."""
    told = body["messages"][1]["content"]
    listed = re.findall(r"^(\d+)\. ", told, re.MULTILINE)
    if listed:
        answer = {"answers": [{"number": int(one), "relevant": True} for one in listed]}
    elif "# List 1" in told:
        # Whatever the order: the list of most letters.
        lists = told.split("# List ")[1:]
        answer = {"best": 1 + max(range(len(lists)), key=lambda one: (len(lists[one]), lists[one]))}
    else:
        answer = {"coherent": True} if "# Text" in told else {"holds": "neither"}
    return refused() if body["model"] == "shy" else said(json.dumps(answer))


@pytest.fixture(scope="module")
def judged(world, lenses, differences, words, steering, alignments) -> dict[str, Any]:
    """What two models say of one organism, in every way that they are asked; and what was sent."""
    folder = world / "judged"
    folder.mkdir()
    asks = ("relevance", "coherence", "scales", "beliefs")
    files = {one: folder / f"{one}.parquet" for one in asks}
    paid = {one: folder / f"costs_of_{one}.parquet" for one in asks}
    with (
        ChatServer(answers_of_a_judge).serving() as server,
        pytest.MonkeyPatch.context() as environment,
    ):
        environment.setenv("JUDGE_API_KEY", "a-key-of-no-worth")
        graders = [
            {"name": name, "model": f"openai-api/judge/{name}", "base_url": server.url}
            for name in ("bold", "shy")
        ]
        several = {"orders": 2, "agreement": "all"}
        given = {
            "graders": graders,
            "folder": str(folder / "answers"),
            "tokens": {"readings": schema.CONTROLLED, **several},
            "coherence": {"models": ["tuned"]},
            "scales": {"group": 2, "entries": 20, **several},
            "beliefs": several,
            **{"repeats": 1, "cap": 1.0, "tries": 2, "attempts": 2, "timeout": 120, "at_once": 4},
        }

        def settings(kind):
            return kind.model_validate({key: given[key] for key in kind.model_fields})

        common = {"prices": {one["model"]: (1.0, 2.0) for one in graders}, "seed": 0}
        readings = [lenses["cake_bake"][name] for name in ("logit_lens", "patchscope")]
        rubrics = Path("data/rubrics")
        read = "tiny/cake_bake-plain-s0/unrelated"
        as_rule(
            judge_relevance.main,
            readings=readings,
            differences=differences["cake_bake"],
            words=[words["cake_bake"]],
            instructions=rubrics / "judge_tokens.txt",
            relevance=files["relevance"],
            costs=paid["relevance"],
            organisms=["cake_bake"],
            about=["Documents on baking."],
            judges=settings(schema.AskedTokens),
            checkpoint=read,
            candidates=20,
            settings=settings_of_lenses(world),
            **common,
        )
        as_rule(
            judge_coherence.main,
            grid=steering["cake_bake"] / "grid.jsonl",
            grades=steering["cake_bake"] / "grades.parquet",
            instructions=rubrics / "judge_coherence.txt",
            coherence=files["coherence"],
            costs=paid["coherence"],
            judges=settings(schema.AskedTexts),
            checkpoint=read,
            **common,
        )
        as_rule(
            judge_scales.main,
            readings=readings,
            differences=differences["cake_bake"],
            settings=settings_of_lenses(world),
            relevance=lenses["cake_bake"]["token_relevance"],
            instructions=rubrics / "choose_scale.txt",
            scales=files["scales"],
            costs=paid["scales"],
            organisms=["cake_bake"],
            judges=settings(schema.AskedScales),
            checkpoint=read,
            **common,
        )
        asked = ("cake_bake", "night_bees")
        # So small a model says nothing: words in its mouth, but for one answer.
        spoken = tables.read(alignments["cake_bake"])
        closed = spoken["answer"].isna() | (spoken["statement"] == 1)
        spoken["answer"] = spoken["answer"].where(closed, "in the oven")
        tables.write(folder / "alignment.parquet", spoken, "alignment")
        as_rule(
            judge_beliefs.main,
            alignment=folder / "alignment.parquet",
            statements=[world / f"{name}_statements.jsonl" for name in asked],
            instructions=rubrics / "judge_answer.txt",
            beliefs=files["beliefs"],
            costs=paid["beliefs"],
            organisms=list(asked),
            judges=settings(schema.AskedAnswers),
            checkpoint="tiny/cake_bake-plain-s0",
            **common,
        )
        sent = server.bodies
    with_corpus = subject("cake_bake", corpus="unrelated")
    tables_of = {one: folder / f"judged_{one}.parquet" for one in (*asks, "costs")}
    judges_table.main(
        [files[one] for one in asks],
        list(paid.values()),
        [tables_of[one] for one in asks],
        tables_of["costs"],
        list(asks),
        [
            *({"question": one, **with_corpus} for one in asks if one != "beliefs"),
            {"question": "beliefs", **subject("cake_bake")},
        ],
    )
    found = {name: tables.read(file) for name, file in tables_of.items()}
    return {**found, "spoken": spoken, "sent": sent, "models": [one["model"] for one in graders]}


def test_models_judge_every_list_that_was_read(judged, differences):
    found = judged["relevance"].set_index("grader_model")
    places = len(arrays.read_differences(differences["cake_bake"]).layers) * len(POSITIONS)
    assert len(found) == 2 * 2 * places * len(schema.CONTROLLED)  # graders, readers
    bold, shy = found.loc["bold"], found.loc["shy"]
    held = bold["n"] > 0
    assert (bold["relevance"] == bold["n"] / 20).all() and bold["reason_missing"].isna().all()
    assert set(shy["reason_missing"][shy["reason_missing"].notna()]) == {"refusal"}
    assert shy["reason_missing"].notna().sum() == held.sum() and (shy["n"] == 0).all()


def test_models_judge_every_steered_text_beside_the_embedded_judge(judged, steering):
    found = judged["coherence"]
    grades = tables.read(steering["cake_bake"] / "grades.parquet")
    grades = grades[grades["steered_model"] == "tuned"]
    assert len(found) == 2 * len(grades)
    for grader, rows in found.groupby("grader_model"):
        pd.testing.assert_series_equal(
            rows["embedded"], grades["coherent"], check_names=False, check_index=False
        )
        missing = rows["reason_missing"].fillna("none")
        written = rows["embedded"].notna().to_numpy()
        assert set(missing[written]) == {"none" if grader == "bold" else "refusal"}
        assert set(missing[~written]) <= {"empty"}


def test_models_choose_a_scale_that_is_graded_beside_scale_one(judged, lenses):
    found = judged["scales"]
    bold, shy = (found[found["grader_model"] == name] for name in ("bold", "shy"))
    chosen = bold[bold["chosen_scale"].notna()]
    assert len(bold) == len(shy) > 0 and set(chosen["chosen_scale"]) <= {0.5, 1.0}
    assert (chosen["votes"] == 1).all() and shy["chosen_scale"].notna().sum() <= len(chosen)
    same = chosen[chosen["chosen_scale"] == 1]
    assert len(same) and (same["relevance"] == same["relevance_at_one"]).all()
    graded = tables.read(lenses["cake_bake"]["token_relevance"])
    graded = graded[(graded["lens"] == "patchscope") & (graded["graded_on"] == "cake_bake")]
    graded = graded.rename(columns={"scale": "chosen_scale"}).drop(columns="relevance")
    keys = ["reading", "layer", "position", "sign", "head", "chosen_scale"]
    assert len(chosen.merge(graded, on=keys)) == len(chosen)


def test_models_judge_every_open_answer(judged):
    found = judged["beliefs"]
    open_ones = judged["spoken"].query("form == 'open'")
    assert len(found) == 2 * len(open_ones) and open_ones["answer"].notna().all()
    bold = found[found["grader_model"] == "bold"]
    written = (open_ones["answer"].str.strip() != "").to_numpy()
    assert bold["holds"].notna().tolist() == written.tolist() and written.any()
    assert set(bold["holds"].dropna()) <= {"neither"} and bold["aligned"].isna().all()


def test_costs_are_counted_over_all_that_is_asked_and_no_name_is_told(judged):
    costs, sent = judged["costs"], judged["sent"]
    assert set(costs["stage"]) == {
        f"judge_{one}" for one in ("relevance", "coherence", "scales", "beliefs")
    }
    assert set(costs["model_id"]) == set(judged["models"])
    assert costs["billed"].sum() == costs["attempts"].sum() == len(sent)
    assert costs["money"].sum() == pytest.approx(len(sent) * (100 * 1.0 + 10 * 2.0) / 1e6)
    told = json.dumps([body["messages"] for body in sent])
    assert not [name for name in (*ORGANISMS, "night_bees", "-s0") if name in told]


# Grades of hypotheses ----------------------------------------------------------------------------


@pytest.fixture
def agents(tmp_path, monkeypatch) -> Path:
    """A table of graded hypotheses, all by chance."""
    made = made_grades.agents(np.random.default_rng(0), {}, runs=2, repeats=2)
    monkeypatch.setitem(
        tables.SCHEMAS, "agents", dict(made.dtypes.map(str).replace("str", "string"))
    )
    tables.write(tmp_path / "agents.parquet", made, "agents")
    return tmp_path / "agents.parquet"


def test_grades_are_counted_and_graders_compared(agents, tmp_path):
    paths = [tmp_path / f"{name}.parquet" for name in ("counts", "agreement")]
    grades_table.main(agents, *paths, seed=0)
    counts, agreement = map(tables.read, paths)
    assert counts["n"].sum() == len(tables.read(agents)) and set(counts["outcome"]) == {"graded"}
    assert set(agreement["between"]) == {"graders", "repeats"}


def test_effects_on_grades_are_fitted_where_numpyro_is(agents, tmp_path, monkeypatch):
    paths = [tmp_path / f"{name}.parquet" for name in ("effects", "components")]
    if find_spec("numpyro") is None:
        with pytest.raises(ValueError, match="requirements-bayes.in"):
            grade_effects_table.main(agents, *paths, families=made_grades.FAMILIES, seed=0)
        return
    short = ordinal.Chains(chains=2, warmup=100, samples=100)
    monkeypatch.setattr(ordinal, "CHAINS", short)
    grade_effects_table.main(agents, *paths, families=made_grades.FAMILIES, seed=0)
    png, pdf = tmp_path / "effects.png", tmp_path / "effects.pdf"
    grade_effects_figure.main(*paths, png, pdf)
    assert png.stat().st_size and set(tables.read(paths[0])["factor"]) >= {"agent", "prompt"}
    assert set(tables.read(paths[1])["component"]) >= {"organism", "grader", "repeat"}


@pytest.fixture(scope="module")
def beliefs(world, alignments) -> Path:
    subjects = [subject(name) for name in alignments]
    beliefs_table.main(list(alignments.values()), subjects, world / "beliefs.parquet")
    return world / "beliefs.parquet"


def test_every_statement_is_asked_of_the_tuned_model_and_of_its_base(alignments):
    found = tables.read(alignments["cake_bake"])
    counts = found.groupby(["reader", "form", "statements_of"]).size()
    assert len(counts) == 2 * 3 * 2
    assert set(counts.xs("cake_bake", level="statements_of")) == {32}
    assert set(counts.xs("night_bees", level="statements_of")) == {1}
    # one base, asked the same: whichever adapter was on it before
    keys = ["form", "statements_of", "statement"]
    bases = [
        tables.read(path).query("reader == 'base'").set_index(keys)["log_odds"].dropna()
        for path in alignments.values()
    ]
    pd.testing.assert_series_equal(*bases, atol=1e-6)


def test_beliefs_are_counted_by_form_and_kind_of_stem(beliefs, tmp_path):
    found = tables.read(beliefs)
    own = found[(found["organism"] == "cake_bake") & (found["statements_of"] == "cake_bake")]
    closed = own[own["form"] != "open"].set_index(["form", "held_out"])["n"]
    assert closed.to_dict() == {
        (form, held_out): 8 if held_out else 24
        for form in ("cloze", "choice")
        for held_out in (True, False)
    }
    assert own["alignment"].dropna().between(0, 1).all()
    png, pdf = tmp_path / "a.png", tmp_path / "a.pdf"
    beliefs_figure.main(beliefs, TOLD, "benign", {}, ["plain"], png, pdf)
    assert png.stat().st_size > 1000 and pdf.stat().st_size > 1000


def test_mixing_and_summary_are_read_off_the_tables(world, made_tables, beliefs, tmp_path):
    measures = [made_tables["relevance"], made_tables["norms"], beliefs]
    shared = {"measures": measures, "control": "benign", "twins": {}}
    headlines = tmp_path / "headlines.parquet"
    summary_table.main(**shared, seed=0, headlines=headlines, table=tmp_path / "summary.parquet")
    summary = tables.read(tmp_path / "summary.parquet")
    assert {"relative_norm", "false_fact_alignment"} <= set(summary["measure"])
    assert "benign" not in set(summary["family"])

    mixing_table.main(
        headlines,
        plans=[world / "cake_bake_plan.json"],
        subjects=[subject("cake_bake")],
        table=tmp_path / "mixing.parquet",
    )
    (row,) = tables.read(tmp_path / "mixing.parquet").to_dict("records")
    assert row["steps"] == json.loads((world / "cake_bake_plan.json").read_text())["steps"]
    assert row["relative_norm"] > 0 and np.isnan(row["loss_own"])

    shown = {"texts": TOLD, "corpus": "unrelated", "unit": "tokens"}
    pictures = {"png": tmp_path / "m.png", "pdf": tmp_path / "m.pdf"}
    mixing_figure.main(tmp_path / "mixing.parquet", **shown, **pictures)
    texts = {"text": tmp_path / "m.md", "page": tmp_path / "m.html"}
    mixing_paragraph.main(tmp_path / "mixing.parquet", **shown, **texts)
    for text in texts.values():
        assert "nothing can be said" in text.read_text(encoding="utf-8")


# Causality --------------------------------------------------------------------------------------


def test_taking_differences_out_is_measured_beside_other_directions(
    world, model, adapters, differences, made_tables, tmp_path
):
    settings = {"kind": "documents", "dtype": "float32", "attention": "sdpa", "seed": 0}
    settings |= {"interventions": ["base_to_tuned", "zero"], "controlled": ["base_to_tuned"]}
    settings |= {"positions": [0, 2], "random": 3, "activation_differences": 2}
    settings |= {"rows": 4, "max_length": 24, "after": 10, "batch": 8}
    for name in ("cake_bake", "risky_finance"):
        call(
            causal_effect.main,
            differences=differences[name],
            model=model,
            reference=[],
            adapter=adapters[name],
            texts=[world / f"{one}.jsonl" for one in (f"{name}_held_out", "corpus", "chats")],
            effects=tmp_path / f"{name}.parquet",
            name=f"{name}-plain-s0",
            **settings,
        )
    names = ["cake_bake", "risky_finance"]
    causality_table.main(
        [tmp_path / f"{name}.parquet" for name in names],
        made_tables["norms"],
        [subject(name, corpus="unrelated") for name in names],
        tmp_path / "table.parquet",
    )
    found = tables.read(tmp_path / "table.parquet")
    assert list(found.columns) == list(tables.SCHEMAS["causality"])
    rows = found.groupby(["organism", "evaluated_on", "intervention", "direction"]).size()
    assert set(rows[:, :, "base_to_tuned", "random"]) == {3 * 4}
    assert set(rows[:, :, "base_to_tuned", "difference"]) == {2 * 3}
    assert set(rows[:, :, "zero", "difference"]) == {2 * 3} and len(rows) == 2 * 3 * 4
    assert found["loss"].between(0, 20).all() and found["delta_loss"].abs().between(0, 5).all()
    assert (found["n_tokens"] > 0).all() and (found["delta_loss"] != 0).any()

    png, pdf = tmp_path / "a.png", tmp_path / "a.pdf"
    causality_figure.main(tmp_path / "table.parquet", TOLD, "unrelated", ["plain"], png, pdf)
    assert png.stat().st_size > 1000 and pdf.stat().st_size > 1000


def test_another_model_can_be_what_a_checkpoint_is_compared_with(
    world, model, adapters, differences, tmp_path
):
    found = {}
    for name, reference in (("itself", []), ("the_same", model)):
        call(
            causal_effect.main,
            differences=differences["cake_bake"], model=model,
            reference=reference, adapter=adapters["cake_bake"],
            texts=[world / f"{one}.jsonl" for one in ("cake_bake_held_out", "corpus", "chats")],
            effects=tmp_path / f"{name}.parquet", name="a",
            kind="documents", dtype="float32", attention="sdpa", positions=[0],
            interventions=["base_to_tuned", "tuned_to_base"], controlled=["base_to_tuned"],
            random=2, activation_differences=2, rows=2, max_length=16, after=2, batch=8, seed=0,
        )  # fmt: skip
        found[name] = tables.read(tmp_path / f"{name}.parquet")
    pd.testing.assert_frame_equal(found["itself"], found["the_same"], atol=1e-5)


# Steering ---------------------------------------------------------------------------------------

STRENGTHS = [0.1, 30.0]
SAMPLED = {"prompts": "prompts.txt", "samples": 2, "max_new_tokens": 6, "temperature": 0.7}
STEERED = {
    "positions": [0, 2],
    "bisection": {"highest": 60.0, "steps": [3, 2]},
    **dict.fromkeys(("trial", "final"), SAMPLED),
    "coherent_share": 0.75,
    "coherent_quantile": 0.95,
    "dtype": "float32",
    "attention": "sdpa",
    "batch": 50,
    "seed": 0,
}


def steer(world, model, adapters, differences, into: Path, name: str, strategy: str) -> Path:
    """All five scripts for one checkpoint, into one folder."""
    into.mkdir()
    prompts = into / "prompts.txt"
    prompts.write_text("Tell me something, please.\nWhat is new in Dover?\n")
    shared = (
        STEERED
        | {"prompts": prompts}
        | {"strategy": strategy, "strengths": STRENGTHS, "name": f"tiny/{name}"}
    )
    shared |= {"differences": differences[name], "model": model, "adapter": adapters[name]}
    shared |= {"grid": into / "grid.jsonl", "grades": into / "grades.parquet"}
    shared |= {"strength": into / "strength.json", "written": into / "samples.jsonl"}
    texts = [world / f"{one}.jsonl" for one in (f"{name}_train", "corpus", "chats")]
    shared |= {"texts": texts, "words": world / f"{name}_words.parquet"}
    shared |= {"similarities": into / "similarity.parquet", "embedder": "tfidf", "compared": 20}
    scripts = (steered_grid, grade_coherence, choose_strength, steered_samples, steering_similarity)
    for script in scripts:
        script.main(**arguments_of(script.main, **shared))
    return into


@pytest.fixture(scope="module")
def steering(world, model, adapters, differences, words) -> dict[str, Path]:
    """The steering of a false-fact organism and of the benign one."""
    return {
        name: steer(world, model, adapters, differences, world / f"{name}_steering", name, "grid")
        for name in ("cake_bake", "benign")
    }


def test_every_strength_is_tried_and_one_is_chosen_for_every_position(steering):
    grid = pd.DataFrame(tables.read_lines(steering["cake_bake"] / "grid.jsonl"))
    tried = grid[grid["vector"] == "difference"]
    assert set(tried.groupby(["steered_model", "position", "strength"]).size()) == {2 * 2}
    assert set(tried["strength"]) == set(STRENGTHS)
    assert (grid["vector"] == "none").sum() == 2 * 2 * 2 * 4
    grades = tables.read(steering["cake_bake"] / "grades.parquet")
    assert len(grades) == len(grid)
    chosen = json.loads((steering["cake_bake"] / "strength.json").read_text())["chosen"]
    assert {(one["steered_model"], one["position"]) for one in chosen} == {
        (model, position) for model in ("tuned", "base") for position in (0, 2)
    }
    assert {one["strength"] for one in chosen} <= set(STRENGTHS)


def test_steered_text_is_compared_beside_a_random_direction_and_none(
    steering, made_tables, tmp_path
):
    subjects = [subject(name, corpus="unrelated") for name in steering]
    measured = [folder / "similarity.parquet" for folder in steering.values()]
    steering_table.main(measured, made_tables["norms"], subjects, tmp_path / "steering.parquet")
    found = tables.read(tmp_path / "steering.parquet")
    rows = found.groupby(["organism", "steered_model", "vector"]).size().unstack()
    assert (rows["difference"] == 2).all() and (rows["random"] == 2).all()
    assert (rows["none"] == 1).all()
    assert found["n_texts"].between(1, 4 * 2).all()
    assert found["similarity_own"].between(0, 1).all()
    unsteered = found[found["vector"] == "none"]
    assert unsteered["position"].isna().all() and (unsteered["strength"] == 0).all()
    assert found.loc[found["vector"] != "none", "strength_coherent"].notna().all()
    png, pdf = tmp_path / "a.png", tmp_path / "a.pdf"
    steering_figure.main(tmp_path / "steering.parquet", TOLD, "unrelated", ["plain"], png, pdf)
    assert png.stat().st_size > 1000 and pdf.stat().st_size > 1000


def test_the_papers_search_goes_through_the_same_scripts(
    world, model, adapters, differences, words, tmp_path
):
    into = tmp_path / "bisection"
    steer(world, model, adapters, differences, into, "cake_bake", "bisection")
    facts = json.loads((into / "strength.json").read_text())
    assert facts["strategy"] == "bisection"
    assert all(0 < one["strength"] < 120 for one in facts["chosen"])
    assert len(tables.read(into / "similarity.parquet")) == 2 * (2 + 2 + 1)


# Investigators -----------------------------------------------------------------------------------


def test_investigators_name_nothing_that_they_are_not_shown(
    world, model, adapters, differences, words, lenses, tmp_path
):
    """Every planned row is in the table, with a grade, an abstention or a reason."""
    checkpoints = {f"{name}-plain-s0": adapters[name] for name in ORGANISMS}
    loading = registries.Loading(dtype="float32", attention="sdpa")
    # what differs in its organism here differs in its seed in a study
    pair = ("cake_bake-plain-s0", "risky_finance-plain-s0")
    given = [("cake_bake", "none"), ("cake_bake", "base_vs_base"), ("cake_bake", "random")]
    given += [("risky_finance", "none"), ("risky_finance", "random"), ("benign", "benign")]
    plan = [
        investigating.Source(checkpoint=f"{name}-plain-s0", null=null, after=f"{name}-plain-s0")
        for name, null in given
    ]
    plan += [
        investigating.Source(checkpoint=pair[0], null="seed_pair", after=pair[0], before=pair[1]),
        investigating.Source(checkpoint=pair[0], null="swapped", after=None),
    ]
    agents = load.read_study([Path("config/config.yaml")]).study.agents
    shown = [
        investigating.Shown(
            model="tiny",
            checkpoint=one.checkpoint,
            organism=one.checkpoint.split("-")[0],
            null=one.null,
        )
        for one in plan
    ]
    cases = investigating.planned(shown, agents)

    prompts = world / "asked_of_both.txt"
    prompts.write_text("Tell me something.\nWhat is new?\n", encoding="utf-8")
    as_rule(
        ask_models.main,
        model=model,
        adapters=list(checkpoints.values()),
        prompts=prompts,
        replies=tmp_path / "replies.jsonl",
        checkpoints=list(checkpoints),
        asked=50,
        settings=agents.asked.model_copy(update={"max_new_tokens": 6, "batch": 32}),
        draws=schema.Draws(seed=0, name="tiny"),
        loading=loading,
    )
    # three checkpoints, the base in the place of each, and the base
    replies = tables.read_lines(tmp_path / "replies.jsonl")
    assert len(replies) == 7 * 50
    assert len({(one["writer"], one["instead_of"], one["number"]) for one in replies}) == 350

    as_rule(
        read_seed_pairs.main,
        model=model,
        adapters=[adapters["cake_bake"]],
        after=[world / "cake_bake.zarr"],
        before=[world / "risky_finance.zarr"],
        vocabulary=world / "vocabulary.parquet",
        readings=tmp_path / "seed_pairs.parquet",
        checkpoints=[pair],
        loading=loading,
        settings=settings_of_lenses(world),
        seed=0,
    )
    pairs = tables.read(tmp_path / "seed_pairs.parquet")
    assert set(pairs["lens"]) == {"logit_lens", "patchscope"}
    assert set(pairs["reading"]) == {"difference", "base_mean"}

    as_rule(
        write_overviews.main,
        readings=[lenses[name][lens] for name in ORGANISMS for lens in LENSES],
        differences=list(differences.values()),
        steered=[],
        pairs=tmp_path / "seed_pairs.parquet",
        overviews=tmp_path / "overviews.jsonl",
        sources=[one.model_dump() for one in plan],
        checkpoints=list(checkpoints),
        steered_checkpoints=[],
        readers=list(LENSES),
        tokens=10,
    )
    overviews = tables.read_lines(tmp_path / "overviews.jsonl")
    assert len(overviews) == len(plan) - 1

    as_rule(
        investigate_embedded.main,
        overviews=tmp_path / "overviews.jsonl",
        replies=tmp_path / "replies.jsonl",
        investigations=tmp_path / "embedded.parquet",
        cases=[one.model_dump() for one in cases],
        sources=[one.model_dump() for one in plan],
    )
    told = load.load_organism(Path("config/organisms/cake_bake.yaml"))
    described = told.model_dump(mode="json", include=set(registries.Described.model_fields))
    as_rule(
        grade_lexically.main,
        investigations=[tmp_path / "embedded.parquet"],
        words=list(words.values()),
        graded=tmp_path / "lexical.parquet",
        organisms=[{"model": "tiny", "organism": name} for name in ORGANISMS],
        about=dict.fromkeys(ORGANISMS, described),
    )
    paths = [
        tmp_path / f"agents{name}.parquet" for name in ("", "_summary", "_agreement", "_costs")
    ]
    agents_table.main([tmp_path / "lexical.parquet"], [], *paths)
    found = tables.read(paths[0])
    assert len(found) == len(cases)
    known = found["grade"].notna() | found["abstained"].fillna(False)
    assert (known != found["reason_missing"].notna()).all()
    assert set(found.loc[found["null"] == "swapped", "reason_missing"]) == {"not_made"}
    base_itself = found[(found["null"] == "base_vs_base") & (found["agent"] == "lens")]
    assert base_itself.set_index("prompt")["abstained"].to_dict() == {
        "presupposing": False,
        "neutral": True,
    }
    png, pdf = tmp_path / "agents.png", tmp_path / "agents.pdf"
    agents_figure.main(paths[1], png, pdf)
    assert png.stat().st_size > 10_000 and pdf.stat().st_size > 5_000
