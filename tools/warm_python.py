"""
A Python that has imported everything already, for the thousands of short jobs of a rehearsal.

Importing torch and transformers takes a job four seconds of CPU, and Snakemake's own imports two
more where SLURM starts it; what a rehearsed job then does takes a fraction of one. Inside
`with warm_python(...) as variables:` a script or `python -m snakemake` that Snakemake starts under
these variables runs in a fork of one process that imported all rooms of traces/
(tools/warm/sitecustomize.py sends it there): the same file, arguments, folder, variables and exit
status. Memory and time are not counted against the job, and a fork dies when its job does.

Only a rehearsal does so. Every other run starts Python anew for every job.
"""

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
SITE = Path(__file__).resolve().parent / "warm"


@contextlib.contextmanager
def warm_python(environment: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """The variables under which scripts are run warm, as long as the block lasts."""
    with TemporaryDirectory() as folder:
        place = f"{folder}/warm.socket"
        command = [sys.executable, __file__, place]
        # Read as torch is imported: dozens of jobs that each take all cores wait for one another.
        one_thread = {"OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(
            command, env={**environment, **one_thread}, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        try:
            if not process.stdout.readline():  # one line once it listens
                raise RuntimeError(f"{' '.join(command)} ended before it listened")
            path = os.pathsep.join(filter(None, [str(SITE), environment.get("PYTHONPATH")]))
            yield {"TRACES_WARM": place, "PYTHONPATH": path}
        finally:
            process.terminate()
            process.wait()


def serve(place: str) -> None:
    """Import all of traces/, then fork for every script that comes to the socket at `place`."""
    sys.path.insert(0, str(ROOT))
    import traces

    for module in pkgutil.iter_modules(traces.__path__, "traces."):
        importlib.import_module(module.name)
    for late in ("transformers.modeling_utils", "transformers.trainer", "snakemake.cli"):
        importlib.import_module(late)
    gc.freeze()  # no fork looks through a million objects of imports, and copies them by looking

    assert threading.active_count() == 1, "a fork has no other threads than the one that forked"
    signal.signal(
        signal.SIGCHLD, signal.SIG_IGN
    )  # forks are not waited for: they answer themselves
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
    """In the fork: become the process that the script was to run in, and say how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
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
    os._exit(status)


def run(argv: list[str]) -> int:
    """Run a script or a module as `python argv` would; its exit status."""
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


def _die_with(connection: socket.socket) -> None:
    """A job that is cancelled closes its end; its fork must not go on writing."""
    with contextlib.suppress(OSError):
        if not connection.recv(1):
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    serve(sys.argv[1])
