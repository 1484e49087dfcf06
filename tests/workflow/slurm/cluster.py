"""
A real SLURM of one's own on one machine: a controller, pretend nodes, pretend GPUs.

Everything lies in one folder, the munge socket and the configuration too; nothing is written to
/etc, so a SLURM that the machine belongs to is not touched. Clients find this one by `environment`.
"""

import contextlib
import getpass
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Container, Iterator
from pathlib import Path
from textwrap import dedent

GPU_NODES, GPUS, CPU_NODES = 4, 8, 2
DAEMONS = ("munged", "slurmctld", "slurmd")
CLIENTS = ("sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo")
# Device files that most machines have; SLURM only looks whether they are there.
TERMINALS = [f"/dev/tty{i}" for i in range(GPUS)]
PATIENCE = 30  # seconds; a client of a controller that died would wait for minutes


def why_not() -> str | None:
    """Why no cluster can be brought up here; None where it can."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    missing = [name for name in (*DAEMONS, *CLIENTS) if shutil.which(name, path=path) is None]
    if missing:
        return f"no {', '.join(missing)} here: install slurmctld, slurmd, slurm-client and munge"
    if not all(map(os.path.exists, TERMINALS)) and not _makes_devices():
        return f"a pretend GPU is a device file: no {TERMINALS[-1]}, and none may be made here"
    return None


def _makes_devices() -> bool:
    """Whether this user may make a device file; root may, unless its container forbids it."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            _make_device(Path(folder) / "null")
        except OSError:
            return False
    return True


def _make_device(path: Path) -> None:
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))  # the numbers of /dev/null


class Cluster:
    """`with Cluster(folder) as cluster:` runs a SLURM for as long as the block lasts."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.gpu_nodes = [f"gpu{i}" for i in range(1, GPU_NODES + 1)]
        self.cpu_nodes = [f"cpu{i}" for i in range(1, CPU_NODES + 1)]
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}
        self.configuration = home / "slurm.conf"
        path = f"{home / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin"
        kept = {key: value for key, value in os.environ.items() if not key.startswith("SLURM_")}
        self.environment = kept | {"PATH": path, "SLURM_CONF": str(self.configuration)}

    def __enter__(self) -> "Cluster":
        try:
            self._write()
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # What a test asks and does --------------------------------------------------------------

    def run(self, *command: str, check: bool = True) -> str:
        """The output of one client, such as `scontrol ping`."""
        ran = subprocess.run(
            command,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
        )
        assert ran.returncode == 0 or not check, f"{command}: {ran.stdout}"
        return ran.stdout

    def jobs(self, state: str = "all") -> dict[str, str]:
        """The comment of every job in a state, by the job's number; Snakemake's name the rule."""
        lines = self.run("squeue", "--noheader", f"--states={state}", "--format=%i|%k").splitlines()
        return dict(line.strip().split("|", 1) for line in lines)

    def job(self, number: str) -> dict[str, str]:
        """What the controller says of one job, such as JobState, TresPerJob and GRES."""
        words = self.run("scontrol", "--details", "--oneliner", "show", "job", number).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def running(self, name: str, but: Container[str] = (), seconds: float = 120) -> str:
        """Wait until a job runs whose rule and wildcards begin so; its number."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for number, comment in self.jobs("running").items():
                if comment.startswith(f"rule_{name}") and number not in but:
                    return number
            time.sleep(0.2)
        raise TimeoutError(f"no job of {name} ran within {seconds} s: {self.jobs()}")

    def devices_seen(self, number: str) -> list[str]:
        """CUDA_VISIBLE_DEVICES of every task of a job, taken apart; empty without GPUs."""
        lines = (self.home / "devices-seen").read_text().splitlines()
        seen = {line.partition(" ")[2] for line in lines if line.split(" ")[0] == number}
        assert len(seen) == 1, f"job {number}: {seen}"
        return [device for device in seen.pop().split(",") if device]

    def processes(self, number: str, command: str) -> list[int]:
        """Processes of a job whose command line holds `command`."""
        mark = f"SLURM_JOB_ID={number}".encode()
        return [
            process
            for process, environ, line in _processes()
            if mark in environ.split(b"\0") and command.encode() in line
        ]

    # Bringing it up -------------------------------------------------------------------------

    def _write(self) -> None:
        for folder in ("bin", "state", "spool", "devices", "logs"):
            (self.home / folder).mkdir(parents=True)
        devices = "/dev/tty"
        if not all(map(os.path.exists, TERMINALS)):
            devices = f"{self.home}/devices/gpu"
            for index in range(GPUS):
                _make_device(Path(f"{devices}{index}"))

        key = self.home / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)

        controller, *nodes = _free_ports(1 + GPU_NODES + CPU_NODES)
        names = [*self.gpu_nodes, *self.cpu_nodes]
        gres = [f"Gres=gpu:h100:{GPUS}"] * GPU_NODES + [""] * CPU_NODES
        lines = [
            f"NodeName={name} NodeHostname={socket.gethostname()} NodeAddr=127.0.0.1 Port={port} "
            f"CPUs=32 RealMemory=1000000 State=UNKNOWN {what}\n"
            for name, port, what in zip(names, nodes, gres, strict=True)
        ]
        self.configuration.write_text(self._settings(controller) + "".join(lines))
        (self.home / "gres.conf").write_text(
            f"NodeName=gpu[1-{GPU_NODES}] Name=gpu Type=h100 File={devices}[0-{GPUS - 1}]\n"
        )

        # A job step of Snakemake drops every variable that begins with SLURM_, SLURM_CONF too.
        srun = self.home / "bin" / "srun"
        real = shutil.which("srun", path=self.environment["PATH"].split(":", 1)[1])
        srun.write_text(f'#!/bin/sh\nSLURM_CONF="{self.configuration}" exec {real} "$@"\n')
        srun.chmod(0o755)

        # What a task sees of its node, for tests to read when the job is over.
        prolog = self.home / "bin" / "task-prolog"
        prolog.write_text(
            f'#!/bin/sh\necho "$SLURM_JOB_ID $CUDA_VISIBLE_DEVICES" >> {self.home}/devices-seen\n'
        )
        prolog.chmod(0o755)

    def _settings(self, port: int) -> str:
        home, host = self.home, socket.gethostname()
        return dedent(f"""\
            ClusterName=pretend
            SlurmctldHost={host}(127.0.0.1)
            SlurmctldPort={port}
            SlurmUser={getpass.getuser()}
            SlurmdUser={getpass.getuser()}
            AuthType=auth/munge
            AuthInfo=socket={home}/munge.socket,cred_expire=5
            CryptoType=crypto/munge
            StateSaveLocation={home}/state
            SlurmdSpoolDir={home}/spool/%n
            SlurmctldPidFile={home}/slurmctld.pid
            SlurmdPidFile={home}/%n.pid
            SlurmdParameters=config_overrides
            ProctrackType=proctrack/linuxproc
            TaskPlugin=task/none
            TaskProlog={home}/bin/task-prolog
            MpiDefault=none
            SelectType=select/cons_tres
            SelectTypeParameters=CR_CPU_Memory
            SchedulerParameters=bf_interval=1,sched_min_interval=100000
            JobAcctGatherType=jobacct_gather/linux
            JobAcctGatherFrequency=1
            JobAcctGatherParams=OverMemoryKill
            AccountingStorageType=accounting_storage/none
            JobCompType=jobcomp/none
            GresTypes=gpu
            MinJobAge=36000
            KillWait=2
            OverTimeLimit=0
            ReturnToService=2
            SlurmdTimeout=300
            PartitionName=cpu Nodes=cpu[1-{CPU_NODES}] Default=YES MaxTime=2-0 DefMemPerCPU=300
            PartitionName=gpu Nodes=gpu[1-{GPU_NODES}] MaxTime=2-0 DefMemPerCPU=300
            """)

    def _start(self) -> None:
        home = self.home
        self._daemon(
            "munged",
            "--foreground",
            "--force",
            f"--key-file={home}/munge.key",
            f"--socket={home}/munge.socket",
            f"--pid-file={home}/munged.pid",
            f"--log-file={home}/logs/munge.log",
            f"--seed-file={home}/munge.seed",
            "--num-threads=2",
        )
        self._until((home / "munge.socket").exists, "munged")
        self._daemon("slurmctld", "-D", "-f", str(self.configuration))
        for node in (*self.gpu_nodes, *self.cpu_nodes):
            self._daemon("slurmd", "-D", "-N", node, "-f", str(self.configuration), name=node)
        self._wait_for_nodes()

    def _daemon(self, program: str, *options: str, name: str = "") -> None:
        name = name or program
        with (self.home / "logs" / f"{name}.out").open("wb") as log:
            self.daemons[name] = subprocess.Popen(
                [program, *options],
                env=self.environment,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _wait_for_nodes(self) -> None:
        count = GPU_NODES + CPU_NODES

        def ready() -> bool:
            states = self.run("sinfo", "--noheader", "-N", "--format=%T", check=False).split()
            return len(states) == count and set(states) <= {"idle", "mixed", "allocated"}

        self._until(ready, "the nodes")

    def _until(self, true, what: str, seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while not true():
            ended = [name for name, one in self.daemons.items() if one.poll() is not None]
            if ended or time.monotonic() > end:
                logs = [(self.home / "logs" / f"{name}.out").read_text()[-800:] for name in ended]
                raise RuntimeError(f"{what} did not come up; ended: {ended} {logs}")
            time.sleep(0.05)

    # Taking it down -------------------------------------------------------------------------

    def stop(self) -> None:
        """End every job, every daemon and whatever they left behind."""
        if (ctl := self.daemons.get("slurmctld")) and ctl.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.run("scancel", "--signal=KILL", f"--user={getpass.getuser()}", check=False)
        for daemon in reversed(self.daemons.values()):
            daemon.terminate()
        for daemon in self.daemons.values():
            try:
                daemon.wait(5)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        for process in self.left_behind():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        shutil.rmtree(self.home / "devices", ignore_errors=True)

    def left_behind(self) -> list[int]:
        """Processes whose environment or command names this cluster's configuration."""
        mark = str(self.configuration).encode()
        found = [process for process, *texts in _processes() if any(mark in text for text in texts)]
        return [process for process in found if process != os.getpid()]


def _processes() -> Iterator[tuple[int, bytes, bytes]]:
    """Number, environment and command line of every process that can be looked at."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            yield (
                int(folder.name),
                (folder / "environ").read_bytes(),
                (folder / "cmdline").read_bytes(),
            )


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
