"""Each job has GPUs of its own, and one that torch does not see stops it: with pretend GPUs."""

import fcntl
import os
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT
from traces.running import gpus

PRESENT = [["GPU-aa0"], ["GPU-aa1"], ["GPU-bb2"]]
SPLIT = """GPU 0: NVIDIA A (UUID: GPU-aa0)
  MIG 3g.40gb     Device  0: (UUID: MIG-1)
  MIG 3g.40gb     Device  1: (UUID: MIG-2)
GPU 1: NVIDIA A (UUID: GPU-aa1)
"""


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No GPU, driver or SLURM of this machine is seen, and no lock outlives a test."""
    for name in (gpus.VISIBLE, gpus.ALLOW_CPU, gpus.HELD, "LOCAL_RANK"):
        # Set first, so that what a test sets by itself is taken back as well.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv(gpus.LOCKS, str(tmp_path / "locks"))
    monkeypatch.setattr(gpus, "_names_of_the_driver", lambda: iter(()))
    monkeypatch.setattr(gpus, "_locked", [])
    yield
    for file in gpus._locked:
        os.close(file)


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Makes this machine one with pretend GPUs: an nvidia-smi that lists them."""

    def made(count: int = 0, *, listing: str | None = None, driver: str = "580.65.06") -> None:
        lines = [f"GPU {i}: NVIDIA H100 (UUID: GPU-{i})" for i in range(count)]
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        (folder / "listing").write_text("\n".join(lines) if listing is None else listing)
        command = folder / "nvidia-smi"
        command.write_text(
            f'#!/bin/sh\n[ "$1" = -L ] && cat {folder}/listing || echo {driver}\nexit 0\n'
        )
        command.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    return made


def test_a_lock_is_open_for_writing_where_that_is_allowed(monkeypatch):
    """NFS locks nothing else; another user's file can only be read, which a local disk locks."""
    for _ in ("made", "there"):
        file = gpus._opened("GPU-0")
        assert fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR
        assert os.fstat(file).st_mode & 0o777 == 0o644
        os.close(file)
    opened = os.open

    def theirs(path, flags, *mode):
        if flags & os.O_ACCMODE != os.O_RDONLY:
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, flags, *mode)

    monkeypatch.setattr(os, "open", theirs)
    os.close(gpus._opened("GPU-0"))


def seen_by_torch(monkeypatch, count: int, cuda: str | None = "13.0") -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.version, "cuda", cuda)


# Which GPUs there are ---------------------------------------------------------------------------


def test_gpus_are_listed_by_name_and_one_that_is_split_by_its_parts(machine):
    machine(listing=SPLIT)
    assert gpus.listed() == [["MIG-1", "MIG-2"], ["GPU-aa1"]]


def test_without_nvidia_smi_the_drivers_own_files_list_them(machine, monkeypatch):
    machine(listing="")
    monkeypatch.setattr(gpus, "_names_of_the_driver", lambda: iter(["GPU-a", "GPU-b"]))
    assert gpus.listed() == [["GPU-a"], ["GPU-b"]]


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, ["GPU-aa0", "GPU-aa1", "GPU-bb2"]),
        ("2,0", ["GPU-bb2", "GPU-aa0"]),
        ("GPU-bb", ["GPU-bb2"]),
        ("1, GPU-aa1", ["GPU-aa1"]),
        ("0,7,1", ["GPU-aa0"]),
        ("0,-1,1", ["GPU-aa0"]),
        ("", []),
        ("NoDevFiles", []),
    ],
)
def test_what_is_visible_is_read_as_cuda_reads_it(visible, expected):
    assert gpus.named(visible, PRESENT) == expected


# What a job is given ----------------------------------------------------------------------------


def test_a_job_that_asks_for_none_sees_none(machine):
    machine(2)
    gpus.take(0)
    assert os.environ[gpus.VISIBLE] == ""


@pytest.mark.parametrize(
    ("before", "asked", "expected"),
    [(None, 1, "GPU-0"), (None, 3, "GPU-0,GPU-1,GPU-2"), ("2,1", 1, "GPU-2"), ("1", 1, "GPU-1")],
)
def test_a_job_is_given_as_many_as_it_asks_for_among_the_visible(
    machine, monkeypatch, before, asked, expected
):
    machine(3)
    seen_by_torch(monkeypatch, asked)
    if before is not None:
        monkeypatch.setenv(gpus.VISIBLE, before)
    gpus.take(asked)
    assert os.environ[gpus.VISIBLE] == expected


@pytest.mark.parametrize(("given", "asked"), [("2", 1), ("2,3", 2), ("1", 2), (None, 1), ("", 1)])
def test_what_slurm_chose_is_left_alone(machine, monkeypatch, given, asked):
    machine(4)
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    if given is not None:
        monkeypatch.setenv(gpus.VISIBLE, given)
    gpus.choose(asked)
    assert os.environ.get(gpus.VISIBLE) == given and not gpus._locked


def test_jobs_within_one_large_slurm_job_have_gpus_of_their_own(machine, monkeypatch):
    machine(4)
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv(gpus.VISIBLE, "2,3")
    gpus.choose(1)
    assert os.environ[gpus.VISIBLE] == "GPU-2"


# What torch does not see ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "driver", "cuda", "environment", "said"),
    [
        (
            *(1, "535.104.05", "13.0", {}),
            "GPUs: 0 can be used here, expected 1 as the job asks for (driver 535.104.05, torch "
            f"{torch.__version__} for CUDA 13.0, CUDA_VISIBLE_DEVICES='GPU-0', no SLURM job); "
            "install driver 580 or newer, or a torch for the driver's CUDA, or set "
            "TRACES_ALLOW_CPU=1 to compute on the CPU",
        ),
        (
            1,
            "580.1",
            None,
            {},
            "without CUDA, CUDA_VISIBLE_DEVICES='GPU-0', no SLURM job); install",
        ),
        (0, "", "13.0", {}, "(no NVIDIA driver, torch"),
        (
            0,
            "",
            "13.0",
            {},
            "run on a machine with a GPU, pass its GPUs on to the container, or have `gpus: 0`",
        ),
        (
            *(2, "580.1", "13.0", {"CUDA_VISIBLE_DEVICES": ""}),
            "CUDA_VISIBLE_DEVICES='', no SLURM job); let CUDA_VISIBLE_DEVICES name 1 of the GPUs",
        ),
        (
            *(0, "", "13.0", {"SLURM_JOB_ID": "17"}),
            "SLURM job 17 with no GPU named); let the job ask for GPUs as this cluster wants",
        ),
        (
            *(1, "535.1", "13.0"),
            {"SLURM_JOB_ID": "17", "SLURM_STEP_GPUS": "3", "CUDA_VISIBLE_DEVICES": "0"},
            "CUDA_VISIBLE_DEVICES='0', SLURM job 17 with SLURM_STEP_GPUS=3); install driver 580",
        ),
        (1, "580.1", "13.0", {}, "see what `python -c 'import torch; torch.cuda.init()'` says"),
    ],
)
def test_a_job_whose_gpus_torch_does_not_see_says_why(
    machine, monkeypatch, count, driver, cuda, environment, said
):
    machine(count, driver=driver)
    seen_by_torch(monkeypatch, 0, cuda)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError) as refused:
        gpus.take(1)
    assert said in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_gpus_than_asked_for_are_refused(machine, monkeypatch, count):
    machine(count)  # without a list torch is asked, with one its length tells
    seen_by_torch(monkeypatch, 1)
    with pytest.raises(ValueError, match=r"1 can be used here, expected 2.*ask for fewer"):
        gpus.take(2)


def test_a_counted_gpu_that_is_not_available_is_none(machine, monkeypatch):
    machine(1)
    seen_by_torch(monkeypatch, 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="0 can be used"):
        gpus.take(1)


@pytest.mark.parametrize(("count", "visible"), [(0, None), (1, ""), (2, "GPU-0,GPU-1")])
def test_the_cpu_is_allowed_by_one_variable(machine, monkeypatch, count, visible):
    machine(count)
    monkeypatch.setenv(gpus.ALLOW_CPU, "1")
    seen_by_torch(monkeypatch, 0)
    gpus.take(2)
    assert os.environ.get(gpus.VISIBLE) == visible


# Several processes at once ----------------------------------------------------------------------

JOB = """
import os, sys, time
from traces.running import gpus
gpus.choose(int(sys.argv[1]))
for what in ("begin", "end"):
    with open(sys.argv[2], "a") as log:
        print(time.monotonic(), what, os.getpid(), os.environ["CUDA_VISIBLE_DEVICES"], file=log)
    time.sleep(float(sys.argv[3]))
"""


class Jobs:
    """Processes that take GPUs, hold them and write down when."""

    def __init__(self, folder: Path) -> None:
        self.log, self.running = folder / "log", []
        self.log.touch()

    def start(self, asked: int, seconds: float, *launcher: str, **variables: str) -> int:
        command = [*launcher, sys.executable, "-c", JOB, str(asked), str(self.log), str(seconds)]
        process = subprocess.Popen(command, cwd=ROOT, env=os.environ | variables)
        self.running.append(process)
        return process.pid

    def lines(self) -> list[tuple[float, str, int, list[str]]]:
        found = [line.split() for line in self.log.read_text().splitlines()]
        return [(float(t), what, int(p), names.split(",")) for t, what, p, names in found]

    def wait_for(self, what: str, count: int) -> None:
        end = time.monotonic() + 30
        while sum(one[1] == what for one in self.lines()) < count:
            assert time.monotonic() < end, self.lines()
            time.sleep(0.02)

    def kill(self, pid: int) -> None:
        """Kill a process, and write down that it held its GPUs until now."""
        (names,) = (names for _, what, one, names in self.lines() if one == pid)
        with self.log.open("a") as log:
            log.write(f"{time.monotonic()} end {pid} {','.join(names)}\n")
        (process,) = (one for one in self.running if one.pid == pid)
        process.kill()
        process.wait()

    def end(self) -> None:
        for process in self.running:
            process.wait(timeout=60)

    def most_on_one(self) -> int:
        """The most processes that ever held one GPU."""
        held, most = defaultdict(int), 0
        for _, what, _, names in sorted(self.lines()):
            for name in names:
                held[name] += 1 if what == "begin" else -1
            most = max(most, *held.values())
        return most


@pytest.fixture
def jobs(tmp_path):
    made = Jobs(tmp_path)
    yield made
    for process in made.running:
        if process.poll() is None:
            process.kill()
            process.wait()


def test_no_two_jobs_are_on_one_gpu_though_more_ask_than_there_are(machine, jobs):
    machine(3)
    for asked in (1, 2, 1, 2, 1):
        jobs.start(asked, 0.3)
    jobs.end()
    begun = [names for _, what, _, names in jobs.lines() if what == "begin"]
    assert sorted(map(len, begun)) == [1, 1, 1, 2, 2]
    assert all(len(set(names)) == len(names) for names in begun)
    assert jobs.most_on_one() == 1


def test_a_killed_job_gives_its_gpu_back(machine, jobs):
    machine(2)
    first, _ = jobs.start(1, 60), jobs.start(1, 60)
    jobs.wait_for("begin", 2)
    waiting = jobs.start(1, 0.1)
    time.sleep(0.5)
    assert len(jobs.lines()) == 2, "the third took a GPU that is in use"
    jobs.kill(first)
    jobs.wait_for("begin", 3)
    (freed,) = (names for _, what, pid, names in jobs.lines() if (what, pid) == ("end", first))
    (taken,) = (names for _, what, pid, names in jobs.lines() if (what, pid) == ("begin", waiting))
    assert taken == freed and jobs.most_on_one() == 1


def test_a_launcher_takes_gpus_for_all_of_its_processes_which_keep_them(machine, jobs, tmp_path):
    machine(3)
    # A launcher that starts one process as torchrun does, and is killed before it.
    child = tmp_path / "child.py"
    child.write_text(
        "import os, sys, time\nfrom traces.running import gpus\n"
        "os.environ['TRACES_ALLOW_CPU'] = '1'\ngpus.take(2)\n"
        f"open({str(tmp_path / 'shared')!r}, 'w').write(os.environ['CUDA_VISIBLE_DEVICES'])\n"
        "time.sleep(60)\n"
    )
    launch = (
        "import os, subprocess, sys, time\n"
        f"one = subprocess.Popen([sys.executable, {str(child)!r}],"
        f" env=os.environ | {{'LOCAL_RANK': '0', 'PYTHONPATH': {str(ROOT)!r}}})\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(one.pid))\ntime.sleep(60)\n"
    )
    command = [sys.executable, "-m", "traces.running.gpus", "2", sys.executable, "-c", launch]
    launcher = subprocess.Popen(command, cwd=ROOT)
    jobs.running.append(launcher)
    wait_until((tmp_path / "shared").exists)
    assert (tmp_path / "shared").read_text() == "GPU-0,GPU-1"

    launcher.kill()
    launcher.wait()
    jobs.start(3, 0)
    jobs.start(1, 0)
    jobs.wait_for("begin", 1)
    time.sleep(0.3)
    assert [names for *_, names in jobs.lines()][0] == ["GPU-2"], "the child still has the others"
    os.kill(int((tmp_path / "pid").read_text()), 9)
    jobs.end()
    assert ["GPU-0", "GPU-1", "GPU-2"] in [names for *_, names in jobs.lines()]


def test_a_command_holds_the_gpus_that_were_taken_for_it(machine, jobs, tmp_path):
    machine(2)
    started = tmp_path / "started"
    command = [
        sys.executable,
        "-m",
        "traces.running.gpus",
        "2",
        "sh",
        "-c",
        f"touch {started}; exec sleep 60",
    ]
    holder = subprocess.Popen(command, cwd=ROOT)
    jobs.running.append(holder)
    wait_until(started.exists)
    jobs.start(1, 0)
    time.sleep(1)
    assert not jobs.lines()
    holder.kill()
    holder.wait()
    jobs.wait_for("begin", 1)


def wait_until(true, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_launcher_without_enough_gpus_says_so_and_starts_nothing(machine, tmp_path):
    machine(1)
    command = [sys.executable, "-m", "traces.running.gpus", "2", "touch", str(tmp_path / "started")]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 1 and ran.stderr.startswith("GPUs: 1 can be used here, expected 2")
    assert not (tmp_path / "started").exists()
