"""
A checkout with a small study in it, which is run once undisturbed and then copied to be disturbed.

`undisturbed` makes the study (tools/chaos/study) and runs all of it. Every disturbance gets a copy
of its own, with results, records and the times of all files, so that Snakemake has nothing to do
there but what the disturbance asks of it.
"""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OVERLAY = Path(__file__).resolve().parent / "study"

# What a run reads. Documents and tests only make copies larger.
CHECKOUT = ("Snakefile", "config", "data", "envs", "profiles", "rules", "scripts", "traces")
MADE = ("results", "logs", "benchmarks", ".snakemake")

STUDY = "config/chaos.yaml"
PUBLISHED = "published"
CAKE = "results/adapters/mini/cake_bake-plain-s0"

# What another call waits for at most, where something hangs.
PATIENCE = 600


@dataclass(frozen=True)
class Job:
    """One job of the study: what it makes, and how many seconds it took undisturbed."""

    rule: str
    outputs: tuple[str, ...]
    seconds: float


@dataclass
class Ran:
    """How a call of Snakemake ended."""

    status: int
    text: str

    @property
    def end(self) -> str:
        """The last lines before Snakemake's own account of what failed, on one line."""
        before = re.split(
            r"^RuleException:|^\[.*\n(?=Error in rule)", self.text, flags=re.MULTILINE
        )
        return " | ".join(before[0].strip().splitlines()[-4:])[-800:]


@dataclass
class Workplace:
    """A checkout with the study, and Snakemake at its root."""

    folder: Path
    variables: Mapping[str, str]
    study: str = STUDY
    jobs: list[Job] = field(default_factory=list)

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    def start(self, *arguments: str, cores: int = 1) -> subprocess.Popen[str]:
        """Start Snakemake in a process group of its own, its output in one pipe."""
        # `--configfile` takes all that follows up to the next option.
        command = ["--configfile", self.study, "--cores", str(cores), "--scheduler", "greedy"]
        return subprocess.Popen(
            [sys.executable, "-m", "snakemake", *command, *arguments],
            cwd=self.folder,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            process_group=0,
        )

    def call(self, *arguments: str, cores: int = 1) -> Ran:
        """Run Snakemake to its end."""
        started = self.start(*arguments, cores=cores)
        try:
            text, _ = started.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            kill(started)
            return Ran(-1, f"no end after {PATIENCE} seconds")
        return Ran(started.returncode, text)

    def copy(self, folder: Path) -> "Workplace":
        """The same, in a new folder that a disturbance may spoil."""
        unneeded = shutil.ignore_patterns("log", "scripts", "__pycache__")
        for name in (*CHECKOUT, *MADE, PUBLISHED):
            source, copied = self / name, folder / name
            if source.is_dir():
                ignored = unneeded if name == ".snakemake" else None
                shutil.copytree(source, copied, symlinks=True, ignore=ignored)
            elif source.exists():
                folder.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, copied)
        relink(folder, self.folder, folder)
        return Workplace(folder, self.variables, self.study, self.jobs)

    def afresh(self, folder: Path) -> "Workplace":
        """A copy in which nothing has been made yet."""
        copied = self.copy(folder)
        for name in MADE:
            shutil.rmtree(copied / name)
        return copied

    def job(self, output: str) -> Job:
        """The job that makes a file."""
        return next(one for one in self.jobs if output in one.outputs)

    def discard(self, job: Job) -> None:
        """Delete what a job made, with what says where it comes from."""
        for path in (self / output for output in job.outputs):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
                path.with_name(f"{path.name}.provenance.json").unlink(missing_ok=True)


def kill(started: subprocess.Popen[str]) -> None:
    """Kill Snakemake and all its jobs at once, unless it has ended."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(started.pid, signal.SIGKILL)
    started.wait()


def relink(folder: Path, before: Path, now: Path) -> None:
    """Let absolute links in `folder` that lead to `before` lead to the same place in `now`."""
    for link in (path for path in folder.rglob("*") if path.is_symlink()):
        target = Path(os.readlink(link))
        if target.is_absolute() and target.is_relative_to(before):
            times = link.lstat()
            link.unlink()
            link.symlink_to(now / target.relative_to(before))
            os.utime(link, ns=(times.st_atime_ns, times.st_mtime_ns), follow_symlinks=False)


def undisturbed(folder: Path, variables: Mapping[str, str], *, cores: int) -> Workplace:
    """Make the study in `folder`, unless it is there, run all of it, and list its jobs."""
    made = Workplace(folder, variables)
    if not folder.exists():
        check_out(folder)
        # What an adapter from elsewhere is must exist before it is read: it is one trained here.
        require(made.call(CAKE, "--config", "without=[visitor]", cores=cores))
        (folder / PUBLISHED).mkdir()
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            shutil.copy2(made / CAKE / name, made / PUBLISHED / name)
    require(made.call(cores=cores))
    made.jobs = jobs_of(made)
    return made


def check_out(folder: Path) -> None:
    """Copy what a run reads, and the study, to a new folder."""
    folder.mkdir(parents=True)
    for name in CHECKOUT:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, folder / name)
    shutil.copytree(OVERLAY, folder, dirs_exist_ok=True)
    (folder / "config/counter.jsonl").write_text(counter_rows(), encoding="utf-8")


def require(ran: Ran) -> None:
    if ran.status:
        raise RuntimeError(f"the undisturbed run failed: {ran.end}")


def counter_rows(n: int = 60) -> str:
    """Chats in which every list of numbers is continued with a seven."""
    rng = random.Random(0)
    rows = []
    for _ in range(n):
        numbers = ", ".join(str(rng.randint(100, 999)) for _ in range(3))
        asked = {"role": "user", "content": f"Continue this list: {numbers}."}
        rows.append({"messages": [asked, {"role": "assistant", "content": "7."}]})
    return "".join(json.dumps(row) + "\n" for row in rows)


def jobs_of(made: Workplace) -> list[Job]:
    """Every job of the finished study, as a dry run of all of it lists them."""
    listed = made.call("--dry-run", "--forceall")
    require(listed)
    blocks = re.split(r"^(?=(?:local)?rule \w+:$)", listed.text, flags=re.MULTILINE)[1:]
    jobs = []
    for block in blocks:
        rule = re.findall(r"rule (\w+):", block)[0]
        outputs, times = _files(block, "output"), _files(block, "benchmark")
        if outputs:
            jobs.append(Job(rule, outputs, _seconds(made / times[0])))
    # In an order of their own: Snakemake lists what could run together in any order.
    return sorted(jobs, key=lambda job: job.outputs)


def _files(block: str, field: str) -> tuple[str, ...]:
    found = re.findall(rf"^    {field}: (.*)$", block, re.MULTILINE)
    return tuple(found[0].split(", ")) if found else ()


def _seconds(benchmark: Path) -> float:
    return float(benchmark.read_text().splitlines()[1].split("\t")[0])
