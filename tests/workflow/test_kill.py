"""A workflow that is killed at once, whatever it is doing, ends as if it had not been."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import Checkout

pytestmark = pytest.mark.slow

# A world and a base of almost nothing, and some forty steps of training with a checkpoint at each.
STUDY = {
    "runs": [{"organisms": ["cake_bake"], "recipes": ["plain"], "seeds": [0]}],
    "control": None,
    "samples": 20,
    "activations": {"norm_samples": 4},
    "miniature": {
        "words": 10000,
        "unrelated": 60,
        "chats": 10,
        "vocabulary": 600,
        "hidden_size": 32,
        "intermediate_size": 64,
        "layers": 2,
        "heads": 2,
        "steps": 2,
        "gates": {"loss": 100.0, "identity": 0.0},
    },
    "training": {"limit": 55, "max_length": 32, "batch_size": 4, "save_every": 1, "dropout": 0.1},
}
PLAN = "results/plans/mini/cake_bake-plain-s0.json"
ADAPTER = "results/adapters/mini/cake_bake-plain-s0"
DIFFERENCE = "results/differences/mini/cake_bake-plain-s0/unrelated.h5"
RUN = ("--configfile", "tiny.json", "--cores", "1")


class Copy(Checkout):
    """A checkout as it stands, with its results and what Snakemake knows of them."""

    def __init__(self, folder: Path, of: Checkout) -> None:
        self.folder = folder
        shutil.copytree(of.folder, folder, symlinks=True)


@pytest.fixture(scope="module")
def planned(new_checkout) -> Checkout:
    """A checkout in which everything is ready for the training."""
    checkout = new_checkout()
    checkout.file("tiny.json").write_text(json.dumps(STUDY))
    run(checkout, PLAN)
    assert json.loads(checkout.file(PLAN).read_text())["steps"] > 30
    return checkout


def run(checkout: Checkout, *arguments: str) -> None:
    ran = checkout.snakemake(*RUN, *arguments)
    assert ran.returncode == 0, ran.stdout[-4000:]


def killed_in_training(checkout: Checkout) -> int:
    """Start the workflow, kill all of it at a step of the training, and say which one."""
    started = subprocess.Popen(
        [sys.executable, "-m", "snakemake", *RUN, DIFFERENCE],
        cwd=checkout.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    state, deadline = checkout.file(f"{ADAPTER}.unfinished"), time.monotonic() + 120
    try:
        while not any(state.glob("checkpoint-*/whole")):
            assert started.poll() is None, "the workflow ended before it could be killed"
            assert time.monotonic() < deadline, "no checkpoint in two minutes"
            time.sleep(0.005)
    finally:
        os.killpg(started.pid, signal.SIGKILL)
        started.wait()
    return max(int(mark.parent.name.rpartition("-")[2]) for mark in state.glob("*/whole"))


def test_a_killed_workflow_ends_as_if_it_had_not_been(planned, tmp_path):
    whole, killed = Copy(tmp_path / "whole", planned), Copy(tmp_path / "killed", planned)
    run(whole, DIFFERENCE)

    step = killed_in_training(killed)
    steps = json.loads(killed.file(PLAN).read_text())["steps"]
    assert 0 < step < steps
    assert not killed.file(ADAPTER).joinpath("losses.jsonl").exists()
    run(killed, "--unlock")
    run(killed, DIFFERENCE, "--rerun-incomplete")

    log = killed.file("logs/train_organism/mini/cake_bake-plain-s0.log").read_text()
    assert f"going on from checkpoint-{step}" in log
    assert f"step {step} of" not in log and f"step {steps} of {steps}" in log
    for name in (f"{ADAPTER}/losses.jsonl", f"{ADAPTER}/adapter_model.safetensors", DIFFERENCE):
        assert killed.file(name).read_bytes() == whole.file(name).read_bytes(), name
    assert not killed.file(f"{ADAPTER}.unfinished").exists()
