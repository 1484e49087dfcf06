"""
Start short jobs from a Python that has imported everything.

    python tools/warm_python.py -- snakemake --cores 2 ...

Importing torch and transformers takes a job three to four CPU seconds, more than most jobs of a
small study work. While the command runs, a script or `python -m snakemake` that it starts runs in a
fork of one process that has imported traces/ (tools/warm/sitecustomize.py sends it there). File,
arguments, folder, variables, process group and exit status are the same, and so are results, to the
byte. A fork dies when its job does. Snakemake cannot count a fork's CPU time and memory, so the
fork counts them itself, and its benchmark file is mended as soon as Snakemake has written it.

These jobs start a Python of their own as ever: those that may use the network, since all others are
kept offline from their first import; those of several threads, since torch reads their number once;
and those of another environment. On a machine with a GPU, or without Linux, all jobs do.
"""

import contextlib
import gc
import importlib
import json
import os
import resource
import runpy
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from traces.job import OFFLINE

ROOT = Path(__file__).resolve().parent.parent
SITE = Path(__file__).resolve().parent / "warm"
GPU_DRIVER = Path("/dev/nvidiactl")
LONGEST_ADDRESS = 100
"Of a socket, in bytes: Linux takes 107."


def main(command: Sequence[str]) -> int:
    """Run a command whose jobs start warm where they can; return its exit status."""
    if sys.platform != "linux" or GPU_DRIVER.exists():
        # In this process' place, so that an interrupt is the command's alone.
        os.execvp(command[0], list(command))
    with warm_python(os.environ) as variables:
        process = subprocess.Popen(command, env={**os.environ, **variables})
        # An interrupt from the terminal reaches the command as well, which ends its jobs first.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        return process.wait()


@contextlib.contextmanager
def warm_python(
    environment: Mapping[str, str], *, under: Sequence[str] = (), network: bool = False
) -> Iterator[dict[str, str]]:
    """
    Yield the variables under which scripts run warm, for as long as the block lasts.

    under   : a command that starts the one it is given, such as a shell that lowers a limit before.
              Forks inherit what it changed
    network : whether jobs that may use the network run warm too. Then none is kept offline
    """
    with TemporaryDirectory() as folder:
        place = f"{folder}/warm.socket"
        if len(place.encode()) > LONGEST_ADDRESS:
            print(f"{place}: too long for a socket, so jobs start cold", file=sys.stderr)
            yield {}
            return
        command = [*under, sys.executable, __file__, place]
        # torch reads it once, at import: dozens of jobs with a thread for every core each would
        # wait for one another.
        own = {"OMP_NUM_THREADS": "1"} | ({} if network else OFFLINE)
        process = subprocess.Popen(command, env={**environment, **own}, stdout=subprocess.PIPE)
        assert process.stdout is not None
        with Benchmarks(Path(folder)).kept_true():
            try:
                # It prints one line when it listens: a job that connects earlier would start cold.
                if not process.stdout.readline():
                    raise RuntimeError(f"{' '.join(command)} ended before it listened")
                path = os.pathsep.join(filter(None, [str(SITE), environment.get("PYTHONPATH")]))
                cold = "" if network else " ".join(with_network())
                yield {
                    "TRACES_WARM": place,
                    "TRACES_WARM_PREFIX": os.path.realpath(sys.prefix),
                    "TRACES_COLD": cold,
                    "PYTHONPATH": path,
                }
            finally:
                process.terminate()
                process.wait()


def with_network() -> list[str]:
    """The scripts of jobs that may use the network."""
    scripts = sorted(ROOT.glob("scripts/*.py"))
    return [one.stem for one in scripts if "network=True" in one.read_text(encoding="utf-8")]


class Benchmarks:
    """
    Benchmark files of jobs that ran in forks, with the CPU time and memory of the fork.

    Snakemake watches the process that it started, which only waits for the fork.
    """

    UNKNOWN = ("max_vms", "max_uss", "max_pss", "io_in", "io_out")

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pathvars: dict[str, str] = {}

    @contextlib.contextmanager
    def kept_true(self) -> Iterator[None]:
        """Mend files from now to the end of the block, each within a second."""
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(1):
                self.mend()

        watching = threading.Thread(target=watch, daemon=True)
        watching.start()
        try:
            yield
        finally:
            ended.set()
            watching.join()
            self.mend()

    def mend(self) -> None:
        """Write what forks have counted into those files that Snakemake has written since."""
        for note in self.folder.glob("*.used"):
            used = json.loads(note.read_text())
            self.pathvars |= used["pathvars"]
            file = self.of_log(Path(used["log"]))
            with contextlib.suppress(OSError):
                if file.stat().st_mtime_ns >= used["time_ns"]:
                    file.write_text(self.mended(file.read_text(), used))
                    note.unlink()

    def of_log(self, log: Path) -> Path:
        """A job's benchmark file lies among the benchmarks as its log does among the logs."""
        logs = Path(self.pathvars.get("logs", "logs"))
        benchmarks = Path(self.pathvars.get("benchmarks", "benchmarks"))
        if log.is_relative_to(logs):
            return (benchmarks / log.relative_to(logs)).with_suffix(".tsv")
        return log.with_suffix(".tsv")

    def mended(self, text: str, used: Mapping[str, float]) -> str:
        """The text of a benchmark file with what the fork counted, NA for what it cannot count."""
        names, values = (line.split("\t") for line in text.splitlines()[:2])
        row = dict(zip(names, values, strict=True)) | dict.fromkeys(self.UNKNOWN, "NA")
        row["max_rss"] = f"{used['max_rss']:.2f}"
        row["cpu_time"] = f"{used['cpu_time']:.2f}"
        # In per cent, as Snakemake has it.
        row["mean_load"] = f"{100 * used['cpu_time'] / max(float(row['s']), 0.01):.2f}"
        return "\t".join(names) + "\n" + "\t".join(row[name] for name in names) + "\n"


def serve(place: str) -> None:
    """Import all of traces/, then fork for every script that comes to the socket at `place`."""
    # An interrupt is the command's, which may still have jobs to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = os.getppid()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(place)
        listening.listen(64)
        # Before the imports: a command without work need not wait for them. Jobs do.
        print("listening", flush=True)
        import_all()
        listening.settimeout(1)
        while os.getppid() == parent:
            with contextlib.suppress(TimeoutError):
                connection, _ = listening.accept()
                if os.fork() == 0:
                    listening.close()
                    answer(connection, Path(place).parent)
                connection.close()


def import_all() -> None:
    """Import what any job imports, in a process that stays without threads."""
    for file in sorted(ROOT.glob("traces/**/*.py")):
        importlib.import_module(".".join(file.relative_to(ROOT).with_suffix("").parts))
    # What is only imported inside functions.
    for late in ("transformers.modeling_utils", "transformers.trainer", "peft", "snakemake.cli"):
        importlib.import_module(late)
    # A collection in a fork would touch the million objects of the imports, and touching copies the
    # memory that forks share.
    gc.freeze()
    assert threading.active_count() == 1, "a fork has no other threads than the one that forked"
    # Forks answer their jobs themselves; ignored, they leave no zombies that must be waited for.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)


def answer(connection: socket.socket, notes: Path) -> None:
    """
    Become, in the fork, the process of the script, and report how it ended.

    notes : folder in which the fork notes what it used
    """
    # The job starts processes of its own, such as torchrun's, and waits for them.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _join_group(connection)
    length, streams, _, _ = socket.recv_fds(connection, 8, 3)
    text = b""
    while len(text) < int.from_bytes(length, "big"):
        text += connection.recv(1 << 20)
    told = json.loads(text)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(told["cwd"])
    os.environ.clear()
    os.environ.update(told["env"])
    threading.Thread(target=_die_with, args=[connection], daemon=True).start()
    status, names = run(told["argv"])
    # Snakemake writes no benchmark of a failed job, and its note would pass for the next try's.
    if status == 0:
        _note_use(notes, told["argv"], names)
    with contextlib.suppress(OSError):
        connection.sendall(bytes([status]))
    # Not sys.exit: this process' own clean-up belongs to the server it was forked from.
    os._exit(status)


def run(argv: list[str]) -> tuple[int, dict[str, Any]]:
    """Run a script or a module as `python argv` would; return its exit status and its globals."""
    status, names = 0, {}
    try:
        if argv[0] == "-m":
            sys.argv = argv[1:]
            runpy.run_module(argv[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = argv
            sys.path[0] = str(Path(argv[0]).parent)
            names = runpy.run_path(argv[0], run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return status, names


def _note_use(folder: Path, argv: Sequence[str], names: Mapping[str, Any]) -> None:
    """Note CPU seconds and the most memory (MB) of this fork and its own processes, and its log."""
    told = names.get("snakemake")
    log = next(iter(getattr(told, "log", [])), None)
    if "--log-file" in argv:
        log = argv[argv.index("--log-file") + 1]
    if log is None:
        return
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    note = {
        "log": str(Path(log)),
        "pathvars": getattr(told, "config", {}).get("pathvars", {}),
        "cpu_time": sum(one.ru_utime + one.ru_stime for one in used),
        "max_rss": max(one.ru_maxrss for one in used) / 1024,
        "time_ns": time.time_ns(),
    }
    whole = folder / f"{os.getpid()}.part"
    whole.write_text(json.dumps(note))
    whole.rename(whole.with_suffix(".used"))


def _join_group(connection: socket.socket) -> None:
    """Be one of the job's process group, so that a signal to all of a workflow comes here too."""
    size = struct.calcsize("3i")
    job = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    # A group of another session, such as a cluster's, cannot be joined, and a killed job has none.
    with contextlib.suppress(OSError):
        os.setpgid(0, os.getpgid(struct.unpack("3i", job)[0]))


def _die_with(connection: socket.socket) -> None:
    """Kill this fork when its job is cancelled: a fork that goes on could write its outputs."""
    with contextlib.suppress(OSError):
        if not connection.recv(1):
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    if sys.argv[1] == "--":
        sys.exit(main(sys.argv[2:]))
    serve(sys.argv[1])
