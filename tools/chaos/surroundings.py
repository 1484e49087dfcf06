"""
Another machine or another habit: limits, languages, time zones, places, a full disk, two runs.

Nothing is damaged here, so all but a full disk and the second of two runs must end with the same
results.
"""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tools.chaos.cases import (
    SAME,
    SENTENCE,
    Case,
    Failure,
    Impossible,
    require_same,
    require_success,
    sentence,
)
from tools.chaos.faults import DIFFERENCES, STORE
from tools.chaos.kills import stopped_at
from tools.chaos.workplace import CAKE, Workplace
from tools.warm_python import warm_python
from traces.seeding import text_generator

MACHINES = "the whole study under other conditions"
PLACES = "results or the clone moved, or a link"
DISK = "a full disk, then space again"
TWICE = "two runs at once in one folder"

# What `ulimit` and `umask` change holds for Snakemake and all of its jobs.
LIMITED = ("bash", "-c", 'umask 077; ulimit -n 128; exec "$@"', "bash")

# A language whose small and capital i are other letters, and one with a decimal comma.
LANGUAGES = ("tr_TR", "de_DE")


def surrounding_cases(
    truth: Workplace, seed: int, environment: Mapping[str, str]
) -> Iterator[Case]:
    """Every condition; `environment` is that of a Python to be started."""

    def under(name: str, *, place: str = "copy", within: tuple[str, ...] = (), **variables: str):
        changed = {**environment, **variables}
        return Case(MACHINES, name, partial(all_again, truth, changed, within, place))

    yield under(
        "umask 077, 128 open files, another hash seed, a time zone 14 hours ahead",
        within=LIMITED,
        TZ="Pacific/Kiritimati",
        PYTHONHASHSEED="4711",
    )
    yield under("LC_ALL=C without UTF-8", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    yield under("LC_ALL=POSIX, a space and an accent in the path", place="un été", LC_ALL="POSIX")
    for language in LANGUAGES:
        spoken = partial(all_again_in, truth, environment, language)
        yield Case(MACHINES, f"LC_ALL={language}.UTF-8", spoken)
    for place in (moved_clone, moved_results, linked_results):
        yield Case(PLACES, (place.__doc__ or "").rstrip("."), partial(place, truth))
    for output in (CAKE, STORE, DIFFERENCES, "results/models/mini", "results/tables/norms.parquet"):
        yield Case(DISK, output, partial(full_disk, truth, output, seed))
    yield Case(TWICE, DIFFERENCES, partial(two_at_once, truth))


def all_again(
    truth: Workplace,
    environment: Mapping[str, str],
    within: tuple[str, ...],
    place: str,
    folder: Path,
) -> tuple[str, str]:
    """Run all of the study from nothing under other conditions."""
    copy = truth.afresh(folder / place)
    with warm_python(environment, under=within, network=True) as variables:
        copy.variables = {**environment, **variables}
        ran = copy.call(cores=2)
    require_success(ran, "the run")
    require_same(copy, truth)
    return SAME, "all of the study"


def all_again_in(
    truth: Workplace, environment: Mapping[str, str], language: str, folder: Path
) -> tuple[str, str]:
    """The same in a language, which is installed for this run alone."""
    places, locale = folder / "locales", f"{language}.UTF-8"
    places.mkdir(parents=True)
    made = ["localedef", "-i", language, "-f", "UTF-8", str(places / locale)]
    try:
        subprocess.run(made, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        raise Impossible(f"localedef cannot make {locale}") from None
    spoken = {**environment, "LC_ALL": locale, "LANG": locale, "LOCPATH": str(places)}
    return all_again(truth, spoken, (), "copy", folder)


def moved_clone(truth: Workplace, folder: Path) -> tuple[str, str]:
    """The clone was moved."""
    before = truth.copy(folder / "before")
    (folder / "elsewhere").mkdir()
    before.folder.rename(folder / "elsewhere" / "after")
    after = Workplace(folder / "elsewhere" / "after", before.variables, before.study, before.jobs)
    return still_whole(after, truth)


def moved_results(truth: Workplace, folder: Path) -> tuple[str, str]:
    """The results were moved, and the study says where to."""
    copy = truth.copy(folder / "copy")
    kept = folder / "kept" / "results"
    kept.parent.mkdir()
    (copy / "results").rename(kept)
    with (copy / copy.study).open("a", encoding="utf-8") as study:
        study.write(f"pathvars: {{results: {kept}, logs: logs, benchmarks: benchmarks}}\n")
    planned = copy.call("--dry-run")
    require_success(planned, "the dry run")
    if "Nothing to be done" not in planned.text:
        raise Failure(f"jobs would run again: {planned.end}")
    store = kept / Path(STORE).relative_to("results")
    shutil.rmtree(store)
    require_success(copy.call(str(store)), "a job that loads a model")
    (copy / "results").symlink_to(kept)
    require_same(copy, truth)
    return SAME, "nothing to be done, and a job that loads a model"


def linked_results(truth: Workplace, folder: Path) -> tuple[str, str]:
    """The results were moved to another disk, and a link stands in their place."""
    copy = truth.copy(folder / "copy")
    (folder / "disk").mkdir()
    (copy / "results").rename(folder / "disk" / "results")
    (copy / "results").symlink_to(folder / "disk" / "results")
    return still_whole(copy, truth)


def still_whole(copy: Workplace, truth: Workplace) -> tuple[str, str]:
    """Nothing may want to run, and a job that loads a model must run as before."""
    planned = copy.call("--dry-run")
    require_success(planned, "the dry run")
    if "Nothing to be done" not in planned.text:
        raise Failure(f"jobs would run again: {planned.end}")
    copy.discard(copy.job(STORE))
    require_success(copy.call(STORE), "a job that loads a model")
    require_same(copy, truth)
    return SAME, "nothing to be done, and a job that loads a model"


def full_disk(truth: Workplace, output: str, seed: int, folder: Path) -> tuple[str, str]:
    """Let a job run where a few kilobytes are free; then free the rest and repeat the command."""
    copy = truth.copy(folder / "copy")
    job = copy.job(output)
    with small_disk(copy / "results") as filled:
        copy.discard(job)
        # A few pages, with which a job that writes little may end; then none.
        for free in (text_generator(seed, f"full disk {output}").randrange(1, 5) * 4096, 0):
            filled(free)
            ran = copy.call(output)
            if ran.status:
                break
            copy.discard(job)
        said = sentence(ran, ["results/"])
        if said is None or not re.search("No space left|full", said):
            raise Failure(f"no sentence says that the disk is full: {ran.end}")
        filled(None)
        require_success(copy.call("--rerun-incomplete", output), "the same command again")
        require_same(copy, truth)
    return SENTENCE, said


@contextmanager
def small_disk(results: Path) -> Iterator[Callable[[int | None], None]]:
    """
    Put a folder onto a disk of its own, for as long as the block lasts.

    Yields a function that leaves so many bytes free, or with None all that a file had filled.
    """
    content = results.with_name("content")
    results.rename(content)
    results.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "chaos", str(results)],
        capture_output=True,
        text=True,
    )
    if mounted.returncode:
        raise Impossible(f"no tmpfs can be mounted: {mounted.stderr.strip()}")
    try:
        shutil.copytree(content, results, symlinks=True, dirs_exist_ok=True)
        filler = content.with_name("filler")

        def filled(free: int | None) -> None:
            (results / filler.name).unlink(missing_ok=True)
            if free is None:
                return
            left = shutil.disk_usage(results).free - free
            with (results / filler.name).open("wb") as file:
                file.write(bytes(max(0, left)))

        yield filled
    finally:
        subprocess.run(["umount", "--lazy", str(results)], check=False)


def two_at_once(truth: Workplace, folder: Path) -> tuple[str, str]:
    """Start a second run while the first one works: it must refuse, and not disturb the first."""
    copy = truth.copy(folder / "copy")
    job = copy.job(CAKE)
    copy.discard(job)
    first, _ = stopped_at(copy, job, 0.2)
    # Else a short training could end before the other Snakemake has started.
    os.killpg(first.pid, signal.SIGSTOP)
    try:
        second = copy.call(CAKE)
    finally:
        os.killpg(first.pid, signal.SIGCONT)
    if second.status == 0 or first.wait() != 0:
        raise Failure(f"the runs ended with {first.returncode} and {second.status}: {second.end}")
    refused = re.findall(r"^.*Directory cannot be locked.*(?:\n.*)?", second.text, re.MULTILINE)
    if not refused or str(copy.folder) not in second.text:
        raise Failure(f"the second run does not say which folder is locked: {second.end}")
    require_same(copy, truth)
    return SENTENCE, " ".join(refused[0].split())
