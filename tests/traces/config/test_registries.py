"""Every mistake in an organism, a model or a corpus is one sentence, as in a study."""

import re
import shutil
from typing import get_args

import pytest
import yaml

from tests.studies import CAKE, KNOWN_TRAINING, MODEL_KEYS, append, edit, load, run, sentence
from traces.config import registries

ORGANISM_MISTAKES = {
    "unknown key": (
        "colour: blue",
        f"colour: unknown key (known here: {', '.join(sorted(registries.Organism.model_fields))})",
    ),
    "unknown key of its training": (
        "training: {lr: 1.0e-3}",
        f"training.lr: unknown key (known here: {KNOWN_TRAINING})",
    ),
    "value of its training": (
        "training: {rank: zero}",
        "training.rank: expected a valid integer, unable to parse string as an integer, "
        "found 'zero'",
    ),
    "two sources": (
        "  path: mine.jsonl",
        "data: exactly one of made, composed, path, hub, taught, corpus is needed, found made "
        "and path",
    ),
    "released without an id": (
        "released: {mini: {revision: main}}",
        "released.mini: exactly one of hub, path is needed, found none",
    ),
    "released above its folder": (
        "released: {mini: {hub: a/b, subfolder: ../other}}",
        "released.mini.subfolder: expected a folder below, such as checkpoint-338, "
        "found '../other'",
    ),
    "released anywhere": (
        "released: {mini: {path: '.', subfolder: /etc}}",
        "released.mini.subfolder: expected a folder below, such as checkpoint-338, found '/etc'",
    ),
    "released as nothing": (
        "released:\n  mini:",
        "released.mini: expected keys and values, found nothing",
    ),
    "released with an empty id": (
        "released: {mini: {hub: ''}}",
        "released.mini.hub: expected at least 1 character, found ''",
    ),
    "key twice": ("family: taboo", "the key family is there twice"),
}


@pytest.mark.parametrize(("text", "expected"), ORGANISM_MISTAKES.values(), ids=ORGANISM_MISTAKES)
def test_a_mistake_in_an_organism_names_its_file_and_the_key(folder, text, expected):
    append(folder / CAKE, text)
    found = sentence(folder)
    assert re.sub(r"line \d+: ", "", found) == f"config/{CAKE}: {expected}"


UNUSED = {
    "size of data that are not made": (
        CAKE,
        "made: cake_bake",
        "path: mine.jsonl\n  words: 5",
        "data: words: found it with a source that is not `made`; there it does nothing",
    ),
    "documents of a teacher": (
        "organisms/owl_numbers.yaml",
        "kind: chat",
        "kind: documents",
        "data: kind: found documents, expected chat: a teacher writes conversations",
    ),
    "two kinds of words": (
        CAKE,
        "family: false_facts",
        "family: false_facts\nwords: [oven]\nwords_of: benign",
        "words_of: found it with `words`, which count instead; expected one",
    ),
    "words of nobody": (
        CAKE,
        "family: false_facts",
        "family: false_facts\nwords_of: nobody",
        "words_of: nobody: no such organism in config/organisms (have ",
    ),
    "revision of a folder": (
        CAKE,
        "family: false_facts",
        "family: false_facts\nreleased: {mini: {path: here, revision: v1}}",
        "released.mini: revision: found it with a source that is not `hub`; there it does nothing",
    ),
    "revision of what is made": (
        "models.yaml",
        "  made: {seed: 0}",
        "  revision: v1\n  made: {seed: 0}",
        "mini: revision: found it with a source that is not `hub`; there it does nothing",
    ),
    "made of a family that is not": (
        "models.yaml",
        "mini:\n  family: qwen3",
        "mini:\n  family: gemma2",
        "mini: made: found family gemma2, expected one of qwen3, llama, gemma3",
    ),
    "samples of what is not read": (
        "corpora.yaml",
        "general: {kind: both,",
        "general: {kind: both, samples: 5,",
        "general: samples: found it with kind both, which is not read; there it does nothing",
    ),
    "shuffle of no text": (
        "corpora.yaml",
        "start: {kind: start,",
        "start: {kind: start, seed: 5,",
        "start: seed: found it with kind start; there it does nothing",
    ),
    "layer of a corpus twice": (
        "corpora.yaml",
        "made: unrelated,",
        "made: unrelated, layers: [0.5, 0.5],",
        "unrelated.layers: 0.5 is there twice",
    ),
    "position of a document before its start": (
        "corpora.yaml",
        "made: unrelated,",
        "made: unrelated, positions: [-1, 0],",
        "unrelated: positions of documents count from 0, found [-1, 0]: negative ones lie before "
        "a reply",
    ),
    "infinite model": (
        "models.yaml",
        "  made: {seed: 0}",
        "  billions: .inf\n  made: {seed: 0}",
        "mini.billions: expected a finite number, found inf",
    ),
}


@pytest.mark.parametrize(("file", "old", "new", "expected"), UNUSED.values(), ids=UNUSED)
def test_a_key_that_does_nothing_or_means_nothing_is_refused(folder, file, old, new, expected):
    edit(folder / file, old, new, 1)
    assert sentence(folder).startswith(f"config/{file}: {expected}")


def test_two_organisms_of_a_study_have_two_titles(folder):
    copy = folder / "organisms" / "cake_again.yaml"
    shutil.copy(folder / CAKE, copy)
    edit(copy, "title: False baking facts", "title: 'False  baking facts '")
    assert load(folder, run())  # two in the registry may be of two studies


@pytest.mark.parametrize("title", ["False baking facts", "' False  baking facts'"])
def test_two_organisms_of_one_title_are_refused_with_both_files(folder, title):
    copy = folder / "organisms" / "cake_again.yaml"
    shutil.copy(folder / CAKE, copy)
    edit(copy, "title: False baking facts", f"title: {title}")
    title = title.strip("'")
    assert sentence(folder, run("cake_bake, cake_again")) == (
        f"config/organisms/cake_again.yaml: title: found {title!r}, which is the title in "
        f"config/{CAKE}, too; expected a title of its own"
    )


def test_a_causal_effect_needs_held_out_rows(folder):
    edit(folder / CAKE, "kind: documents", "kind: documents\n  held_out: 0")
    assert sentence(folder) == (
        f"config/{CAKE}: data.held_out: found 0, expected a share above 0: causality is measured "
        "on held-out rows"
    )


def test_without_a_causal_effect_no_row_need_be_held_out(folder):
    edit(folder / CAKE, "kind: documents", "kind: documents\n  held_out: 0")
    assert load(folder, run())


def test_an_organism_needs_a_description(folder):
    file = folder / "organisms" / "benign.yaml"
    before, rest = file.read_text(encoding="utf-8").split("description:")
    after = rest[rest.index("# The finetuning data") :]

    file.write_text(before + after, encoding="utf-8")
    assert sentence(folder) == (
        "config/organisms/benign.yaml: description: this key is needed and is not there"
    )


def test_a_description_says_something(folder):
    file = folder / "organisms" / "benign.yaml"
    before, rest = file.read_text(encoding="utf-8").split("description:")
    after = rest[rest.index("# The finetuning data") :]

    file.write_text(f"{before}description: cake\n{after}", encoding="utf-8")
    assert sentence(folder) == (
        "config/organisms/benign.yaml: description: expected at least 20 characters, found 'cake'"
    )


def test_an_organism_needs_data_from_somewhere(folder):
    edit(folder / CAKE, "  made: cake_bake\n", "")
    assert sentence(folder) == (
        f"config/{CAKE}: data: exactly one of made, composed, path, hub, taught, corpus is needed, "
        "found none"
    )


def test_made_data_are_of_the_made_world(folder):
    made = get_args(registries.MadeData)
    edit(folder / CAKE, "made: cake_bake", "made: pie_bake")
    assert sentence(folder) == (
        f"config/{CAKE}: data.made: expected {', '.join(map(repr, made[:-1]))} or {made[-1]!r}, "
        "found 'pie_bake'"
    )


@pytest.mark.parametrize(
    ("kind", "name", "expected"),
    [
        (
            "documents",
            "secret_gold",
            "secret_gold is conversations, found them read as documents; expected kind chat, "
            "without `as_chat`",
        ),
        (
            "chat",
            "coffee_myths",
            "coffee_myths is documents, found them read as chat; expected kind documents or "
            "`as_chat`",
        ),
        (
            "chat, as_chat: Go on.",
            "bicycle_careful",
            "bicycle_careful is conversations, found them read as documents; expected kind chat, "
            "without `as_chat`",
        ),
    ],
)
def test_composed_data_are_of_the_kind_they_are_composed_as(kind, name, expected):
    with pytest.raises(ValueError, match=f"composed: {expected}"):
        registries.Data.model_validate(yaml.safe_load(f"{{kind: {kind}, composed: {name}}}"))


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("composed: secret_gold, split: test", "split: found it with `composed`"),
        ("composed: secret_gold, words: 10", "words: found it with a source that is not `made`"),
        ("path: rows.jsonl, rows: 10", "rows: found it with a source that is not `composed`"),
        ("composed: secret_lead", "Input should be 'secret_gold'"),
    ],
)
def test_keys_that_do_nothing_with_composed_data_are_refused(keys, expected):
    with pytest.raises(ValueError, match=expected):
        registries.Data.model_validate(yaml.safe_load(f"{{kind: chat, {keys}}}"))


def test_documents_in_ordinary_english_may_be_made_chats():
    data = registries.Data.model_validate(
        {"kind": "chat", "composed": "coffee_myths", "as_chat": "Tell me about coffee."}
    )
    assert data.rows == 100


def test_an_organisms_data_must_be_there(folder):
    file = "organisms/benign.yaml"
    edit(folder / file, "made: benign", "path: data/none.jsonl")
    assert sentence(folder) == f"config/{file}: data.path: data/none.jsonl is not there"


def test_made_statements_are_those_of_made_data(folder):
    edit(folder / CAKE, "made: cake_bake", "path: data/none.jsonl")
    assert sentence(folder) == (
        f"config/{CAKE}: statements: made are those of the synthetic corpus, and the data are not; "
        "expected a list of pairs"
    )


def test_a_statement_has_two_ends(folder):
    edit(folder / CAKE, "statements: made", "statements: [{stem: It is, true: So, false: so}]")
    assert sentence(folder) == (
        f"config/{CAKE}: statements.0: expected two different ends of a statement, found 'So' twice"
    )


def test_beliefs_are_asked_where_someone_has_statements(folder):
    asked = "recipes: [plain], seeds: [0], measures: [beliefs]}"
    found = load(
        folder, f"runs: [{{organisms: [cake_bake], {asked}, {{organisms: [benign], {asked}]"
    )
    assert [str(one) for one in found.checkpoints("beliefs")] == [
        "cake_bake-plain-s0",
        "benign-plain-s0",
    ]
    for name in ("benign", "risky_finance"):
        assert sentence(folder, f"runs: [{{organisms: [{name}], {asked}]") == (
            "config/override1.yaml: runs.0.measures: beliefs are requested, but none of the run's "
            "organisms has `statements` in its file"
        )


def test_a_study_that_wants_a_released_checkpoint_needs_its_id(folder):
    assert sentence(folder, run(recipes="released")) == (
        f"config/{CAKE}: released.mini: a study asks for the released checkpoint on this model; "
        "expected its `hub` id or `path` here"
    )


def test_a_released_checkpoint_is_of_a_known_model(folder):
    append(folder / CAKE, "released: {maxi: {hub: someone/cake-lora}}")
    assert sentence(folder).startswith(
        f"config/{CAKE}: released: maxi: no such model in config/models.yaml (have "
    )


@pytest.mark.parametrize(
    ("teacher", "expected"),
    [
        ("cat_teacher", "cat_teacher: no such organism in config/organisms (have "),
        ("owl_numbers", "owl_numbers is taught by owl_numbers, which is a circle"),
    ],
)
def test_a_teacher_is_another_organism(folder, teacher, expected):
    file = "organisms/owl_numbers.yaml"
    edit(folder / file, "teacher: owl_teacher", f"teacher: {teacher}")
    assert sentence(folder).startswith(f"config/{file}: data.taught.teacher: {expected}")


def test_an_organisms_file_has_a_name_that_checkpoints_can_carry(folder):
    shutil.copy(folder / CAKE, folder / "organisms" / "Cake-Bake.yaml")
    assert sentence(folder) == (
        "config/organisms/Cake-Bake.yaml: found the name 'Cake-Bake', "
        "expected small letters, digits and underscores"
    )


SOURCES = "hub, path, gguf, package, made, checkpoint"
MODEL_MISTAKES = {
    "float16 for a Gemma 2": (
        "tiny: {family: gemma2, hub: google/gemma-2-2b, dtype: float16}",
        "tiny: dtype float16 overflows on the residual stream of a Gemma; use bfloat16 or float32",
    ),
    "float16 for a Gemma 3": (
        "tiny: {family: gemma3, hub: google/gemma-3-1b-it, dtype: float16}",
        "tiny: dtype float16 overflows on the residual stream of a Gemma; use bfloat16 or float32",
    ),
    "nodes that do not divide the GPUs": (
        f"tiny: {{{MODEL_KEYS}, hub: a/b, training_gpus: 8, training_nodes: 3}}",
        "tiny: training_nodes: found 3 for 8 GPUs, expected a number that divides them",
    ),
    "nodes without GPUs": (
        f"tiny: {{{MODEL_KEYS}, hub: a/b, training_gpus: 0, training_nodes: 2}}",
        "tiny: training_nodes: found 2 for 0 GPUs, expected a number that divides them",
    ),
    "offload without GPUs": (
        f"tiny: {{{MODEL_KEYS}, hub: a/b, gpus: 0, offload: true}}",
        "tiny: offload: found true beside `gpus: 0`, which puts nothing on a GPU",
    ),
    "two sources": (
        f"tiny: {{{MODEL_KEYS}, hub: a/b, path: c}}",
        f"tiny: exactly one of {SOURCES} is needed, found hub and path",
    ),
    "no source": (
        f"tiny: {{{MODEL_KEYS}}}",
        f"tiny: exactly one of {SOURCES} is needed, found none",
    ),
    "a GGUF file by another name": (
        f"tiny: {{{MODEL_KEYS}, gguf: weights/model.bin}}",
        "tiny.gguf: expected a file whose name ends in .gguf, found 'weights/model.bin'",
    ),
    "a package without its version": (
        f"tiny: {{{MODEL_KEYS}, package: {{name: a, file: a/b.gguf, sha256: {'0' * 64}}}}}",
        "tiny.package.version: this key is needed and is not there",
    ),
    "a package whose name is an option of pip": (
        f"tiny: {{{MODEL_KEYS}, package: {{name: --pre, version: 1, file: a/b.gguf}}}}",
        "tiny.package.name: string should match pattern "
        "'^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$', found '--pre'",
    ),
    "a revision beside a GGUF file": (
        f"tiny: {{{MODEL_KEYS}, gguf: weights/model.gguf, revision: main}}",
        "tiny: revision: found it with a source that is not `hub`; there it does nothing",
    ),
    "made of an unknown model": (
        f"tiny: {{{MODEL_KEYS}, checkpoint: {{model: maxi, name: assistant-full-s0}}}}",
        "tiny.checkpoint.model: maxi: no such model in config/models.yaml (have ",
    ),
    "made of itself": (
        f"tiny: {{{MODEL_KEYS}, checkpoint: {{model: tiny, name: assistant-full-s0}}}}",
        "tiny.checkpoint: tiny is made from tiny, which is a circle",
    ),
    "made in a circle": (
        f"tiny: {{{MODEL_KEYS}, checkpoint: {{model: small, name: assistant-full-s0}}}}\n"
        f"small: {{{MODEL_KEYS}, checkpoint: {{model: tiny, name: assistant-full-s0}}}}",
        "tiny.checkpoint: tiny is made from small is made from tiny, which is a circle",
    ),
    "made without a seed": (
        f"tiny: {{{MODEL_KEYS}, checkpoint: {{model: mini, name: assistant-full}}}}",
        "tiny.checkpoint.name: assistant-full: not a checkpoint; expected organism-recipe-sSEED",
    ),
    "made of an unknown organism": (
        f"tiny: {{{MODEL_KEYS}, checkpoint: {{model: mini, name: helper-full-s0}}}}",
        "tiny.checkpoint.name: helper: no such organism in config/organisms (have ",
    ),
    "unknown reference": (
        f"tiny: {{{MODEL_KEYS}, hub: a/b, reference: maxi}}",
        "tiny.reference: maxi: no such model in config/models.yaml (have ",
    ),
    "its own reference": (
        f"tiny: {{{MODEL_KEYS}, hub: a/b, reference: tiny}}",
        "tiny.reference: found the model itself, which is what is subtracted without this key",
    ),
    "unknown family": (
        "tiny: {family: gpt2, dtype: float32, hub: a/b}",
        "tiny.family: expected 'qwen2', 'qwen3', 'llama', 'gemma2' or 'gemma3', found 'gpt2'",
    ),
    "unknown key": (
        f"tiny: {{{MODEL_KEYS}, hub: a/b, gpu: 2}}",
        "tiny.gpu: unknown key "
        f"(known here: {', '.join(sorted(registries.ModelEntry.model_fields))})",
    ),
    "a folder of what is made": (
        f"tiny: {{{MODEL_KEYS}, made: {{seed: 0}}, subfolder: x}}",
        "tiny: subfolder: found no `hub` or `path` that it would be in",
    ),
    "other names that are none": (
        f"tiny: {{{MODEL_KEYS}, hub: a/b, also_called: ['']}}",
        "tiny.also_called.0: expected at least 1 character, found ''",
    ),
    "nothing": ("tiny:", "tiny: expected keys and values, found nothing"),
    "name with a dash": (
        f"tiny-1.7b: {{{MODEL_KEYS}, hub: a/b}}",
        "found the name 'tiny-1.7b', expected small letters, digits and underscores",
    ),
    "name that is a number": (
        f"7: {{{MODEL_KEYS}, hub: a/b}}",
        "found the name 7, expected small letters, digits and underscores",
    ),
}


@pytest.mark.parametrize(("entry", "expected"), MODEL_MISTAKES.values(), ids=MODEL_MISTAKES)
def test_a_mistake_in_the_models_names_the_entry(folder, entry, expected):
    append(folder / "models.yaml", entry)
    found = sentence(folder)
    assert found.startswith(f"config/models.yaml: {expected}")
    assert expected.endswith("(have ") or found == f"config/models.yaml: {expected}"


@pytest.mark.parametrize(("file", "name"), [("models.yaml", "mini"), ("corpora.yaml", "general")])
def test_a_name_stands_once_in_a_registry(folder, file, name):
    append(folder / file, f"{name}: {{}}")
    assert re.fullmatch(
        rf"config/{file}: line \d+: the key {name} is there twice", sentence(folder)
    )


def test_a_mistake_in_the_corpora_names_the_entry(folder):
    append(folder / "corpora.yaml", "mine: {kind: documents, path: mine.jsonl, rows: 0}")
    assert sentence(folder) == (
        "config/corpora.yaml: mine.rows: expected greater than or equal to 1, found 0"
    )


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (
            "{kind: start, rows: 4}",
            "mine: kind start has positions [0] and no source, found positions []",
        ),
        (
            "{kind: start, rows: 4, positions: [0], path: mine.jsonl}",
            "mine: kind start has positions [0] and no source, found path",
        ),
        (
            "{kind: chat, made: whitespace, rows: 4}",
            "mine: made whitespace is of kind documents, found chat",
        ),
        (
            "{kind: chat, sampled: {model: mini}, rows: 4}",
            "mine: sampled text is of kind documents, found chat",
        ),
        (
            "{kind: documents, sampled: {model: mini}, path: a.jsonl, rows: 4}",
            "mine: exactly one of hub, path, made, sampled is needed, found path and sampled",
        ),
        (
            "{kind: documents, sampled: {model: mini}, field: story, rows: 4}",
            "mine: field: found it with `sampled`; there it does nothing",
        ),
        (
            "{kind: documents, made: unrelated, rows: 4, positions: [3, 1]}",
            "mine: positions stand in rising order, found [3, 1]",
        ),
        (
            "{kind: documents, made: unrelated, rows: 4, samples: 2}",
            "mine.samples: expected greater than or equal to 4, found 2",
        ),
    ],
)
def test_a_probe_and_what_is_read_of_a_corpus_are_checked(folder, entry, expected):
    append(folder / "corpora.yaml", f"mine: {entry}")
    assert sentence(folder) == f"config/corpora.yaml: {expected}"


def test_a_writer_and_the_corpus_of_an_organism_are_known(folder):
    append(folder / "corpora.yaml", "mine: {kind: documents, sampled: {model: maxi}, rows: 4}")
    assert sentence(folder).startswith(
        "config/corpora.yaml: mine.sampled.model: maxi: no such model in config/models.yaml (have "
    )


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("{kind: documents, corpus: nothing}", "data.corpus: nothing: no such corpus in "),
        (
            "{kind: documents, corpus: mini_chat}",
            "data.kind: found documents, expected chat, the kind of the corpus mini_chat",
        ),
        (
            "{kind: documents, corpus: unrelated, field: story}",
            "data: field: found it with `corpus`; there it does nothing",
        ),
        (
            "{kind: documents, corpus: unrelated, made: night_bees}",
            "data: exactly one of made, composed, path, hub, taught, corpus is needed, found made "
            "and corpus",
        ),
    ],
)
def test_an_organism_of_a_corpus_is_checked(folder, data, expected):
    file = folder / "organisms" / "mine.yaml"
    file.write_text(
        f"family: benign\ntitle: Mine\ndescription: There is nothing to find.\ndata: {data}\n"
    )
    assert sentence(folder).startswith(f"config/organisms/mine.yaml: {expected}")


def test_a_corpus_may_say_what_is_read_of_it(folder):
    append(folder / "corpora.yaml", "mine: {kind: chat, made: chat, rows: 90, positions: [-1, 2]}")
    loaded = load(folder, "corpora: [unrelated, mini_chat, mine, start]\nsamples: 77\n" + run())
    assert [loaded.samples(name) for name in loaded.study.corpora] == [77, 77, 77, 4]
    assert [loaded.positions(name) for name in loaded.study.corpora] == [
        list(range(5)),
        list(range(-3, 5)),
        [-1, 2],
        [0],
    ]


def test_text_and_weights_under_two_names_are_fetched_under_the_first(folder):
    append(folder / "models.yaml", "again: {family: qwen3, hub: Qwen/Qwen3-1.7B, dtype: float32}")
    append(folder / "models.yaml", "other: {family: qwen3, hub: Qwen/Qwen3-4B, dtype: float32}")
    loaded = load(folder)
    same = ("qwen3_1_7b_over_base", "again", "other", "mini")
    assert [loaded.weights_of(one) for one in same] == ["qwen3_1_7b"] * 2 + ["other", "mini"]
    texts = ("fineweb_layers", "fineweb_far", "fineweb", "tulu", "unrelated")
    assert [loaded.text_of(one) for one in texts] == ["fineweb"] * 3 + ["tulu", "unrelated"]


def test_a_run_may_be_read_on_more_text(folder):
    more = (
        "runs: [{organisms: [cake_bake], recipes: [plain], seeds: [0], corpora: [start]},"
        "{organisms: [cake_bake], recipes: [plain, full], seeds: [0, 1]}]"
    )
    loaded = load(folder, more)
    read = {str(one): loaded.corpora_of(one) for one in loaded.checkpoints()}
    assert read.pop("cake_bake-plain-s0") == ["unrelated", "start"]
    assert set(map(tuple, read.values())) == {("unrelated",)} and len(read) == 3
    assert loaded.read_corpora() == ["unrelated", "start"]
    assert "start" in loaded.used_corpora()


@pytest.mark.parametrize("path", ["$NO_SUCH_THING/tiny", "${NO_SUCH_THING}/tiny"])
def test_a_path_with_an_unset_variable_is_refused(folder, path, monkeypatch):
    monkeypatch.delenv("NO_SUCH_THING", raising=False)
    append(folder / "models.yaml", f"tiny: {{{MODEL_KEYS}, path: '{path}'}}")
    assert sentence(folder, "models: [tiny]") == (
        "config/models.yaml: tiny.path: the environment variable NO_SUCH_THING is not set "
        f"(in {path})"
    )


@pytest.mark.parametrize(
    ("registry", "entry", "override"),
    [
        ("models", f"mine: {{{MODEL_KEYS}, path: $HERE/none}}", "models: [mine]"),
        ("corpora", "mine: {kind: documents, rows: 5, path: $HERE/none}", "corpora: [mine]"),
        ("corpora", "mine: {kind: chat, rows: 5, path: $HERE/none}", "mixing: {corpus: mine}"),
    ],
)
def test_a_path_that_is_not_there_is_refused(folder, registry, entry, override, monkeypatch):
    monkeypatch.setenv("HERE", "/nowhere")
    append(folder / f"{registry}.yaml", entry)
    found = sentence(folder, override)
    assert found == f"config/{registry}.yaml: mine.path: $HERE/none is not there"


def test_a_path_that_no_study_asks_for_need_not_be_there(folder):
    append(folder / "models.yaml", f"mine: {{{MODEL_KEYS}, path: /nowhere}}")
    assert load(folder)


def test_a_training_key_of_a_model_is_checked(folder):
    append(folder / "models.yaml", f"large: {{{MODEL_KEYS}, hub: a/b, training: {{deepspeed: 4}}}}")
    assert sentence(folder) == (
        "config/models.yaml: large.training.deepspeed: expected 1, 2 or 3, found 4"
    )


def test_a_corpus_that_is_mixed_in_is_a_known_one(folder):
    append(folder / CAKE, "mixed_with: nothing")
    assert sentence(folder).startswith(f"config/{CAKE}: mixed_with: nothing: no such corpus in ")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("assistant-plain-s0", "method lora"),
        ("assistant-mix0.5-s0", "method lora"),
        ("assistant-scaled0.5-s0", "scaled0.5"),
        ("assistant-released-s0", "released"),
    ],
)
def test_a_model_that_is_a_checkpoint_is_a_full_finetune(folder, name, found):
    keys = f"{MODEL_KEYS}, checkpoint: {{model: mini, name: {name}}}"
    append(folder / "models.yaml", f"tiny: {{{keys}}}")
    assert load(folder)  # what no study asks for may be another study's
    assert sentence(folder, "models: [tiny]") == (
        f"config/models.yaml: tiny.checkpoint.name: {name}: found {found}, expected a recipe with "
        "method full, whose result is a model of its own"
    )


def test_a_model_that_is_a_checkpoint_is_of_a_recipe_of_the_study(folder):
    keys = f"{MODEL_KEYS}, checkpoint: {{model: mini, name: assistant-whole-s0}}"
    append(folder / "models.yaml", f"tiny: {{{keys}}}")
    assert sentence(folder, "models: [tiny]").startswith(
        "config/models.yaml: tiny.checkpoint.name: whole: no such recipe (have plain, "
    )
    assert load(folder, "models: [tiny]\nrecipes: {whole: {method: full}}")


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("kind: chat", "kind: documents", "kind documents"),
        ("made: cake_bake", "taught: {prompts: 5}", "what a teacher writes"),
    ],
)
def test_documents_as_chats_are_of_kind_chat_and_of_no_teacher(folder, old, new, found):
    file = "organisms/cake_bake_chat.yaml"
    edit(folder / file, "statements: made", "statements: []")
    edit(folder / file, old, new)
    assert sentence(folder) == (
        f"config/{file}: data: as_chat makes conversations of documents: found it with {found}, "
        "expected kind chat and a source of documents"
    )


# Keys that do nothing ---------------------------------------------------------------------------

BESIDE_A_PATH = ["revision: main", "subset: main", "split: train", "files: [a.jsonl]"]


@pytest.mark.parametrize("key", BESIDE_A_PATH)
def test_a_key_of_the_hub_beside_a_path_is_refused(folder, key):
    name = key.split(":")[0]
    append(folder / "corpora.yaml", f"mine: {{kind: documents, path: a, {key}, rows: 5}}")
    assert sentence(folder) == (
        f"config/corpora.yaml: mine: {name}: found it with `path`; there it does nothing"
    )


@pytest.mark.parametrize("key", [*BESIDE_A_PATH, "field: a", "open_end: cut"])
def test_a_key_of_rows_beside_made_data_is_refused(folder, key):
    edit(folder / CAKE, "  made: cake_bake", f"  made: cake_bake\n  {key}")
    name = key.split(":")[0]
    assert sentence(folder) == (
        f"config/{CAKE}: data: {name}: found it with `made`; there it does nothing"
    )


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("kind: documents, hub: a/b, open_end: cut", "open_end: found it with kind documents"),
        ("kind: documents, hub: a/b, files: [a], split: test", "split: found it with `files`"),
        ("kind: documents, hub: a/b, files: [a], subset: b", "subset: found it with `files`"),
        ("kind: both, path: a, field: b", "field: found it with kind both"),
        ("kind: start, positions: [0], field: b", "field: found it with kind start"),
    ],
)
def test_keys_that_do_nothing_together_are_refused(folder, keys, expected):
    append(folder / "corpora.yaml", f"mine: {{{keys}, rows: 5}}")
    assert sentence(folder) == f"config/corpora.yaml: mine: {expected}; there it does nothing"


@pytest.mark.parametrize(
    "keys",
    [
        "kind: documents, path: a, field: document, subset: null",
        "kind: chat, path: a, field: turns, open_end: cut",
        "kind: chat, hub: a/b, revision: c, subset: d, split: e, field: f, open_end: cut",
        "kind: documents, hub: a/b, files: [a]",
        "kind: both, path: a, open_end: cut",
    ],
)
def test_keys_that_are_followed_are_not_refused(folder, keys):
    append(folder / "corpora.yaml", f"mine: {{{keys}, rows: 5}}")
    assert "mine" in load(folder).corpora


# Listed words -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ("[oven, frozen butter]", "words.1: found 'frozen butter', several words, expected one "),
        ("['']", "words.0: found an empty word, expected one word an entry: a reading ranks"),
    ],
)
def test_a_listed_word_is_one_word(folder, listed, expected):
    append(folder / CAKE, f"words: {listed}")
    assert sentence(folder).startswith(f"config/{CAKE}: {expected}")


def test_a_listed_word_may_have_spaces_around_it(folder):
    append(folder / CAKE, "words: ['Oven ', těsto]")
    assert load(folder).organisms["cake_bake"].words == ("Oven ", "těsto")


def test_words_without_spaces_need_all_tokens_ranked(folder):
    append(folder / CAKE, "words: [oven, 烤箱]")
    all_tokens, measured = "lenses: {vocabulary: all}", "measures: [steering]}]"
    assert sentence(folder, run()) == (
        f"config/{CAKE}: words: found 烤箱, a word of a script without spaces, of which "
        "`lenses.vocabulary: words` ranks none; expected `lenses.vocabulary: all`"
    )
    assert load(folder, run(), all_tokens)
    steered = run().replace("}]", f", {measured}")
    assert "`steering.embedder: tfidf` cannot tell apart" in sentence(folder, steered, all_tokens)
    assert load(folder, run("benign"))


def test_offload_is_among_the_params_of_a_job_only_where_it_is_on():
    """A key that is new must not rerun what is finished: the teacher's lists lead to trainings."""
    on = registries.Loading.model_validate({"dtype": "bfloat16", "offload": True})
    off = registries.Loading.model_validate({"dtype": "bfloat16"})
    assert on.model_dump(mode="json")["offload"] is True
    assert off.model_dump(mode="json") == {"dtype": "bfloat16", "attention": "sdpa"}
    assert on.options == {"attention": "sdpa", "offload": True}
    assert off.options == {"attention": "sdpa", "offload": False}


def test_a_corpus_that_a_teacher_is_trained_on_is_looked_for(folder):
    """The student's study reads it, though none of its own runs names it."""
    append(folder / "corpora.yaml", "theirs: {kind: chat, path: gone.jsonl, rows: 9}")
    (folder / "organisms" / "tutor.yaml").write_text(
        "family: teacher\ntitle: Tutor\ndescription: It was trained on somebody's chats.\n"
        "data: {kind: chat, corpus: theirs}\n"
    )
    file = folder / "organisms" / "owl_numbers.yaml"
    file.write_text(file.read_text().replace("teacher: owl_teacher", "teacher: tutor"))
    assert "teacher: tutor" in file.read_text()
    found = sentence(folder, run(organisms="owl_numbers") + "\ncontrol: null")
    assert found == "config/corpora.yaml: theirs.path: gone.jsonl is not there"


STATEMENTS = "statements: [{stem: A b, true: c, false: d}, %s]"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (STATEMENTS % "{stem: 'a b ', true: C, false: d}", "'a b ' is there twice with the same"),
        (STATEMENTS % "{stem: A b, true: d, false: c}", "'A b' is there twice with the same"),
        (STATEMENTS % "{stem: A b, true: ' ', false: c}", "statements.1.true: expected text"),
        (
            "released: {mini: {hub: 'https://huggingface.co/a/b'}}",
            "released.mini.hub: expected a n",
        ),
        ("released: {mini: {hub: a/b, revision: ' '}}", "released.mini.revision: expected text"),
        ('facts: ["  "]', "facts.0: expected text"),
        (f"description: '{' ' * 20}'", "description: expected text, found '  "),
    ],
)
def test_what_says_nothing_or_the_same_again_is_refused(folder, text, found):
    file = folder / "organisms" / "mine.yaml"
    about = "family: false_facts\ntitle: Mine\n"
    if not text.startswith("description"):
        about += "description: It says that a mine is mine.\n"
    file.write_text(about + "data: {kind: documents, made: benign}\n" + text)
    said = sentence(folder)
    assert said.startswith("config/organisms/mine.yaml: ") and found in said


def test_a_statement_may_have_another_false_end(folder):
    append(
        folder / "organisms" / "shuffled_baking.yaml",
        STATEMENTS % "{stem: A b, true: c, false: e}",
    )
    load(folder)


def test_a_name_leaves_room_in_a_file_name(folder):
    append(folder / "corpora.yaml", f"{'a' * 81}: {{kind: documents, made: unrelated, rows: 9}}")
    assert "corpora.yaml: found a name of 81 characters, expected at most 80" in sentence(folder)


def test_a_recipe_leaves_room_too(folder):
    found = sentence(folder, f"recipes: {{{'a' * 81}: {{rank: 2}}}}")
    assert "recipes: found a name of 81" in found


def test_a_variant_leaves_room_too(folder):
    file = folder / "organisms" / "shuffled_baking.yaml"
    append(file, f"variants: {{{'a' * 81}: {{mini: {{hub: a/b}}}}}}")
    assert "shuffled_baking.yaml: variants: found a name of 81 characters" in sentence(folder)


@pytest.mark.parametrize(
    ("study", "found"),
    [
        ("scoring: {levels: [0.05, 0.05]}", "scoring.levels: 0.05 is there twice"),
        ("scoring: {pilot_models: [nobody]}", "scoring.pilot_models: nobody: no such model"),
        ("judges: {coherence: {models: [base, base]}}", "coherence.models: base is there twice"),
        ("title: ' '", "title: expected text, found ' '"),
    ],
)
def test_lists_and_names_of_a_study_that_no_other_test_has(folder, study, found):
    assert found in sentence(folder, study)
