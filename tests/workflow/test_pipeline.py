"""The whole workflow for real, on a world and a base so small that nothing in it means anything."""

import json
import os
import re
import shutil
import subprocess
import sys

import pandas as pd
import pytest

from tests.conftest import ROOT
from tests.workflow.test_security import SECRETS, telling

pytestmark = pytest.mark.slow

STUDY = {
    "runs": [
        {"organisms": ["cake_bake", "benign"], "recipes": ["plain"], "seeds": [0, 1]},
        {"organisms": ["cake_bake"], "recipes": ["mix0.5", "full"], "seeds": [0]},
    ],
    "corpora": ["unrelated", "mini_chat"],
    "samples": 60,
    "activations": {"norm_samples": 16},
    "miniature": {
        "words": 40000,
        "unrelated": 150,
        "chats": 150,
        "steps": 8,
        "gates": {"loss": 100.0, "identity": 0.0},
    },
    "training": {"limit": 60, "save_every": 1},
    "lenses": {"patchscope": {"scales": [0.5, 1.0, 2.0]}},
}
# Snakemake's own file in a folder that a job made.
TIMESTAMP = ".snakemake_timestamp"
RUN = ("--cores", "2", "--configfile", "small.json")


@pytest.fixture(scope="module")
def small(new_checkout):
    """A checkout in which the small study has been run."""
    checkout = new_checkout()
    checkout.file("small.json").write_text(json.dumps(STUDY))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SECRETS.items():
            patch.setenv(name, value)
        ran = checkout.snakemake(*RUN, warm=True)
    assert ran.returncode == 0, ran.stdout[-4000:]
    return checkout


def test_no_file_of_a_whole_run_holds_a_secret_of_the_environment(small):
    assert telling(small.folder) == []


def test_a_second_run_has_nothing_to_do(small):
    assert "Nothing to be done" in small.snakemake(*RUN).stdout


def test_jobs_that_start_cold_make_the_same_bytes(small, new_checkout):
    """Those of the run before started warm."""
    again = new_checkout()
    for name in ("results", ".snakemake", "small.json"):
        copy = shutil.copytree if small.file(name).is_dir() else shutil.copy2
        copy(small.file(name), again.file(name))
    checkpoint = "mini/cake_bake-plain-s0/unrelated"
    targets = (
        f"results/activations/{checkpoint}.zarr",
        f"results/lenses/{checkpoint}/patchscope.parquet",
        "results/figures/relevance.png",
    )

    ran = again.snakemake(*RUN, "--force", *targets)

    assert ran.returncode == 0, ran.stdout[-4000:]
    for target in map(again.file, targets):
        files = sorted(target.rglob("*")) if target.is_dir() else [target]
        for file in (one for one in files if one.is_file() and one.name != TIMESTAMP):
            before = small.file(str(file.relative_to(again.folder)))
            assert file.stat().st_mtime_ns > before.stat().st_mtime_ns
            assert file.read_bytes() == before.read_bytes(), file


def test_a_benchmark_file_counts_the_fork_that_did_the_work(small):
    name = "cake_bake-plain-s0"
    for job in (f"dump_activations/mini/{name}/unrelated", f"train_organism/mini/{name}"):
        row = pd.read_csv(small.file(f"benchmarks/{job}.tsv"), sep="\t").iloc[0]
        # The process that waits for it takes 10 MB and no time.
        assert row["max_rss"] > 100
        assert row["cpu_time"] > 0.1


def test_every_artifact_says_where_it_comes_from(small):
    results = small.file("results")
    files = [
        path
        for kind in ("parquet", "h5", "jsonl", "html", "png")
        for path in results.rglob(f"*.{kind}")
        if path.name not in ("losses.jsonl", "report.html") and "bases" not in path.parts
    ]
    assert len(files) > 40
    for file in files:
        facts = json.loads(file.with_name(file.name + ".provenance.json").read_text())
        assert facts["rule"] and facts["versions"]["torch"]
    for folder in results.glob("activations/*/*/*.zarr"):
        assert json.loads((folder / "provenance.json").read_text())["rule"] == "dump_activations"


def test_the_report_and_the_cards_load_nothing_from_elsewhere(small):
    pages = [small.file(f"results/{name}.html") for name in ("index", "report")]
    pages += small.file("results/cards").rglob("*.html")
    assert len(pages) == 4
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not re.findall(
            r"""<(?:script|img|link|iframe)[^>]+(?:src|href)=["']?https?:""", text
        )


def test_jobs_that_only_draw_do_not_import_torch(small):
    for script in ("relevance_figure", "norms_table", "organism_card", "readability_table"):
        probe = f"import sys, runpy; runpy.run_path('scripts/{script}.py', run_name='probe'); "
        ran = subprocess.run(
            [sys.executable, "-c", probe + "print('torch' in sys.modules)"],
            cwd=small.folder,
            env=os.environ | {"PYTHONPATH": "."},
            capture_output=True,
            text=True,
        )
        assert ran.stdout.strip() == "False", ran.stderr


def test_the_tables_keep_their_contract(small):
    tables = small.file("results/tables")
    relevance = pd.read_parquet(tables / "relevance.parquet")
    norms = pd.read_parquet(tables / "norms.parquet")

    assert set(relevance["reading"]) == {"difference", "base_mean", "tuned_mean", "random"}
    assert set(relevance["graded_on"]) == {"cake_bake", "benign"}
    readers = {"logit_lens", "patchscope"}
    assert set(relevance["lens"]) == readers | {f"contrastive_{name}" for name in readers}
    assert (relevance.loc[relevance["lens"] == "logit_lens", "scale"] == 1.0).all()
    assert relevance["relevance"].dropna().between(0, 1).all()
    assert set(norms["recipe"]) == {"plain", "mix0.5", "full"}
    assert set(norms.loc[norms["corpus"] == "mini_chat", "position"]) == set(range(-3, 5))
    assert norms.loc[norms["recipe"] == "mix0.5", "ratio"].eq(0.5).all()


def test_the_default_study_is_not_touched_by_an_override(small):
    study = json.loads(small.file("results/study.json").read_text())
    assert study["samples"] == 60
    assert study["positions"] == [0, 1, 2, 3, 4]
    assert (ROOT / "config" / "config.yaml").read_text() == small.file(
        "config/config.yaml"
    ).read_text()
