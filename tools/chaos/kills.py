"""
SIGKILL at a random moment of every rule, and the rerun that docs/troubleshooting.md describes.

A moment is a share of the time that the job took undisturbed, drawn with the seed: the same seed
kills at the same shares. A training is killed in each third of its steps, since it resumes.
"""

import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tools.chaos.cases import SAME, Case, Failure, require_same, require_success
from tools.chaos.workplace import MADE, PATIENCE, Job, Workplace, kill
from traces.seeding import text_generator

EVERYTHING = "SIGKILL of Snakemake and its jobs, in every rule"
TRAININGS = "SIGKILL in each third of a training"
ALONE = "SIGKILL of a job alone"
WHOLE = "SIGKILL of the whole run, several times"

# Killed alone as well, as by a system that is short of memory: the rules that need most of it.
LARGE = ("pretrain_base", "train_organism", "dump_activations", "read_lenses", "steered_grid")


def kill_cases(truth: Workplace, seed: int) -> Iterator[Case]:
    """Every kill, at the moments that the seed draws."""
    by_rule: dict[str, list[Job]] = {}
    for job in truth.jobs:
        by_rule.setdefault(job.rule, []).append(job)
    for rule, jobs in sorted(by_rule.items()):
        rng = text_generator(seed, f"kill {rule}")
        trained = rule in ("pretrain_base", "train_organism")
        kind = TRAININGS if rule == "train_organism" else EVERYTHING
        for third in range(3 if trained else 1):
            job = rng.choice(jobs)
            share = (third + rng.random()) / 3 if trained else rng.random()
            name = f"{rule} at {share:.0%} of {job.outputs[0]}"
            yield Case(kind, name, partial(killed, truth, job, share))
        if rule in LARGE:
            job, share = rng.choice(jobs), rng.random()
            name = f"{rule} at {share:.0%} of {job.outputs[0]}"
            yield Case(ALONE, name, partial(killed_alone, truth, job, share))
    rng = text_generator(seed, "kill all")
    shares = [rng.uniform(0.1, 0.3) for _ in range(3)]
    name = f"after {', '.join(f'{share:.0%}' for share in shares)} of its jobs"
    yield Case(WHOLE, name, partial(killed_again_and_again, truth, shares))


def killed(truth: Workplace, job: Job, share: float, folder: Path) -> tuple[str, str]:
    """Kill Snakemake while it runs a job, then do what the documents say."""
    for copy, moment in attempts(truth, job, share, folder):
        started, waited = stopped_at(copy, job, moment)
        ended = started.poll() is not None
        kill(started)
        if not ended:
            break
    else:
        raise Failure(f"{job.rule} ended before it could be killed")
    marks = copy.folder.glob(f"{job.outputs[0]}.unfinished/checkpoint-*/whole")
    step = max((int(mark.parent.name.rpartition("-")[2]) for mark in marks), default=0)
    go_on(copy, job.outputs[0])
    require_same(copy, truth)
    if step and f"going on from checkpoint-{step}" not in log_of(copy, job):
        raise Failure(f"the training did not go on from its checkpoint of step {step}")
    return SAME, f"killed {waited:.2f} s into the job" + (f", at step {step}" if step else "")


def killed_alone(truth: Workplace, job: Job, share: float, folder: Path) -> tuple[str, str]:
    """Kill a job under Snakemake, which must report it; then repeat the command."""
    for copy, moment in attempts(truth, job, share, folder):
        started, waited = stopped_at(copy, job, moment)
        died = kill_job(started)
        status = started.wait()
        if died:
            break
    else:
        raise Failure(f"{job.rule} ended before it could be killed")
    if status == 0:
        raise Failure("Snakemake ended with 0 though its job was killed")
    require_success(copy.call(job.outputs[0]), "the same command again")
    require_same(copy, truth)
    return SAME, f"killed {waited:.2f} s into the job"


def attempts(
    truth: Workplace, job: Job, share: float, folder: Path
) -> Iterator[tuple[Workplace, float]]:
    """Copies without the job's outputs, and moments: an earlier one after a job that had ended."""
    for attempt in range(4):
        copy = truth.copy(folder / str(attempt))
        copy.discard(job)
        yield copy, share / 2**attempt
        shutil.rmtree(copy.folder)


def killed_again_and_again(truth: Workplace, shares: list[float], folder: Path) -> tuple[str, str]:
    """Run everything from nothing and kill it again and again."""
    copy = truth.afresh(folder / "copy")
    for share in shares:
        started = copy.start("--rerun-incomplete", cores=2)
        assert started.stdout is not None
        wanted, done = share * len(truth.jobs), 0
        for line in started.stdout:
            done += line.startswith("Finished jobid")
            if done >= wanted:
                break
        else:
            raise Failure(f"the run ended by itself after {done} jobs, before it could be killed")
        kill(started)
        require_success(copy.call("--unlock"), "--unlock")
    require_success(copy.call("--rerun-incomplete", cores=2), "the rerun")
    require_same(copy, truth)
    return SAME, f"{len(shares)} kills"


def stopped_at(copy: Workplace, job: Job, share: float) -> tuple[subprocess.Popen[str], float]:
    """Start the workflow and wait for the moment in the job; return Snakemake and the seconds."""
    started = copy.start(job.outputs[0])
    assert started.stdout is not None
    for line in started.stdout:
        if re.fullmatch(rf"(local)?rule {job.rule}:\n", line):
            break
    begun = time.monotonic()
    # Nobody else reads the pipe, and a writer to a full one would wait.
    threading.Thread(target=started.stdout.read, daemon=True).start()
    if job.rule == "train_organism":
        wait_for_step(copy / f"{job.outputs[0]}.unfinished", share, started)
    else:
        time.sleep(share * job.seconds)
    return started, time.monotonic() - begun


def wait_for_step(state: Path, share: float, started: subprocess.Popen[str]) -> None:
    """Wait until a training has kept a checkpoint of the step at `share` of all its steps."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and started.poll() is None:
        for mark in state.glob("checkpoint-*/whole"):
            try:
                kept = mark.with_name("trainer_state.json").read_text()
            except OSError:
                continue  # removed between the two looks, for there is a newer one
            steps = re.findall(r'"(global_step|max_steps)": (\d+)', kept)
            at = {name: int(number) for name, number in steps}
            if at["global_step"] >= share * (at["max_steps"] - 2):
                return
        time.sleep(0.005)


def kill_job(started: subprocess.Popen[str]) -> bool:
    """Kill the Python of the job that Snakemake runs; False if the job has ended."""
    while started.poll() is None:
        for status in Path("/proc").glob("[0-9]*/stat"):
            try:
                group = int(status.read_text().rpartition(")")[2].split()[2])
                called = status.with_name("cmdline").read_bytes().split(b"\0")
            except (OSError, IndexError):
                continue  # it ended between the two looks
            python = len(called) > 1 and b"python" in called[0]
            if group == started.pid and python and b"scripts/" in called[1]:
                os.kill(int(status.parent.name), signal.SIGKILL)
                return True
        time.sleep(0.01)
    return False


def go_on(copy: Workplace, target: str) -> None:
    """What docs/troubleshooting.md says to do after a kill."""
    require_success(copy.call("--unlock"), "--unlock")
    require_success(copy.call("--rerun-incomplete", target), "the rerun")


def log_of(copy: Workplace, job: Job) -> str:
    output = Path(job.outputs[0])
    file = copy / f"{MADE[1]}/{job.rule}/{output.parent.name}/{output.name}.log"
    return file.read_text(encoding="utf-8")
