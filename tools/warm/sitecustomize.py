"""
Python imports this as it starts, where tools/warm_python.py put it on the path: the Snakemake of a
job and the script it runs go to the warm process, whose forks do them with everything imported.
"""

import os
import sys


def main(place: str) -> None:
    import json
    import socket

    with socket.socket(socket.AF_UNIX) as warm:
        try:
            warm.connect(place)
        except OSError:
            return  # the warm process has ended: start as ever
        told = {"argv": sys.orig_argv[1:], "env": dict(os.environ), "cwd": os.getcwd()}
        text = json.dumps(told).encode()
        socket.send_fds(warm, [len(text).to_bytes(8, "big")], [0, 1, 2])
        warm.sendall(text)
        status = warm.recv(1)
    os._exit(status[0] if status else 1)  # nothing came: the fork was killed


def starts_warm(called: list[str]) -> bool:
    """Whether a Python called so is one of those that start warm (tools/warm_python.py)."""
    # An environment may be reached by a link.
    if os.environ.get("TRACES_WARM_PREFIX") != os.path.realpath(sys.prefix):
        return False
    if os.environ.get("OMP_NUM_THREADS", "1") != "1":
        return False
    if called == ["-m", "snakemake"]:
        return True
    # Empty in an interactive Python, an option in torchrun's.
    script = called[0] if called else ""
    # Snakemake runs a copy of a script, whose name ends in the script's own.
    rule = script.rsplit("/", 1)[-1].removesuffix(".py").rsplit(".", 1)[-1]
    of_a_job = "/.snakemake/scripts/" in script or script.startswith("scripts/")
    return of_a_job and rule not in os.environ["TRACES_COLD"].split()


if "TRACES_WARM" in os.environ and starts_warm(sys.orig_argv[1:3]):
    main(os.environ["TRACES_WARM"])
