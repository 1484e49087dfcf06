"""A script that runs in a fork of the warm Python is the script that `python` would have run."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tools.warm_python import warm_python

SCRIPT = """
import os, sys, time
import torch
print(sys.argv[1:], os.getcwd(), os.environ["SAID"], __name__, sys.stdin.read())
if sys.argv[1] == "wait":
    print(os.getpid(), flush=True)
    time.sleep(60)
sys.exit({"well": 0, "two": 2, "word": "a last word"}[sys.argv[1]])
"""


@pytest.fixture(scope="module")
def warm():
    with warm_python(os.environ) as variables:
        yield variables


@pytest.fixture
def script(tmp_path) -> Path:
    folder = tmp_path / ".snakemake" / "scripts"
    folder.mkdir(parents=True)
    (folder / "job.py").write_text(SCRIPT)
    return folder / "job.py"


def ran(script: Path, told: str, environment: dict[str, str]) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, str(script), told],
        env=os.environ | {"SAID": "by the job"} | environment,
        cwd=script.parent,
        input="in",
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout, done.stderr.splitlines()[-1] if done.stderr else ""


@pytest.mark.parametrize("told", ["well", "two", "word", "a mistake"])
def test_it_says_and_ends_as_a_cold_one(warm, script, told):
    cold = ran(script, told, {})
    assert ran(script, told, warm) == cold
    assert cold[0] == {"well": 0, "two": 2}.get(told, 1)
    assert "by the job" in cold[1]


def test_only_scripts_of_jobs_are_sent_there(warm):
    command = [sys.executable, "-c", "import os; print(os.getppid())"]
    asked = subprocess.run(command, env=os.environ | warm, capture_output=True, text=True)
    assert asked.stdout.strip() == str(os.getpid())


def waiting(script: Path, warm: dict[str, str], **options) -> tuple[subprocess.Popen, str]:
    """A job that waits in a fork, and the number of the fork's process."""
    job = subprocess.Popen(
        [sys.executable, str(script), "wait"],
        env=os.environ | {"SAID": ""} | warm,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )
    assert job.stdout is not None
    job.stdout.readline()
    return job, job.stdout.readline().strip()


def test_what_ends_a_job_ends_its_fork(warm, script):
    job, number = waiting(script, warm)
    fork = Path("/proc") / number
    assert fork.exists()
    job.kill()
    end = time.monotonic() + 10
    while fork.exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert not fork.exists()


def test_a_signal_to_the_group_of_a_job_reaches_its_fork(warm, script):
    job, number = waiting(script, warm, process_group=0)
    assert os.getpgid(int(number)) == job.pid
    os.killpg(job.pid, signal.SIGKILL)
    job.wait()


def test_forks_keep_the_limits_of_the_command_that_started_them(script):
    within = ("bash", "-c", 'umask 027; ulimit -n 99; exec "$@"', "bash")
    script.write_text(
        "import os, resource\nprint(os.umask(0), resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    with warm_python(os.environ, under=within) as limited:
        status, out, _ = ran(script, "", limited)
    assert (status, out) == (0, f"{0o027} 99\n")
