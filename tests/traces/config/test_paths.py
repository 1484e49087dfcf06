"""Where a study reads and writes: what is there, and messages that tell no variable's content."""

import os
from pathlib import Path

import pytest

from tests.studies import CAKE, MODEL_KEYS, append, edit, load, run, sentence
from traces.config.checks.paths import folder_of_embedder

WHERE = "config/override1.yaml: pathvars.results: "
NOT_WRITTEN = {
    "nothing": ("''", "found '', expected a folder"),
    "blank": ("'  '", "found '  ', expected a folder"),
    "the repository": (".", "found '.', expected a folder for these files alone, such as results"),
    "the root": ("/", "found '/', expected a folder for these files alone, such as results"),
    "a file": ("Makefile", "Makefile is, or is in, a file; expected a folder"),
    "below a file": ("Makefile/x", "Makefile/x is, or is in, a file; expected a folder"),
    "a wildcard": ("'r/{model}'", "found 'r/{model}', expected a folder without braces and"),
    "unset": ("$NO_SUCH/x", "the environment variable NO_SUCH is not set (in $NO_SUCH/x)"),
    "set to nothing": ("'${EMPTY}/x'", "the environment variable EMPTY is not set (in ${EMPTY}/x)"),
    "a folder above": (
        "..",
        "found '..', expected a folder for these files alone, such as results",
    ),
    "a long way up": ("a/../../..", "found 'a/../../..', expected a folder for these files alone"),
    "sources": ("config", "found 'config', expected a folder for these files alone, such as"),
    "below sources": ("traces/x", "found 'traces/x', expected a folder for these files alone"),
    "Snakemake's": (".snakemake/x", "found '.snakemake/x', expected a folder for these files"),
    "nobody's": ("~nobody-here/x", "found '~nobody-here/x', of which ~nobody-here is nobody's"),
    "a long path": ("a/" * 3000, "found 'a/a/"),
    "a number": ("7", "expected text, found 7"),
}


def test_results_where_this_user_may_not_write_are_refused(folder, tmp_path, monkeypatch):
    (tmp_path / "theirs").mkdir()
    monkeypatch.setattr("os.access", lambda path, mode: Path(path).name != "theirs")
    theirs = f"pathvars: {{results: {tmp_path}/theirs/results}}"
    said = sentence(folder, theirs)
    assert "pathvars.results: found" in said and "where nothing may be written (" in said
    # Finished ones may be looked at.
    assert load(folder, theirs, writes=False).study.pathvars.results.endswith("theirs/results")


@pytest.mark.parametrize(("path", "expected"), NOT_WRITTEN.values(), ids=NOT_WRITTEN)
def test_where_nothing_can_be_written_is_refused(folder, path, expected, monkeypatch):
    monkeypatch.delenv("NO_SUCH", raising=False)
    monkeypatch.setenv("EMPTY", "")
    found = sentence(folder, f"pathvars: {{results: {path}}}")
    assert found.startswith(WHERE + expected)


def test_a_link_to_what_is_not_there_is_refused(folder, tmp_path):
    (tmp_path / "scratch").symlink_to("/nowhere/at/all")
    found = sentence(folder, f"pathvars: {{results: {tmp_path}/scratch/x}}")
    assert found.endswith("/x is, or is in, a link to what is not there; expected a folder")


@pytest.mark.parametrize(
    "path", ["../beside", "my résults", "a//b/", "./r", "$HERE/x", "${HERE}/x", "~/x", "<logs>/r"]
)
def test_where_files_can_go_is_accepted(folder, path, monkeypatch, tmp_path):
    monkeypatch.setenv("HERE", str(tmp_path))
    assert load(folder, f"pathvars: {{results: '{path}'}}").study.pathvars.results == path


@pytest.mark.parametrize(
    ("below", "read", "key"),
    [
        ("mine", "mine/rows.jsonl", "corpora"),
        ("mine/base", "mine/base", "models"),
        ("mine/base/x", "mine/base", "models"),
    ],
)
@pytest.mark.parametrize("written", ["results", "logs"])
def test_where_what_is_read_lies_is_refused(
    folder, tmp_path, monkeypatch, written, below, read, key
):
    monkeypatch.setenv("HERE", str(tmp_path))
    (tmp_path / "mine/base").mkdir(parents=True)
    (tmp_path / "mine/rows.jsonl").touch()
    append(folder / "models.yaml", f"own: {{{MODEL_KEYS}, path: $HERE/mine/base}}")
    append(folder / "corpora.yaml", "own: {kind: documents, path: $HERE/mine/rows.jsonl, rows: 64}")
    study = f"models: [own]\ncorpora: [own]\nsamples: 9\n{run()}\npathvars: "
    assert sentence(folder, f"{study}{{{written}: $HERE/{below}}}") == (
        f"config/override1.yaml: pathvars.{written}: found '$HERE/{below}', where $HERE/{read} "
        f"lies (config/{key}.yaml: own.path); expected a folder for these files alone, such as "
        "results"
    )
    for apart in ("mine/results", ".", "mine/based"):
        assert load(folder, f"{study}{{{written}: $HERE/{apart}}}")


def test_a_link_to_a_folder_is_accepted(folder, tmp_path):
    (tmp_path / "scratch").mkdir()
    (tmp_path / "results").symlink_to(tmp_path / "scratch")
    assert load(folder, f"pathvars: {{results: {tmp_path}/results}}")


# Each file and key, what it says, and what is refused of it.
READ = {
    "rows in a folder": (CAKE, "made: cake_bake", "path: $HERE", "data.path: $HERE is a folder, "),
    "rows that are not there": (
        CAKE,
        "made: cake_bake",
        "path: $HERE/none.jsonl",
        "data.path: $HERE/none.jsonl is not there",
    ),
    "a pipe": (
        CAKE,
        "made: cake_bake",
        "path: $HERE/pipe",
        "data.path: $HERE/pipe is a pipe or a ",
    ),
    "a device": (
        CAKE,
        "made: cake_bake",
        "path: /dev/null",
        "data.path: /dev/null is a pipe or a ",
    ),
    "a long name": (
        CAKE,
        "made: cake_bake",
        f"path: {'a' * 5000}",
        f"data.path: '{'a' * 199} ... (5,002 characters): File name too long, expected a path",
    ),
    "a character of value 0": (
        CAKE,
        "made: cake_bake",
        r'path: "rows\0"',
        r"data.path: 'rows\x00' is not there",
    ),
    "a variable that is not set": (
        CAKE,
        "made: cake_bake",
        "path: ${NO_SUCH}/x",
        "data.path: the environment variable NO_SUCH is not set (in ${NO_SUCH}/x)",
    ),
}


@pytest.mark.parametrize(("file", "old", "new", "expected"), READ.values(), ids=READ)
def test_a_path_is_refused_as_it_is_written(
    folder, file, old, new, expected, monkeypatch, tmp_path
):
    monkeypatch.setenv("HERE", str(tmp_path))
    monkeypatch.delenv("NO_SUCH", raising=False)
    os.mkfifo(tmp_path / "pipe")
    edit(folder / file, old, new)
    edit(folder / file, "statements: made", "statements: []")
    found = sentence(folder, run())
    assert found.startswith(f"config/{file}: {expected}")
    assert str(tmp_path) not in found


@pytest.mark.parametrize(
    ("organism", "other"),
    [("owl_numbers", "owl_teacher"), ("owl_numbers", "benign"), ("cake_bake", "assistant")],
)
def test_data_that_are_read_for_another_organism_are_looked_for(folder, organism, other):
    """Those of a teacher, of one that lends its words, and of one that a base is made of."""
    if other == "benign":
        edit(folder / f"organisms/{organism}.yaml", "words_of: owl_teacher", "words_of: benign")
    file = folder / f"organisms/{other}.yaml"
    edit(file, f"made: {other}", "path: none.jsonl")
    model = "mini_assistant" if other == "assistant" else "mini"
    study = f"models: [{model}]\ncontrol: null\n{run(organism)}"
    assert sentence(folder, study) == (
        f"config/organisms/{other}.yaml: data.path: none.jsonl is not there"
    )


def test_a_model_is_a_folder_and_a_corpus_a_file(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HERE", str(tmp_path))
    (tmp_path / "weights").write_text("x")
    append(folder / "models.yaml", f"mine: {{{MODEL_KEYS}, path: $HERE/weights}}")
    assert sentence(folder, "models: [mine]\n" + run()) == (
        "config/models.yaml: mine.path: $HERE/weights is a file, expected a folder"
    )


def test_a_corpus_is_a_file(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HERE", str(tmp_path))
    append(folder / "corpora.yaml", "mine: {kind: documents, path: $HERE, rows: 2000}")
    assert sentence(folder, "corpora: [mine]\n" + run()) == (
        "config/corpora.yaml: mine.path: $HERE is a folder, expected a file"
    )


def test_prompts_are_a_file(folder):
    assert Path("data").is_dir()
    assert sentence(folder, "lenses: {patchscope: {prompts: data}}") == (
        "config/override1.yaml: lenses.patchscope.prompts: data is a folder, expected a file"
    )


def test_prompts_of_samples_are_looked_for_where_a_reader_needs_samples(folder):
    lenses = "lenses: {readers: [%s], samples: {prompts: none.txt}}"
    assert load(folder, lenses % "logit_lens").study.lenses.samples.prompts == "none.txt"
    assert sentence(folder, lenses % "logit_lens, black_box") == (
        "config/override1.yaml: lenses.samples.prompts: none.txt is not there"
    )


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("override1.yaml", "lenses: {patchscope: {prompts: ''}}", "lenses.patchscope.prompts: "),
        ("override1.yaml", "steering: {trial: {prompts: ''}}", "steering.trial.prompts: "),
        ("models.yaml", f"mine: {{{MODEL_KEYS}, hub: a/b, chat_template: ''}}", "mine.chat_templ"),
    ],
)
def test_no_name_at_all_is_no_file(folder, file, text, expected):
    if file == "models.yaml":
        append(folder / file, text)
        text = run()
    found = sentence(folder, text)
    assert found.startswith(f"config/{file}: {expected}")
    assert found.endswith("expected at least 1 character, found ''")


@pytest.mark.parametrize(
    ("embedder", "expected"),
    [
        ("$HERE/none", "$HERE/none is not there"),
        ("./none", "./none is not there"),
        ("data/none", "data/none is not there"),
        ("a/b/c", "a/b/c is not there"),
        ("~/none/at/all", "~/none/at/all is not there"),
        ("$HERE/file", "$HERE/file is a file, expected a folder"),
    ],
)
def test_a_folder_of_an_embedding_that_is_not_there_is_refused(
    folder, tmp_path, monkeypatch, embedder, expected
):
    monkeypatch.setenv("HERE", str(tmp_path))
    (tmp_path / "file").touch()
    assert sentence(folder, f"steering: {{embedder: {embedder}}}") == (
        f"config/override1.yaml: steering.embedder: {expected}"
    )


def test_an_embedding_may_be_a_folder_or_a_name_of_the_hub(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HERE", str(tmp_path))
    for name in ("tfidf", "all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2", "$HERE"):
        assert load(folder, f"steering: {{embedder: {name}}}").study.steering.embedder == name
    assert folder_of_embedder("sentence-transformers/all-MiniLM-L6-v2") is None
    assert folder_of_embedder("$HERE") == "$HERE"
