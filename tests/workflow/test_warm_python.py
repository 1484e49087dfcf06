"""A script that runs in a fork of the warm Python is the script that `python` would have run."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from snakemake.benchmark import BenchmarkRecord

from tests.conftest import ROOT
from tools import warm_python as warm_python_module
from tools.warm_python import Benchmarks, warm_python, with_network

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


def ran(
    script: Path, told: str, environment: dict[str, str], python: str = sys.executable
) -> tuple[int, str, str]:
    done = subprocess.run(
        [python, str(script), told],
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


def parent(script: Path, environment: dict[str, str]) -> int:
    """The process that a script was started by."""
    script.write_text("import os\nprint(os.getppid())")
    return int(ran(script, "", environment)[1])


def test_what_a_fork_could_not_do_as_well_starts_cold(warm, script):
    assert parent(script, warm) != os.getpid()
    # torch reads the number of threads once, and an environment has its own packages.
    assert parent(script, warm | {"OMP_NUM_THREADS": "2"}) == os.getpid()
    assert parent(script, warm | {"TRACES_WARM_PREFIX": "/another"}) == os.getpid()
    # An environment that is reached by a link is the same.
    linked = script.with_name("linked")
    linked.symlink_to(sys.prefix)
    by_link = ran(script, "", warm, python=str(linked / "bin" / "python"))
    assert int(by_link[1]) != os.getpid()
    # The forks are offline from their first import.
    assert "fetch_model" in with_network() and "read_lenses" not in with_network()
    fetching = script.with_name("tmp1.fetch_model.py")
    assert parent(fetching, warm) == os.getpid()


def test_a_job_starts_cold_where_the_warm_python_has_ended(script):
    with warm_python(os.environ) as ended:
        pass
    assert parent(script, ended) == os.getpid()


def test_a_job_starts_cold_where_no_socket_can_be_named(script, tmp_path, monkeypatch, capsys):
    deep = tmp_path / ("deep" * 30)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with warm_python(os.environ) as variables:
        assert parent(script, variables) == os.getpid()
    assert "too long for a socket" in capsys.readouterr().err


def called(*command: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "tools/warm_python.py", "--", *command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("machine", ["with a GPU", "without Linux"])
def test_on_other_machines_every_job_starts_cold(machine, tmp_path, monkeypatch):
    """The command takes the place of the process, so that it has no variables of the warm one."""

    def taken(name, command):
        raise SystemExit(f"{name}: {' '.join(command)}")

    monkeypatch.setattr(os, "execvp", taken)
    if machine == "with a GPU":
        monkeypatch.setattr(warm_python_module, "GPU_DRIVER", tmp_path)
    else:
        monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(SystemExit, match="^snakemake: snakemake --cores 2$"):
        warm_python_module.main(["snakemake", "--cores", "2"])


def test_the_exit_status_is_the_commands():
    assert called("bash", "-c", "exit 3").wait() == 3


def test_the_warm_python_ends_with_what_started_it():
    outer = called("bash", "-c", "echo begun; exec sleep 600")
    assert outer.stdout is not None
    outer.stdout.readline()
    started = psutil.Process(outer.pid).children()
    (server,) = (one for one in started if "tools/warm_python.py" in " ".join(one.cmdline()))
    outer.kill()
    # It looks once a second, behind its imports.
    _, left = psutil.wait_procs([server], timeout=120)
    for one in {*started} - {server}:
        one.kill()
    assert not left


def test_a_benchmark_file_is_mended_once_it_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = BenchmarkRecord.get_header()
    file = tmp_path / "times" / "read" / "one.tsv"
    file.parent.mkdir(parents=True)

    def written(seconds: str) -> None:
        values = [seconds, "0:00:04", "6.31", "10", "1", "2", "0", "0", "0", "0.01"]
        file.write_text("\t".join(names) + "\n" + "\t".join(values) + "\n")

    def row() -> dict[str, str]:
        return dict(zip(*(line.split("\t") for line in file.read_text().splitlines()), strict=True))

    written("9.00")
    note = {
        "log": "said/read/one.log",
        "pathvars": {"logs": "said", "benchmarks": "times"},
        "cpu_time": 3.0,
        "max_rss": 700.0,
        "time_ns": time.time_ns(),
    }
    (tmp_path / "7.used").write_text(json.dumps(note))
    benchmarks = Benchmarks(tmp_path)
    # An earlier run's.
    os.utime(file, ns=(0, 0))
    benchmarks.mend()
    assert row()["cpu_time"] == "0.01"

    written("4.00")
    benchmarks.mend()
    assert row() == {
        **{"s": "4.00", "h:m:s": "0:00:04", "max_rss": "700.00", "cpu_time": "3.00"},
        **{"mean_load": "75.00"},
        **dict.fromkeys(("max_vms", "max_uss", "max_pss", "io_in", "io_out"), "NA"),
    }
    assert not list(tmp_path.glob("*.used"))


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
