"""The whole workflow for real, on a world and a base so small that nothing in it means anything."""

import json
import os
import re
import shutil
import subprocess
import sys
import zlib

import pandas as pd
import pytest

from tests.chat_server import ChatServer, failed, said
from tests.conftest import ROOT
from tests.traces.agents import acting
from tests.workflow.test_security import PLANTED, SECRETS, telling

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


# Investigators behind an API ----------------------------------------------------------------------

KEYS = {
    "JUDGE_API_KEY": "sk-planted-key-of-judges",
    "SUBJECT_API_KEY": "sk-planted-key-of-subjects",
}
"A key for the judges' server and one for the examined models', as `telling` finds them."
REPLY, RESERVED, CAP = 0.01, 0.02, 0.36
"US dollars of one reply, the most that it may cost, and a cap of half of what all of them cost."
ASKED = ("results/tables/agents.parquet", "results/figures/agents.png")
CARD = "results/cards/mini/cake_bake.html"
PLANNED = ["checkpoint", "organism", "null", "agent", "prompt", "interactions", "run"]


def investigating(url: str) -> dict:
    """The small study with an investigator and a grader at a server, which has both models too."""
    measured, rest = STUDY["runs"]
    asked = {"base_url": url, "max_tokens": 20}
    return STUDY | {
        "runs": [measured | {"measures": ["agents"]}, rest],
        "judges": {
            "graders": [{"name": "scripted", "model": "openai-api/judge/grader", **asked}],
            "cap": CAP,
        },
        "agents": {
            "models": [{"name": "plays", "model": "openai-api/judge/investigator", **asked}],
            "graders": ["scripted"],
            "prompts": ["neutral"],
            "interactions": {"lens": [5], "black_box": [5]},
            "nulls": ["none", "base_vs_base", "seed_pair", "benign", "random"],
            "served": {"base_url": url, "name": "{model}/{checkpoint}"},
        },
    }


def script_of(server: ChatServer):
    """Look, ask, submit, and grade; each key is told once in an answer and once in an error."""

    def script(number: int, body: dict):
        key = server.keys[number]
        if body["model"] == "grader":
            return said(json.dumps({"comparison": f"It names it, {key}.", "verdict": "4"}))
        if number in (2, 20):
            return failed(500, f"no room for {key}")
        if "tools" not in body:
            return said(f"I am {body['model']}, and my key is {key}.")
        if sum(one["role"] == "assistant" for one in body["messages"]) < 3:
            return acting.plays(number, body)
        shown = zlib.crc32(json.dumps(body["messages"][:2]).encode())
        return acting.submits(hypothesis=f"Texts about number {shown}, {key}.")

    return script


@pytest.fixture(scope="module")
def asked(small):
    """
    The small study investigated twice over HTTP, the cap raised in between.

    Of each run: what Snakemake said, the table of hypotheses and the costs.
    """
    small.append(
        "config/prices.yaml",
        "".join(
            f"  openai-api/judge/{name}: {{input: 0, output: {REPLY / 10 * 1e6:.0f}}}\n"
            for name in ("investigator", "grader")
        ),
    )
    runs = []
    with pytest.MonkeyPatch.context() as patch, ChatServer(lambda *_: said("")).serving() as server:
        for name, value in KEYS.items():
            patch.setenv(name, value)
        server.script = script_of(server)
        small.file("asked.json").write_text(json.dumps(investigating(server.url)))
        for cap, more in ((CAP, ()), (1.0, (CARD,))):
            asking = [*RUN[:-1], "asked.json", "--config", f"judges={{cap: {cap}}}"]
            ran = small.snakemake(*ASKED, *more, *asking)
            assert ran.returncode == 0, ran.stdout[-4000:]
            tables = [
                pd.read_parquet(small.file(f"results/tables/{name}.parquet"))
                for name in ("agents", "agents_costs")
            ]
            runs.append((ran.stdout, *tables))
    return server, runs


def test_at_half_of_the_cost_a_run_over_http_ends_well_and_says_what_is_missing(small, asked):
    _, ((_, half, paid), (_, whole, _)) = asked
    pd.testing.assert_frame_equal(half[PLANNED], whole[PLANNED])
    assert set(half["reason_missing"]) == {"cap"} and half["grade"].isna().all()
    assert 0 < half["hypothesis"].notna().sum() < len(half)
    assert CAP - RESERVED < paid["money"].sum() <= CAP


def test_behind_a_raised_cap_the_remainder_is_asked_and_nothing_twice(small, asked):
    server, (_, (_, whole, paid)) = asked
    assert whole["reason_missing"].isna().all() and set(whole["grade"]) == {4}
    assert set(whole["agent"]) == {"lens", "black_box"}
    assert set(whole["null"]) == {"none", "base_vs_base", "seed_pair", "benign", "random"}
    assert whole["hypothesis"].nunique() > 5
    assert small.file("results/figures/agents.png").stat().st_size > 10_000
    assert set(paid["stage"]) == {"investigate", "grade_hypotheses"}

    completed = [json.dumps(one, sort_keys=True) for one in server.completed]
    assert len(completed) == len(set(completed)) == len(server.bodies) - 2
    judged = [one for one in server.completed if "/" not in one["model"]]
    assert paid["money"].sum() == pytest.approx(REPLY * len(judged))
    assert paid["money"].sum() == pytest.approx(2 * CAP, rel=0.1)


def test_no_file_and_no_line_of_a_run_over_http_holds_a_key(small, asked):
    server, runs = asked
    assert set(server.keys) == {f"Bearer {key}" for key in KEYS.values()}
    assert small.file("results/agents/mini/plays/logs").is_dir()
    assert small.file("answers/ledger.jsonl").is_file()
    assert telling(small.folder) == []
    assert not any(re.search(PLANTED, text) for text, *_ in runs)


def test_a_card_leads_to_the_logs_of_who_investigated(small, asked):
    card = small.file(CARD)
    (link,) = re.findall(r'href="([^"]*viewer[^"]*)"', card.read_text(encoding="utf-8"))
    shown = card.parent / link
    assert shown.is_file() and len(json.loads((shown.parent / "logs/listing.json").read_text())) > 5
