"""
Start the thousands of short jobs of a rehearsal from a Python that has imported everything.

Importing torch and transformers takes a job four CPU seconds, and Snakemake's own imports two more
where SLURM starts it; a rehearsed job's work takes a fraction of one. Inside
`with warm_python(...) as variables:` a script or `python -m snakemake` that Snakemake starts with
these variables runs in a fork of one process that has imported traces/
(tools/warm/sitecustomize.py sends it there). File, arguments, folder, variables, process group and
exit status are the same. Memory and time are not counted for the job, and a fork dies when its job
does.

Only a rehearsal and the disturbances of tools/chaos do so. Every other run starts Python anew for
every job.
"""

import contextlib
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import struct
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
SITE = Path(__file__).resolve().parent / "warm"


@contextlib.contextmanager
def warm_python(
    environment: Mapping[str, str], *, under: Sequence[str] = ()
) -> Iterator[dict[str, str]]:
    """
    Yield the variables under which scripts run warm, for as long as the block lasts.

    under : a command that starts the one it is given, such as a shell that lowers a limit before.
            Forks inherit what it changed
    """
    with TemporaryDirectory() as folder:
        place = f"{folder}/warm.socket"
        command = [*under, sys.executable, __file__, place]
        # torch reads it once, at import: dozens of jobs with a thread for every core each would
        # wait for one another.
        one_thread = {"OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(
            command, env={**environment, **one_thread}, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        try:
            # It prints one line when it listens: a job that connects earlier would fail.
            if not process.stdout.readline():
                raise RuntimeError(f"{' '.join(command)} ended before it listened")
            path = os.pathsep.join(filter(None, [str(SITE), environment.get("PYTHONPATH")]))
            yield {"TRACES_WARM": place, "PYTHONPATH": path}
        finally:
            process.terminate()
            process.wait()


def serve(place: str) -> None:
    """Import all of traces/, then fork for every script that comes to the socket at `place`."""
    sys.path.insert(0, str(ROOT))
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
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(place)
        listening.listen(64)
        print("listening", flush=True)
        while True:
            connection, _ = listening.accept()
            if os.fork() == 0:
                listening.close()
                answer(connection)
            connection.close()


def answer(connection: socket.socket) -> None:
    """Become, in the fork, the process of the script, and report how it ended."""
    # The job starts processes of its own, such as torchrun's, and waits for them.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
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
    status = run(told["argv"])
    with contextlib.suppress(OSError):
        connection.sendall(bytes([status]))
    # Not sys.exit: this process' own clean-up belongs to the server it was forked from.
    os._exit(status)


def run(argv: list[str]) -> int:
    """Run a script or a module as `python argv` would; return its exit status."""
    status = 0
    try:
        if argv[0] == "-m":
            sys.argv = argv[1:]
            runpy.run_module(argv[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = argv
            sys.path[0] = str(Path(argv[0]).parent)
            runpy.run_path(argv[0], run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return status


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
    serve(sys.argv[1])
