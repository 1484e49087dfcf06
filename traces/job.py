"""
Bridge Snakemake and Python: a rule's named fields become the arguments of a script's `main`.

    input, output, params   keyword arguments of the same names (files as `Path` or lists of them),
                            or fields of an argument that groups some of them
    log                     Python's logging, and the traceback of a job that fails
    provenance              a small JSON beside every output: rule, digest of its code, wildcards,
                            seed, commit, versions, revisions, and the checksum of its contents

An input is compared with its provenance before `main` is called. Nothing else in the repository
reads the `snakemake` object.
"""

import contextlib
import ctypes
import dataclasses
import gc
import json
import logging
import os
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from traces import __version__
from traces.printable import visible, without_secrets
from traces.running import gpus
from traces.running.closure import digest
from traces.running.integrity import PROVENANCE, changed, contents, full_disk, link, whole
from traces.running.versions import require_versions

log = logging.getLogger("traces")
Item = TypeVar("Item")

# The packages whose versions can change a number. A provenance with every installed package would
# differ between machines that compute the same.
PACKAGES = ("torch", "transformers", "peft", "zarr", "h5py", "numpy", "pandas", "snakemake")

# The largest file that is copied into the results, in bytes; weights of many gigabytes are linked.
COPIED = 1 << 30

_recorded: dict[str, Any] = {}
# The job of this process: rule, wildcards, and the folder of all results. Empty outside of a job.
_running: dict[str, Any] = {}

# What forbids libraries the hub. They read it once, as they are imported.
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}

# Importing transformers makes a million objects that live until exit. With Python's default of 700
# allocations, searching them for cycles takes an eighth of a small job's time.
gc.set_threshold(100_000, 10, 10)


def run(main: Callable[..., None], snakemake: Any, *, network: bool = False) -> None:
    """
    Call `main` with the rule's named inputs, outputs and params; log to the rule's log.

    A job is offline unless it says `network=True`: only the fetching rules do.

    `arguments` says how names become arguments.

    Three names are no arguments: they only tell Snakemake when a job must run again. The param
    `code` changes when the script, or what it imports, is edited, and `contents` when a file from
    outside of the results is. The input `library` names files that the package finds by itself.
    """
    start(snakemake.log[0] if snakemake.log else None, offline=not network)
    inputs = _paths(snakemake.input)
    outputs = _paths(snakemake.output)
    inputs.pop("library", None)
    params = dict(snakemake.params.items())
    for name in ("code", "contents"):
        params.pop(name, None)
    wildcards = dict(snakemake.wildcards.items())
    made = _flat(outputs.values())
    with reporting(snakemake.rule, made):
        # Not `gpu`, which Snakemake lowers to what there is (rules/cluster.smk).
        ready(getattr(snakemake, "resources", {}).get("asked_gpus", 0))
        pathvars = getattr(snakemake, "config", {}).get("pathvars", {})
        begin(snakemake.rule, wildcards, pathvars.get("results"))
        check(_flat(inputs.values()))
        # What vouched for the output of an earlier run must not stand beside this one's.
        for artifact in made:
            provenance_file(artifact).unlink(missing_ok=True)
        main(**arguments(main, {**inputs, **outputs, **params}))
        # Only after `main` has returned: provenance beside an output vouches for a whole output.
        facts = provenance(
            rule=snakemake.rule,
            wildcards=wildcards,
            seed=_seed(dict(snakemake.params.items())),
            inputs=_flat(inputs.values()),
        )
        stamp(made, facts)


def ready(n_gpus: int) -> None:
    """
    Stop a job at once that cannot run here, and give it its GPUs: what every job passes first.

    n_gpus : GPUs that the job asks for on this machine

    Raises ValueError for packages that are too old, and for GPUs that torch does not see.
    """
    require_versions()
    gpus.take(n_gpus)


def begin(rule: str, wildcards: Mapping[str, str], results: str | Path | None) -> None:
    """Say which job this process is, and in which folder all results lie."""
    _running.update(rule=rule, wildcards=dict(wildcards), results=None)
    if results is not None:
        _running["results"] = Path(os.path.expanduser(os.path.expandvars(results)))


@contextmanager
def reporting(rule: str, made: Iterable[Path]) -> Iterator[None]:
    """
    End the process with one line if the job fails, and write the traceback to the log.

    made : what the job writes, to name where a disk is full
    """
    try:
        yield
    except Exception as error:
        log.error("".join(traceback.format_exception(error)))
        told = f"{rule}: {error}" if isinstance(error, ValueError) else _last_line(error)
        if full_disk(error):
            where = getattr(error, "filename", None) or next(iter(made), rule)
            told = (
                f"{rule}: {where}: could not be written, since its disk or quota is full; free "
                "space or set `pathvars.results` to another disk, then run again"
            )
        sys.exit(visible(without_secrets(told)))


def arguments(main: Callable[..., Any], named: Mapping[str, Any]) -> dict[str, Any]:
    """
    Make the arguments of `main` from what a rule names.

    named : files and params by their names in the rule

    An argument annotated with a section of the configuration (a pydantic model), or with a list or
    dict of them, comes as such: a rule hands over keys and values, or JSON that holds them, which
    are validated anew. An argument annotated with a dataclass holds what belongs together, such as
    the files of a model and how it is loaded: its fields are names of the rule.
    """
    kinds = _kinds(main)
    found = dict(named)
    for name, kind in kinds.items():
        if dataclasses.is_dataclass(kind):
            # Flat in the rule: Snakemake must see every file and setting by itself to know what
            # has changed.
            fields = [field.name for field in dataclasses.fields(kind)]
            own = {field: found.pop(field) for field in fields}
            found[name] = kind(**arguments(kind, own))  # type: ignore[operator]
    return {name: _typed(kinds.get(name), value) for name, value in found.items()}


def _kinds(function: Any) -> dict[str, Any]:
    """The annotations of a function's arguments, or of a dataclass' fields."""
    return {name: kind for name, kind in get_type_hints(function).items() if name != "return"}


def _typed(kind: Any, value: Any) -> Any:
    """A param as its annotation says, where that names sections of the configuration."""
    if not any(hasattr(one, "model_validate") for one in (kind, *get_args(kind))):
        return value
    # Lazy: jobs without a section need no pydantic.
    from pydantic import TypeAdapter

    of_json = isinstance(value, str)
    adapter = TypeAdapter(kind)
    return adapter.validate_json(value) if of_json else adapter.validate_python(value)


def start(log_file: str | Path | None, *, offline: bool = True) -> None:
    """Send Python's logging to `log_file`, and forbid the job the hub when `offline`."""
    # Set before any import of transformers, which reads these once. Tokenizers warn at every fork
    # of a process that has used their threads.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # A job on a cluster node has no network. Without this it would wait for a time-out, or silently
    # read a newer revision than the one that was recorded.
    if offline:
        os.environ.update(OFFLINE)
    if log_file is not None:
        Path(log_file).parent.mkdir(parents=True, exist_ok=True)
        # `force`: libraries may have configured logging while they were imported.
        logging.basicConfig(
            filename=log_file,
            filemode="w",
            encoding="utf-8",
            level=logging.INFO,
            force=True,
        )
        for handler in logging.getLogger().handlers:
            handler.setFormatter(_Discreet("%(asctime)s %(name)s %(levelname)s %(message)s"))
    logging.captureWarnings(True)


class _Discreet(logging.Formatter):
    """Write no secret and no control character, whatever a library quotes."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(without_secrets(super().format(record)))


def progress(items: Iterable[Item], label: str, total: int | None = None) -> Iterator[Item]:
    """Yield `items`; show a bar on a terminal, elsewhere log a line at every tenth."""
    if total is None and hasattr(items, "__len__"):
        total = len(items)  # type: ignore[arg-type]
    if sys.stderr.isatty():
        # Only here: a job on a cluster has no terminal and saves the import.
        from tqdm import tqdm

        yield from tqdm(items, desc=label, total=total, leave=False)
        return
    tenth = max(1, (total or 0) // 10)
    for count, item in enumerate(items, start=1):
        yield item
        if total and (count % tenth == 0 or count == total):
            log.info("%s: %d of %d", label, count, total)


def loss_reporter(label: str) -> Callable[[int, int, float], None]:
    """
    Return a function to call after every training step with step (from 1), steps and loss.

    It shows a bar on a terminal; elsewhere a line at every tenth, in the log and on standard error.
    """
    bar: Any = None

    def report(step: int, n_steps: int, loss: float) -> None:
        nonlocal bar
        if sys.stderr.isatty():
            from tqdm import tqdm

            bar = bar or tqdm(total=n_steps, desc=label, unit="step")
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            bar.update(step - bar.n)
        # By crossing a tenth, not by a remainder: fewer than ten steps report each one, and a
        # resumed training reports at the same steps.
        elif step * 10 // n_steps > (step - 1) * 10 // n_steps:
            line = f"{label}: step {step} of {n_steps}, loss {loss:.3f}"
            log.info(line)
            print(line, file=sys.stderr, flush=True)

    return report


def keep_freed_memory() -> None:
    """
    Let glibc keep freed memory instead of returning it to the kernel; elsewhere do nothing.

    A training on the CPU frees and allocates the same large tensors at every step. Getting their
    pages from the kernel each time took 13 to 19 % of its CPU time.
    """
    # The numbers of M_TRIM_THRESHOLD and M_MMAP_THRESHOLD in malloc.h, which Python does not
    # export.
    trim_threshold, mmap_threshold, gigabyte = -1, -3, 1 << 30
    # macOS and musl have no such library or function: a speed-up may be absent.
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        mallopt(trim_threshold, gigabyte)
        mallopt(mmap_threshold, gigabyte)


def record(**facts: Any) -> None:
    """Add what only this job knows, such as a resolved hub revision, to its provenance."""
    _recorded.update(facts)


def provenance(
    *, rule: str, wildcards: dict[str, str], seed: Any = None, inputs: Iterable[Path] = ()
) -> dict[str, Any]:
    """
    Describe where an artifact comes from.

    It holds no time and no machine, so the same job twice gives the same text. `revisions` collects
    those of the inputs, so a figure's table knows the revision of every model and corpus below it.
    """
    revisions: dict[str, str] = {}
    for path in inputs:
        revisions |= read_provenance(path).get("revisions", {})
    recorded = dict(_recorded)
    revisions |= recorded.pop("revisions", {})
    return {
        "rule": rule,
        "code": _code(rule),
        "wildcards": wildcards,
        "seed": seed,
        "commit": _commit(),
        "versions": {"readable-traces": __version__, **_versions()},
        "revisions": dict(sorted(revisions.items())),
        **recorded,
    }


def provenance_file(artifact: Path) -> Path:
    """Return where an artifact's provenance lies: in a folder, beside a file."""
    if artifact.is_dir():
        return artifact / PROVENANCE
    return artifact.with_name(f"{artifact.name}.{PROVENANCE}")


def read_provenance(artifact: Path) -> dict[str, Any]:
    """
    Read an artifact's provenance, without its checksums; empty for what no job of ours made.

    Raises ValueError if it is no longer a JSON object.
    """
    return {name: fact for name, fact in _beside(artifact).items() if name != "contents"}


def _beside(artifact: Path) -> dict[str, Any]:
    file = provenance_file(artifact)
    if not file.is_file():
        return {}
    try:
        facts = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        facts = None
    if not isinstance(facts, dict) or not _is_provenance(facts):
        raise ValueError(
            f"{file}: found no provenance, expected the provenance of {artifact.name}; delete "
            "both and run again"
        )
    return facts


def _is_provenance(facts: Mapping[str, Any]) -> bool:
    """Whether what is read here of a provenance has the form in which it was written."""
    held, revisions = facts.get("contents", {}), facts.get("revisions", {})
    if not isinstance(held, dict) or not isinstance(revisions, dict):
        return False
    return all(
        isinstance(one, dict)
        and isinstance(one.get("bytes"), int)
        and isinstance(one.get("sha256"), str)
        and isinstance(one.get("blocks"), int | None)
        for one in held.values()
    )


def stamp(artifacts: Iterable[Path], facts: dict[str, Any]) -> None:
    """
    Write the provenance of every artifact, and let others read its weights.

    `facts` are the same for all. Each adds where among the results it lies and its contents.
    """
    for artifact in artifacts:
        where = _place(artifact)
        own = {} if where is None else {"artifact": where}
        own = {**own, **facts, "contents": contents(artifact)}
        write_text(provenance_file(artifact), json.dumps(own, indent=1) + "\n")
        # A link stands for somebody else's folder, whose modes are not ours to change.
        if artifact.is_dir() and not artifact.is_symlink():
            _share(artifact)


# What an artifact is ----------------------------------------------------------------------------


def identity(artifact: Path) -> dict[str, Any]:
    """
    Say what an artifact of this job is: where it lies among the results, its rule and wildcards.

    Formats that can hold it carry it inside. It is empty outside of a job.
    """
    where = _place(artifact)
    if where is None:
        return {}
    return {"artifact": where, "rule": _running["rule"], "wildcards": _running["wildcards"]}


def require_place(artifact: Path, known: Mapping[str, Any]) -> None:
    """
    Raise ValueError if what an artifact says of itself names another place than where it lies.

    known : `identity` as it was written, or provenance. A file outside of the results, such as a
            copy in somebody's notebook, may lie anywhere
    """
    expected, found = _place(artifact), known.get("artifact")
    if None not in (expected, found) and found != expected:
        raise ValueError(
            f"{artifact}: found {found}, made by {known.get('rule')}, expected {expected}; delete "
            "it and run again"
        )


def results_of(artifact: Path) -> Path | None:
    """Return the folder of all results, from an artifact that should lie as deep as it says."""
    where = read_provenance(artifact).get("artifact")
    return None if where is None else Path(*artifact.parts[: -len(Path(where).parts)])


def check(artifacts: Iterable[Path]) -> None:
    """
    Raise ValueError if an artifact is not what its job wrote, or lies where another one belongs.

    It is compared with the provenance beside it: a file, or a folder as a whole. What has none, or
    lies outside of the results, is the user's own. A gigabyte takes about a second.
    """
    ours = [one for one in artifacts if _running.get("results") is None or _place(one) is not None]
    # A file of a folder is vouched for by the folder's provenance.
    known = (one if provenance_file(one).is_file() else one.parent for one in ours)
    for artifact in dict.fromkeys(known):
        facts = _beside(artifact)
        require_place(artifact, facts)
        found = changed(artifact, facts["contents"]) if "contents" in facts else None
        if found:
            raise ValueError(found)


def _place(artifact: Path) -> str | None:
    """Where an artifact lies in the folder of all results; None elsewhere and outside of a job."""
    results = _running.get("results")
    if results is None or not artifact.is_relative_to(results):
        return None
    return artifact.relative_to(results).as_posix()


def link_to(source: Path, at: Path) -> None:
    """
    Let `at` stand for a file: by a link within the results, or by a copy from outside of them.

    A file of more than a gigabyte is not copied. Its link holds while the clone, or what it leads
    to, stays where it is.
    """
    results = _running.get("results")
    home = [Path.cwd(), *([results] if results else [])]
    outside = results and not source.resolve().is_relative_to(results.resolve())
    if outside and source.stat().st_size <= COPIED:
        # So the results may be moved away from the clone, and the clone with all that is in it.
        with whole(at) as partial:
            shutil.copyfile(source, partial)
    elif not link(source, at, home):
        log.info("%s: an absolute link, since %s lies outside of results and clone", at, source)


def _share(folder: Path) -> None:
    """Give weights the mode of any new file: safetensors writes them for their owner alone."""
    # The umask can only be read by setting it.
    os.umask(kept := os.umask(0))
    for file in folder.rglob("*.safetensors"):
        if not file.is_symlink():
            file.chmod(file.stat().st_mode & 0o777 | (0o666 & ~kept))


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    with whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _seed(params: dict[str, Any]) -> Any:
    """The seed a job was given: by itself, with the name of its draws, or among its settings."""
    given = (params, params.get("draws", {}), params.get("settings", {}))
    return next((section["seed"] for section in given if "seed" in section), None)


def _paths(files: Any) -> dict[str, Any]:
    return {
        name: Path(file) if isinstance(file, str) else [Path(one) for one in file]
        for name, file in files.items()
    }


def _flat(files: Iterable[Any]) -> list[Path]:
    return [path for file in files for path in (file if isinstance(file, list) else [file])]


def _last_line(error: BaseException) -> str:
    return traceback.format_exception_only(error)[-1].strip()


def _code(rule: str) -> str | None:
    """The digest of a rule's script and all it imports; None for a rule without a script."""
    script = f"scripts/{rule}.py"
    return digest(script) if Path(__file__).parents[1].joinpath(script).is_file() else None


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _commit() -> str | None:
    """Name the checkout's commit, with a `+` when tracked files differ; None outside of git."""
    # Of the code's own folder: the working directory may be another project's checkout.
    root = Path(__file__).parent.parent

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return None
