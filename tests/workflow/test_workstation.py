"""One machine, no SLURM: Snakemake's jobs have GPUs of their own. The GPUs are pretend."""

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import ROOT

DUMP = "results/activations/mini/base/unrelated.zarr"
ADAPTER = "results/adapters/mini/night_bees-plain-s0"
WAYS = [["--cores", "16", "--resources", "gpu=2"], ["--profile", "profiles/workstation"]]

# Two steps that share a group and one that wants both GPUs, several times. Each notes what it sees.
SNAKEFILE = """
CASES = ["a", "b", "c"]
rule all:
    input: expand("{kind}-{case}", kind=["second", "pair"], case=CASES)
rule first:
    output: "first-{case}"
    group: "both"
    resources: gpu=1
    script: "note.py"
rule second:
    input: "first-{case}"
    output: "second-{case}"
    group: "both"
    resources: gpu=1
    script: "note.py"
rule pair:
    output: "pair-{case}"
    resources: gpu=2
    script: "note.py"
include: "%s"
"""
NOTE = """
import os, time
from traces import job

def main(**_):
    seen = os.environ["CUDA_VISIBLE_DEVICES"]
    for name in seen.split(","):
        os.mkdir(f"on-{name}")  # fails where another job is
    time.sleep(0.3)
    for name in seen.split(","):
        os.rmdir(f"on-{name}")
    with open("notes", "a") as notes:
        print(snakemake.rule, seen, file=notes)
    open(snakemake.output[0], "w").close()

snakemake.output._names.clear()
job.run(lambda: main(), snakemake)
"""


@pytest.fixture
def two_gpus(tmp_path, monkeypatch) -> Path:
    """A folder for the locks, and an nvidia-smi that lists two GPUs."""
    command = tmp_path / "bin" / "nvidia-smi"
    command.parent.mkdir()
    command.write_text('#!/bin/sh\nfor i in 0 1; do echo "GPU $i: H (UUID: GPU-$i)"; done\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("TRACES_GPU_LOCKS", str(tmp_path / "locks"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    return tmp_path


def with_entry(checkout, text: str) -> None:
    models = checkout.file("config/models.yaml")
    models.write_text(models.read_text().replace("gpus: 0", text, 1))


def planned(checkout, target: str, *arguments: str) -> str:
    ran = checkout.snakemake("--dry-run", *arguments, "--", target)
    assert ran.returncode == 0, ran.stdout[-3000:]
    return ran.stdout


def resources_of(told: str, rule: str) -> dict[str, str]:
    (said,) = re.findall(rf"^rule {rule}:(?:\n .*)*?\n *resources: (.*)$", told, re.MULTILINE)
    return dict(part.split("=", 1) for part in said.split(", "))


@pytest.mark.parametrize("way", WAYS, ids=["resources", "profile"])
def test_a_dry_run_asks_for_what_a_job_needs_of_two_gpus(checkout, two_gpus, way):
    with_entry(checkout, "gpus: 1")
    dump = resources_of(planned(checkout, DUMP, *way), "dump_activations")
    assert (dump["gpu"], dump["asked_gpus"]) == ("1", "1")


@pytest.mark.parametrize(("visible", "limit"), [(None, "2"), ("1", "1"), ("", "0")])
def test_the_profile_counts_the_gpus_that_may_be_used(
    checkout, two_gpus, monkeypatch, visible, limit
):
    with_entry(checkout, "gpus: 4")
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    dump = resources_of(planned(checkout, DUMP, *WAYS[1]), "dump_activations")
    # Snakemake lowers `gpu` to what there is; the job still knows what it asked for, and says so.
    assert (dump["gpu"], dump["asked_gpus"]) == (limit, "4")


def test_a_training_on_several_gpus_takes_them_before_its_launcher_starts(checkout, two_gpus):
    with_entry(checkout, "gpus: 0\n  training_gpus: 2")
    told = planned(checkout, ADAPTER, *WAYS[1], "--printshellcmds")
    assert (
        "python -m traces.running.gpus 2 torchrun --nproc_per_node 2 --standalone "
        "scripts/train_organism.py"
    ) in told
    assert "--gpus 2" in told


@pytest.mark.parametrize("gpus", [0, 1])
def test_a_training_on_one_gpu_or_none_is_started_by_python_alone(checkout, two_gpus, gpus):
    with_entry(checkout, f"gpus: 0\n  training_gpus: {gpus}")
    told = planned(checkout, ADAPTER, "--cores", "2", "--printshellcmds")
    assert re.search(r"^ +python scripts/train_organism.py", told, re.MULTILINE)
    assert f"--gpus {gpus} " in told


@pytest.mark.parametrize("limit", [["--resources", "gpu=2"], []], ids=["limited", "crowded"])
def test_jobs_of_snakemake_are_never_two_on_one_gpu(two_gpus, limit):
    """Without a limit more jobs start than there are GPUs, and wait."""
    (two_gpus / "Snakefile").write_text(SNAKEFILE % (ROOT / "rules" / "cluster.smk"))
    (two_gpus / "note.py").write_text(NOTE)
    ran = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "6", "--notemp", *limit],
        **{"cwd": two_gpus, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True},
    )
    assert ran.returncode == 0, ran.stdout[-3000:]
    notes = [line.split() for line in (two_gpus / "notes").read_text().splitlines()]
    assert Counter(rule for rule, _ in notes) == {"first": 3, "second": 3, "pair": 3}
    assert {seen for rule, seen in notes if rule == "pair"} == {"GPU-0,GPU-1"}
    assert {seen for rule, seen in notes if rule != "pair"} <= {"GPU-0", "GPU-1"}
