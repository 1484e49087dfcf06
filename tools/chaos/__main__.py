"""
Disturb a small study in every way that happens, and see that each ends well.

    python -m tools.chaos results/chaos.md [--seed 0] [--short] [--only PATTERN]

A study with most rules is run once (tools/chaos/workplace.py). Then copies of it are disturbed: a
process is killed (kills.py), a file is damaged (faults.py), or the surroundings change
(surroundings.py). Each case must end with the undisturbed results or with one sentence that names
the file. The table lists them all; the exit status is 1 if one failed.

The seed draws the moments of kills and the places of damages. A short run takes some cases of each
kind, also drawn with the seed. Scripts run in forks of a Python that has imported everything
(tools/warm_python.py).
"""

import argparse
import itertools
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tools.chaos.cases import FAILED, Case, Ended, listed, summary, tried
from tools.chaos.faults import fault_cases
from tools.chaos.kills import ALONE, EVERYTHING, WHOLE, kill_cases
from tools.chaos.surroundings import DISK, MACHINES, surrounding_cases
from tools.chaos.workplace import Workplace, undisturbed
from tools.warm_python import warm_python
from traces.job import write_text
from traces.seeding import text_generator

# How many cases of a kind a short run takes. Those that run the whole study cost most.
SHORT = {EVERYTHING: 8, ALONE: 1, WHOLE: 0, MACHINES: 1, DISK: 2}
SHORT_OF_ANOTHER_KIND = 4


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.chaos", description=__doc__)
    parser.add_argument("table", type=Path, help="Markdown file to write")
    parser.add_argument("--seed", type=int, default=0, help="draws moments and places")
    parser.add_argument("--short", action="store_true", help="some cases of each kind")
    parser.add_argument("--jobs", type=int, default=2, help="cases at a time")
    parser.add_argument(
        "--undisturbed", type=Path, help="folder to make the study in, or to find it"
    )
    parser.add_argument("--only", default="", help="cases whose kind and name match this pattern")
    asked = parser.parse_args()

    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    environment = dict(os.environ)
    with (
        tempfile.TemporaryDirectory(prefix="chaos") as place,
        warm_python(environment, network=True) as warm,
    ):
        folder = Path(place).resolve()
        start = time.monotonic()
        truth = undisturbed(
            (asked.undisturbed or folder / "undisturbed").resolve(),
            {**environment, **warm},
            cores=asked.jobs,
        )
        print(f"undisturbed: {len(truth.jobs)} jobs, {time.monotonic() - start:.0f} s", flush=True)
        cases = chosen(truth, asked.seed, environment, short=asked.short)
        cases = [case for case in cases if re.search(asked.only, f"{case.kind}: {case.name}")]
        ended = run(cases, folder, asked.jobs)
    write_text(asked.table, f"{summary(ended)}\n\n{listed(ended)}\n")
    print("\n" + summary(ended))
    return int(any(one.ending == FAILED for one in ended))


def chosen(truth: Workplace, seed: int, environment: dict[str, str], *, short: bool) -> list[Case]:
    """All cases in the order of their kinds, or some of each kind."""
    cases = [
        *kill_cases(truth, seed),
        *fault_cases(truth, seed),
        *surrounding_cases(truth, seed, environment),
    ]
    cases.sort(key=lambda case: case.kind)  # stable: within a kind the order stays
    if not short:
        return cases
    some = []
    for kind, of_a_kind in itertools.groupby(cases, key=lambda case: case.kind):
        all_of_it = list(of_a_kind)
        number = min(len(all_of_it), SHORT.get(kind, SHORT_OF_ANOTHER_KIND))
        some += text_generator(seed, f"short {kind}").sample(all_of_it, number)
    return some


def run(cases: list[Case], folder: Path, jobs: int) -> list[Ended]:
    """Try all cases, some at a time, each in a folder of its own that is deleted afterwards."""

    def one(numbered: tuple[int, Case]) -> Ended:
        number, case = numbered
        place = folder / f"case{number}"
        ended = tried(case, place)
        shutil.rmtree(place, ignore_errors=True)
        print(
            f"{number} of {len(cases)}: {ended.kind}: {ended.name}: {ended.ending} "
            f"({ended.seen}; {ended.seconds:.0f} s)",
            flush=True,
        )
        return ended

    pool = ThreadPoolExecutor(jobs)
    try:
        return list(pool.map(one, enumerate(cases, start=1)))
    finally:
        # After an interrupt the cases that run still end, and clean up; no other one begins.
        pool.shutdown(cancel_futures=True)


if __name__ == "__main__":
    sys.exit(main())
