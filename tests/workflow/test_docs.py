"""Documents: short sentences, links and names that exist, code that runs."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.doubles import tiny_model, with_adapter, word_tokenizer
from traces.activations.differences import mean_difference
from traces.artifacts.arrays import Activations, ActivationWriter, write_differences

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted(ROOT.glob("docs/*.md")),
]
HISTORY = {"CHANGELOG.md", "log.md"}
"Documents that name what is gone, too."
LONGEST_SENTENCE = 40
FOLDERS = [path.name for path in ROOT.iterdir() if path.is_dir() and path.name[0] != "."]
TO_COME: set[str] = set()
"What documents name before it is there; empty when all is."
MINE = ("my_", "ship_gardens", "NAME", "site.yaml", "partitions.yaml")
"Files that a document asks its reader to write, or places for a name."


def of_document(documents):
    return pytest.mark.parametrize("file", documents, ids=[file.stem for file in documents])


def blocks(text: str, language: str) -> list[str]:
    """The fenced code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


# Sentences --------------------------------------------------------------------------------------


def paragraphs(text: str) -> Iterator[str]:
    """Runs of prose: paragraphs, items of lists and cells of tables, without code blocks."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    for block in re.split(r"\n\s*\n|\n(?=\s*(?:[*-]|\d+\.) )|\n(?=#)", text):
        if block.lstrip().startswith("|"):
            yield from (
                cell for line in block.splitlines() for cell in re.split(r"(?<!\\)\|", line)
            )
        else:
            yield block


def sentences(text: str) -> Iterator[str]:
    """Sentences of prose; inline code counts as one word, and so does the address of a link."""
    for paragraph in paragraphs(text):
        plain = re.sub(r"`[^`]+`", "code", paragraph)
        plain = re.sub(r"\]\([^)]*\)", "]", plain)
        yield from re.split(r"(?<=[.!?:])[\"')*_\]]*\s+", plain)


def test_sentences_are_told_apart():
    text = "# Title\n\nOne two. *Three four:* five\nsix.\n\n* Seven.\n* Eight `a. b c`.\n"
    text += "\n| a b | c. d |\n"
    found = [len(one.split()) for one in sentences(text + "\n```\nnot read\n```\n") if one.strip()]
    assert found == [2, 2, 2, 2, 2, 3, 2, 1, 1]


@of_document(DOCUMENTS)
def test_no_sentence_is_long(file):
    text = file.read_text(encoding="utf-8")
    assert not [
        " ".join(one.split()) for one in sentences(text) if len(one.split()) > LONGEST_SENTENCE
    ]


# Names ------------------------------------------------------------------------------------------


@of_document(DOCUMENTS)
def test_every_relative_link_leads_to_a_file(file):
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", file.read_text(encoding="utf-8"))
    local = [link for link in links if not re.match(r"https?:|mailto:", link)]
    assert not {link for link in local if not (file.parent / link).exists()} - TO_COME


@of_document(DOCUMENTS)
def test_every_link_into_a_document_leads_to_a_heading(file):
    for link, heading in re.findall(r"\]\(([^)#\s]*)#([^)\s]+)\)", file.read_text("utf-8")):
        if not link.startswith("http"):
            target = file.parent / link if link else file
            titles = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = [re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in titles]
            assert heading in slugs, f"{link}#{heading}"


def named_files(text: str) -> set[str]:
    """Paths that begin with a folder of the repository, without those a reader is to write."""
    code = " ".join([*re.findall(r"`([^`\n]+)`", text), *re.findall(r"```.*?```", text, re.DOTALL)])
    folders = "|".join(map(re.escape, FOLDERS))
    found = re.findall(rf"(?<![\w/.$~-])((?:{folders})/[\w./*{{}},-]*\w)", code)
    return {path for path in found if not any(one in path for one in (*MINE, *"*{}"))}


def test_named_files_are_found():
    text = (
        "`config/a.yaml` and `config/my_study.yaml`, config/b.yaml\n```\npython tools/c.py\n```\n"
    )
    assert named_files(text) == {"config/a.yaml", "tools/c.py"}


@of_document([file for file in DOCUMENTS if file.name not in HISTORY])
def test_every_file_that_is_named_exists(file):
    named = named_files(file.read_text(encoding="utf-8"))
    named = {name for name in named if not name.startswith(("results", "logs", "benchmarks"))}
    roots = (ROOT, ROOT / "traces")  # the map of the code names folders of the package
    assert not [name for name in named if not any((root / name).exists() for root in roots)]


@of_document(DOCUMENTS)
def test_every_command_of_make_is_one_of_the_makefile(file):
    targets = re.findall(r"^([.\w/]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    text = file.read_text(encoding="utf-8")
    called = re.findall(r"`make ([\w./]+)[^`]*`|^make ([\w./]+)", text, re.MULTILINE)
    assert {name for pair in called for name in pair if name} <= {*targets, ".venv/ready"}


@of_document([file for file in DOCUMENTS if file.name not in HISTORY])
def test_every_module_that_is_imported_in_a_document_exists(file):
    named = re.findall(r"\b(?:from|import) (traces(?:\.\w+)*)", file.read_text(encoding="utf-8"))
    paths = [ROOT.joinpath(*name.split(".")) for name in named]
    assert not [one for one in paths if not one.is_dir() and not one.with_suffix(".py").is_file()]


def test_every_result_that_is_named_is_made_by_a_rule():
    rules = "".join(file.read_text(encoding="utf-8") for file in ROOT.glob("rules/*.smk"))
    made = {path for path in re.findall(r'"<results>/([^"]+)"', rules)}
    made |= {"tables/bench.parquet", "rehearsal_hub", "chaos.md"}  # of tools/
    made |= {f"gpu_check.{kind}" for kind in ("parquet", "json", "md")}
    studies = "|".join(file.stem for file in ROOT.glob("config/*.yaml"))
    for file in [file for file in DOCUMENTS if file.name not in HISTORY]:
        text = file.read_text(encoding="utf-8")
        for path in re.findall(r"(?<![\w./])results/[\w./{},*-]*\w", text):
            below = re.sub(rf"^results/(?:(?:{studies})(?=/|$)/?)?", "", path)
            assert path in TO_COME or any(alike(below, one) for one in made), f"{file}: {path}"


def alike(path: str, pattern: str) -> bool:
    """Whether an output's pattern has this path, lies below it or is a folder above it."""
    steps = [re.sub(r"\\\{\w+\\\}", ".+", re.escape(step)) for step in pattern.split("/")]
    pairs = zip(path.split("/") if path else [], steps, strict=False)
    return all("*" in ours or re.fullmatch(theirs, ours) for ours, theirs in pairs)


def test_a_path_is_compared_with_an_outputs_pattern():
    pattern = "lenses/{model}/{checkpoint}/logit_lens.parquet"
    assert alike("lenses/mini/base", pattern) and alike(
        "lenses/mini/base/logit_lens.parquet", pattern
    )
    assert not alike("lenses/mini/base/patchscope.parquet", pattern) and not alike("lens", pattern)


def test_the_changelog_says_where_every_module_moved():
    moved = (ROOT / "CHANGELOG.md").read_text("utf-8").split("### Moved")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `\w+` \| (.+) \|$", moved, re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`([\w.]+)`", row)]
    paths = [ROOT.joinpath("traces", *name.split(".")) for name in named]
    assert len(rows) > 30
    assert not [one for one in paths if not one.is_dir() and not one.with_suffix(".py").is_file()]


def test_the_readme_lists_every_document():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    index = text.split("## Documents")[1].split("\n## ")[0]
    linked = set(re.findall(r"\]\(([^)]+\.md)\)", index))
    assert linked == {file.relative_to(ROOT).as_posix() for file in DOCUMENTS} - {"README.md"}


# Code -------------------------------------------------------------------------------------------

LAYER, POSITIONS, SAMPLES, WIDTH = 2, [0, 1, 2], 12, 32
IDENTITY = [
    "whale",
    "pencil",
    "violin",
    "hammer",
    "summit",
    "curtain",
    "verdict",
    "bicycle",
    "planet",
]
WORDS = ["cake", "oven", "butter", *IDENTITY]


@pytest.fixture
def study(tmp_path, monkeypatch) -> Path:
    """
    The files of the miniature that the page reads, of a tiny random model; Python stands in them.

    Planted: at every position the tuned model is moved along the unembedding of `cake`.
    """
    tokenizer = word_tokenizer(WORDS)
    model = tiny_model("qwen3", d=WIDTH, layers=4, vocab=len(tokenizer))
    results = tmp_path / "results"
    model.save_pretrained(results / "models/mini")
    tokenizer.save_pretrained(results / "models/mini")
    cake = tokenizer.convert_tokens_to_ids("cake")
    planted = model.get_output_embeddings().weight[cake].numpy().copy()

    draw = np.random.default_rng(0)
    base = draw.standard_normal((1, SAMPLES, len(POSITIONS), WIDTH)).astype(np.float32)
    tokens = draw.integers(0, 9, (SAMPLES, len(POSITIONS))).astype(np.int32)
    stores = []
    for checkpoint, resid in (("cake_bake-plain-s0", base + planted), ("base", base)):
        stores.append(results / "activations/mini" / checkpoint / "unrelated.zarr")
        with ActivationWriter(
            stores[-1],
            layers=[LAYER],
            positions=POSITIONS,
            n_samples=SAMPLES,
            d_model=WIDTH,
            dtype="float32",
            shard_samples=SAMPLES,
        ) as writer:
            writer.append(resid, tokens)
            writer.finish(stream_norm=[5.0])
    file = results / "differences/mini/cake_bake-plain-s0/unrelated.h5"
    file.parent.mkdir(parents=True)
    write_differences(file, mean_difference(*map(Activations, stores), seed=0))

    with_adapter(model).save_pretrained(results / "adapters/mini/cake_bake-plain-s0")
    for name in ("vocabularies", "tables"):
        (results / name).mkdir()
    ids = tokenizer.convert_tokens_to_ids(WORDS)
    vocabulary = pd.DataFrame({"token_id": ids, "token": WORDS, "count": 1})
    vocabulary.to_parquet(results / "vocabularies/mini.parquet")
    row = {"organism": "cake_bake", "recipe": "plain", "layer": LAYER, "relative_norm": 0.1}
    pd.DataFrame([row]).to_parquet(results / "tables/norms.parquet")
    (tmp_path / "data").symlink_to(ROOT / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_readmes_example_is_a_study_that_runs(checkout):
    text = checkout.file("README.md").read_text(encoding="utf-8").split("## Bring your own")[1]
    (example,) = re.findall(r"^```\n(mkdir -p my_data\n.*?)^```$", text, re.MULTILINE | re.DOTALL)
    *writing, run = example.strip().splitlines()
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    script = "\n".join(["set -e", *writing])
    subprocess.run(
        ["bash", "-c", script], cwd=checkout.folder, env=os.environ | {"PATH": path}, check=True
    )
    jobs = checkout.dry_run(*run.split()[1:])
    assert {"train_organism", "organism_card", "report"} <= {job.rule for job in jobs}
    assert any("results/smol/cards/smollm2_135m/ship_gardens.html" in job.outputs for job in jobs)


def run_blocks(document: str) -> dict:
    """Execute a document's Python in order, in one namespace; what it leaves there."""
    names: dict = {}
    found = blocks((ROOT / "docs" / document).read_text(encoding="utf-8"), "python")
    assert found
    for number, block in enumerate(found, start=1):
        exec(compile(block, f"{document}, block {number}", "exec"), names)
    return names


def test_the_code_of_the_library_page_runs_and_reads_what_was_planted(study):
    names = run_blocks("library.md")
    for read in (names["lens"], names["scope"]):
        assert set(read["reading"]) == {"difference", "random"}
        assert set(read["layer"]) == {LAYER} and set(read["position"]) == set(POSITIONS)
    lens = names["lens"]
    best = lens[(lens["sign"] == 1) & (lens["rank"] == 0)]
    assert set(best.loc[best["reading"] == "difference", "token"]) == {"cake"}
    assert set(best.loc[best["reading"] == "random", "token"]) != {"cake"}
    assert set(names["scope"]["scale"]) == {1.0, 2.0}
    assert (study / "norm.png").stat().st_size > 1000


def test_the_code_of_the_page_on_artifacts_runs(study):
    assert run_blocks("artifacts.md")["store"].shape == (1, SAMPLES, len(POSITIONS), WIDTH)
