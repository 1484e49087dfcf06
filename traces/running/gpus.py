"""
Give a job the GPUs that it asks for, and stop it where torch does not see them.

SLURM chooses the GPUs of its jobs. Elsewhere, as on a workstation, a job locks as many as it asks
for and sets CUDA_VISIBLE_DEVICES, so that no two jobs share one. The system takes a lock back when
the process ends, however it ends.

    python -m traces.running.gpus 2 torchrun --nproc_per_node 2 script.py  two GPUs for a launcher
"""

import contextlib
import fcntl
import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from traces.running.locks import lock

log = logging.getLogger(__name__)

VISIBLE = "CUDA_VISIBLE_DEVICES"
ALLOW_CPU = "TRACES_ALLOW_CPU"
"Set to 1 where jobs may compute on the CPU though they ask for GPUs: rehearsals and tests."
HELD = "TRACES_GPUS_HELD"
"The GPUs that a launcher has locked, for the processes that it starts."
LOCKS = "TRACES_GPU_LOCKS"
"The folder of the locks: all jobs of a machine must name the same one."

# The oldest driver that runs a CUDA of this major version (CUDA's notes on minor version
# compatibility, Linux).
OLDEST_DRIVER = {11: 450, 12: 525, 13: 580}

# Open until the process ends: a lock lasts as long as its file is open.
_locked: list[int] = []


def take(asked: int) -> None:
    """
    Give this process as many GPUs as it asks for, and make sure that torch sees them.

    asked : GPUs of this job on this machine. A job that asks for none sees none

    It must be called before torch initialises CUDA, which reads CUDA_VISIBLE_DEVICES once. Raises
    ValueError with one sentence if torch sees fewer, unless TRACES_ALLOW_CPU is 1.
    """
    if asked == 0:
        os.environ[VISIBLE] = ""
        return
    if "LOCAL_RANK" in os.environ:
        _share()  # a launcher chose for all of its processes
    else:
        choose(asked)
    require(asked)


def choose(asked: int) -> None:
    """
    Lock `asked` GPUs and make them the visible ones; wait while too few are free.

    What CUDA_VISIBLE_DEVICES named before limits the choice. Nothing is chosen in a SLURM job that
    was given no more than it asks for, and where no list of GPUs can be had.
    """
    if _chosen_by_slurm(asked):
        return
    present = listed()
    candidates = named(os.environ.get(VISIBLE), present)
    if not present:
        log.info("no list of GPUs: neither nvidia-smi nor /proc/driver/nvidia has one")
    elif len(candidates) >= asked:
        os.environ[VISIBLE] = os.environ[HELD] = ",".join(_lock(asked, candidates))
        log.info("GPUs: %s", os.environ[VISIBLE])
    elif allows_cpu():
        os.environ[VISIBLE] = ""
    else:
        raise ValueError(_complaint(asked, len(candidates)))


def allows_cpu() -> bool:
    """Whether jobs that ask for GPUs may compute without them."""
    return os.environ.get(ALLOW_CPU) == "1"


def _chosen_by_slurm(asked: int) -> bool:
    """Whether this is a SLURM job without a GPU to spare: one with several may hold many jobs."""
    given = os.environ.get(VISIBLE)
    return "SLURM_JOB_ID" in os.environ and (given is None or len(given.split(",")) <= asked)


# Which GPUs there are ---------------------------------------------------------------------------


def listed() -> list[list[str]]:
    """
    List the names (UUIDs) of the GPUs of this machine, in the order of nvidia-smi.

    A GPU has one name, or one for each instance where it is split by MIG. CUDA is not touched.
    """
    found: list[list[str]] = []
    for line in _output("nvidia-smi", "-L").splitlines():
        name = re.search(r"\(UUID: ([^)]+)\)", line)
        if name and line.startswith("GPU"):
            found.append([name[1]])
        elif name and found:
            found[-1] = [one for one in found[-1] if one.startswith("MIG")] + [name[1]]
    return found or [[name] for name in _names_of_the_driver()]


def _names_of_the_driver() -> Iterator[str]:
    """UUIDs as the driver's own files have them: containers may lack nvidia-smi."""
    for file in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        yield from re.findall(r"^GPU UUID:\s*(\S+)", file.read_text(), re.MULTILINE)


def named(visible: str | None, present: Sequence[Sequence[str]]) -> list[str]:
    """
    Return the names of the GPUs among `present` that CUDA_VISIBLE_DEVICES names, in its order.

    visible : numbers as nvidia-smi counts, or names or their beginnings. None are all GPUs. As in
              CUDA, what stands behind a GPU that is not there does not count
    """
    if visible is None:
        return [name for gpu in present for name in gpu]
    found: list[str] = []
    for word in visible.replace(" ", "").split(","):
        if word.isdigit():
            here = list(present[int(word)]) if int(word) < len(present) else []
        else:
            here = [name for gpu in present for name in gpu if word and name.startswith(word)]
        if not here:
            break
        found += [name for name in here if name not in found]
    return found


def _output(*command: str) -> str:
    """What a command prints; nothing if it is not there, fails or hangs."""
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return ran.stdout if ran.returncode == 0 else ""


# Locks ------------------------------------------------------------------------------------------
# A process holds a shared lock on each of its GPUs, together with the processes it starts. A GPU is
# free if nobody shares its lock, which only one process at a time may find out.


def _lock(asked: int, candidates: Sequence[str]) -> list[str]:
    """Lock `asked` of the candidates, waiting until as many are free; return their names."""
    waiting = False
    while not (taken := _try(asked, candidates)):
        if not waiting:
            print(f"waiting for {asked} of {len(candidates)} GPUs", file=sys.stderr, flush=True)
            waiting = True
        time.sleep(1)
    _locked.extend(taken.values())
    return list(taken)


def _try(asked: int, candidates: Sequence[str]) -> dict[str, int]:
    """Lock as many GPUs as are asked for, or none; return their names with the open files."""
    taken: dict[str, int] = {}
    with _alone():
        for name in candidates:
            file = _opened(name)
            try:
                lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB, _place(name))
            except BlockingIOError:
                os.close(file)
                continue
            lock(file, fcntl.LOCK_SH, _place(name))
            taken[name] = file
            if len(taken) == asked:
                return taken
        for file in taken.values():
            os.close(file)
    return {}


def _share() -> None:
    """Hold the launcher's GPUs as well: this process may outlive a launcher that is killed."""
    for name in filter(None, os.environ.get(HELD, "").split(",")):
        file = _opened(name)
        lock(file, fcntl.LOCK_SH, _place(name))
        _locked.append(file)


@contextmanager
def _alone() -> Iterator[None]:
    """Let one process at a time look for free GPUs."""
    gate = _opened("choosing")
    try:
        lock(gate, fcntl.LOCK_EX, _place("choosing"))
        yield
    finally:
        os.close(gate)


def _opened(name: str) -> int:
    """Open the file of a lock; make it if need be."""
    file = _place(name)
    if not file.parent.is_dir():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.parent.chmod(0o1777)  # whoever works on this machine
    # In a folder of all, Linux lets nobody open another user's file in order to create it.
    with contextlib.suppress(FileNotFoundError):
        return _opened_there(file)
    with contextlib.suppress(FileExistsError):
        made = os.open(file, os.O_RDWR | os.O_NOFOLLOW | os.O_CREAT | os.O_EXCL)
        os.fchmod(made, 0o644)  # for others to open, whatever the umask
        return made
    return _opened_there(file)


def _opened_there(file: Path) -> int:
    # NFS locks only what is open for writing. Another user's file is not ours to write, and reading
    # is enough on a local disk.
    with contextlib.suppress(PermissionError):
        return os.open(file, os.O_RDWR | os.O_NOFOLLOW)
    return os.open(file, os.O_RDONLY | os.O_NOFOLLOW)


def _place(name: str) -> Path:
    """The file of a lock."""
    folder = Path(os.environ.get(LOCKS, "/tmp/readable-traces-gpus"))
    return folder / re.sub(r"[^\w.-]", "_", name)


# What torch sees --------------------------------------------------------------------------------


def require(asked: int) -> None:
    """Raise ValueError if torch sees fewer GPUs than are asked for, unless that is allowed."""
    if allows_cpu():
        log.info("%s=1: GPUs are not required", ALLOW_CPU)
        return
    import torch

    # A driver that is too old is counted, but not available.
    seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if seen < asked:
        raise ValueError(_complaint(asked, seen))


def _complaint(asked: int, seen: int) -> str:
    """One sentence: how many GPUs are seen, what may hide the others, and what to do."""
    import torch

    driver, cuda = _driver(), torch.version.cuda
    visible = os.environ.get(VISIBLE)
    facts = [
        "no NVIDIA driver" if driver is None else f"driver {driver}",
        f"torch {torch.__version__} " + ("without CUDA" if cuda is None else f"for CUDA {cuda}"),
        f"{VISIBLE} is not set" if visible is None else f"{VISIBLE}={visible!r}",
        _allotment(),
    ]
    return (
        f"GPUs: {seen} can be used here, expected {asked} as the job asks for "
        f"({', '.join(facts)}); {_remedy(asked, seen, driver, cuda)}, or set {ALLOW_CPU}=1 to "
        "compute on the CPU"
    )


def _driver() -> str | None:
    """Version of the NVIDIA driver; None if neither nvidia-smi nor /proc tells one."""
    told = _output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    file = Path("/proc/driver/nvidia/version")
    told = told or (file.read_text() if file.is_file() else "")
    found = re.search(r"\d{3,}\.\d+(\.\d+)?", told)
    return found[0] if found else None


def _allotment() -> str:
    """What SLURM gave this job, in SLURM's own names."""
    if "SLURM_JOB_ID" not in os.environ:
        return "no SLURM job"
    names = ("SLURM_STEP_GPUS", "SLURM_JOB_GPUS", "SLURM_GPUS_ON_NODE")
    given = [f"{name}={os.environ[name]}" for name in names if name in os.environ]
    return f"SLURM job {os.environ['SLURM_JOB_ID']} with {' '.join(given) or 'no GPU named'}"


def _remedy(asked: int, seen: int, driver: str | None, cuda: str | None) -> str:
    """What to do about the likeliest cause."""
    visible = os.environ.get(VISIBLE)
    if cuda is None:
        return "install a torch that is built for CUDA"
    oldest = OLDEST_DRIVER.get(int(cuda.partition(".")[0]), 0)
    if "SLURM_JOB_ID" in os.environ and not visible:
        return "let the job ask for GPUs as this cluster wants (docs/cluster.md: `gpu_request`)"
    if driver is None:
        return (
            "run on a machine with a GPU, pass its GPUs on to the container, or have `gpus: 0` in "
            "the model's entry"
        )
    if int(driver.partition(".")[0]) < oldest:
        return f"install driver {oldest} or newer, or a torch for the driver's CUDA"
    if visible is not None and len(named(visible, listed())) < asked:
        return f"let {VISIBLE} name {asked} of the GPUs of `nvidia-smi -L`"
    if seen:
        return "ask for fewer in the model's entry (`gpus`, `training_gpus`)"
    return "see what `python -c 'import torch; torch.cuda.init()'` says here"


def main(arguments: Sequence[str]) -> None:
    """Choose GPUs, then become the command that is to use them."""
    asked, command = int(arguments[0]), list(arguments[1:])
    try:
        choose(asked)
    except ValueError as error:
        sys.exit(str(error))
    for file in _locked:
        os.set_inheritable(file, True)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
