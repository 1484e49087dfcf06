"""Run the check: part by part, written as it goes; exit 1 if a wanted figure is missed."""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tools.gpucheck.machine import Machine
    from tools.gpucheck.results import Book, Row

QUIET = {
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "PYTHONWARNINGS": "ignore",
}
"Variables that keep the libraries from printing between the rows."
QUICK_FAMILIES = ("qwen3", "gemma3")


@dataclass(frozen=True)
class Asked:
    """Hold what the command line asks for."""

    path: Path
    quick: bool
    only: frozenset[str]
    cpu: bool

    def wants(self, part: str, *names: str) -> bool:
        return not self.only or bool(self.only & {part, *names})


def main(arguments: Sequence[str] | None = None) -> int:
    """Check this machine; returns 1 if a wanted figure is missed, else 0."""
    asked = _asked(arguments)
    os.environ.update(QUIET)
    # Before torch is imported: no model may be loaded onto a GPU, or onto another one.
    os.environ["CUDA_VISIBLE_DEVICES"] = "" if asked.cpu else _first_gpu()
    from traces import job
    from traces.running import gpus, versions

    job.start(None)
    try:
        versions.require_versions()
        if not asked.cpu:
            gpus.require(1)
    except ValueError as error:
        sys.exit(f"{error}; `--cpu` (make gpucheck GPUCHECK=--cpu) runs the check at tiny shapes")

    import torch
    import transformers

    from tools.gpucheck import page
    from tools.gpucheck.machine import this_machine
    from tools.gpucheck.results import Book

    transformers.utils.logging.disable_progress_bar()
    cpu = asked.cpu or not torch.cuda.is_available()
    machine = this_machine(cpu)
    print(machine.heading, flush=True)
    if cpu:
        why = "as asked" if asked.cpu else f"{gpus.ALLOW_CPU}=1"
        print(f"On the CPU ({why}), at tiny shapes: speed is reported and not judged.", flush=True)
    facts = machine.facts | {"date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"}
    book = Book(asked.path, machine.heading, page.page, facts)
    for _ in _run(asked, machine, book):
        book.write()
    if not book.rows:
        sys.exit(f"--only: found {', '.join(sorted(asked.only))}, expected {', '.join(names())}")
    for row in book.missed:
        print("MISSED:", row.short)
    print(f"{len(book.missed)} of {len(book.judged)} wanted figures are missed: {asked.path}")
    return 1 if book.missed else 0


def _first_gpu() -> str:
    """Choose one GPU: the first of those that are visible."""
    return os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]


def _asked(arguments: Sequence[str] | None) -> Asked:
    parser = argparse.ArgumentParser(prog="python -m tools.gpucheck", description=__doc__)
    parser.add_argument("table", type=Path, help="Parquet file; JSON and Markdown lie beside it")
    parser.add_argument("--quick", action="store_true", help="two families, one model, no memory")
    parser.add_argument("--only", action="append", default=[], help="a part, a check, a family")
    parser.add_argument("--cpu", action="store_true", help="at tiny shapes, without a GPU")
    found = parser.parse_args(arguments)
    if found.table.suffix != ".parquet":
        parser.error(f"found {found.table}, expected a name that ends in .parquet")
    return Asked(found.table, found.quick, frozenset(found.only), found.cpu)


def _run(asked: Asked, machine: "Machine", book: "Book") -> Iterator[None]:
    """Run every part; yields whenever there is something new to write."""
    for part, steps in {"right": _right, "fast": _fast, "memory": _memory}.items():
        for rows in steps(asked, machine):
            book.add(rows)
            yield
        book.ended.append(part)
        yield


# Parts ------------------------------------------------------------------------------------------


def _checks() -> dict[str, Any]:
    """List the checks of part A by the name that `--only` knows."""
    from tools.gpucheck import right, room, texts, trained

    return {
        "streams": right.streams,
        "lenses": right.lenses,
        "large_vocabulary": right.large_vocabulary,
        "causal": right.causal,
        "draws": texts.draws,
        "padding": texts.padding,
        "packing": texts.packing,
        "training": trained.training,
        "halving": room.halving,
        "too_small": room.too_small,
        "waits": room.waits,
    }


def _right(asked: Asked, machine: "Machine") -> Iterator["Iterator[Row]"]:
    from tools.gpucheck import models

    size = models.Small() if machine.on_gpu else models.TINY
    with tempfile.TemporaryDirectory() as name:
        for family in QUICK_FAMILIES if asked.quick else models.FAMILIES:
            checks = {
                check: function
                for check, function in _checks().items()
                if asked.wants("right", check, family)
            }
            if checks:
                yield _of_family(checks, Path(name), family, size, machine)


def _of_family(
    checks: dict[str, Any], folder: Path, family: str, size: Any, machine: "Machine"
) -> Iterator["Row"]:
    """Make a small model and run its checks; one that fails leaves the others."""
    from tools.gpucheck import models
    from tools.gpucheck.results import failure

    try:
        case = models.case(folder, family, size, machine.on_gpu)
    except Exception as error:
        yield failure("right", family, "models", error)
        return
    for name, check in checks.items():
        try:
            yield from check(case)
        except Exception as error:
            yield failure("right", family, name, error)


def _fast(asked: Asked, machine: "Machine") -> Iterator["Iterator[Row]"]:
    from tools.gpucheck import fast, models

    # Shrunk for a CPU, the two would be the same model.
    one = asked.quick or not machine.on_gpu
    shapes = [models.real(name) for name in (fast.MODELS[:1] if one else fast.MODELS)]
    stages = {"load", "lora", *fast.STAGES}
    if not asked.wants("fast", *stages):
        return
    for shape in shapes:
        amounts = fast.Amounts() if machine.on_gpu else fast.TINY
        used = shape if machine.on_gpu else models.tiny(shape)
        yield from fast.of_shape(machine, used, amounts, lambda name: asked.wants("fast", name))


def _memory(asked: Asked, machine: "Machine") -> Iterator["Iterator[Row]"]:
    from tools.gpucheck import memory

    if asked.wants("memory") and not (asked.quick and not asked.only):
        yield from memory.of_study(machine)


def names() -> list[str]:
    """List what `--only` may name."""
    from tools.gpucheck import fast, models

    return ["right", "fast", "memory", *_checks(), "load", "lora", *fast.STAGES, *models.FAMILIES]


if __name__ == "__main__":
    sys.exit(main())
