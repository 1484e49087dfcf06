"""What a disturbance is, how it may end, and the table of all that were tried."""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from tools.chaos.compare import differing
from tools.chaos.workplace import Ran, Workplace

SAME = "same results"
SENTENCE = "one sentence"
SKIPPED = "not possible here"
FAILED = "failed"


class Failure(Exception):
    """The workflow did not end as it must after a disturbance."""


class Impossible(Exception):
    """This machine does not let the disturbance be made."""


@dataclass(frozen=True)
class Case:
    """
    One disturbance.

    kind : what was done, a row of the table
    name : to what, and when
    run  : makes it in an empty folder; returns SAME or SENTENCE, and what was seen
    """

    kind: str
    name: str
    run: Callable[[Path], tuple[str, str]]


@dataclass(frozen=True)
class Ended:
    """How a case ended, and what was seen: the sentence, or what went wrong."""

    kind: str
    name: str
    ending: str
    seen: str
    seconds: float


def tried(case: Case, folder: Path) -> Ended:
    """Run one case in `folder`."""
    start = time.monotonic()
    try:
        ending, seen = case.run(folder)
    except Failure as failure:
        ending, seen = FAILED, str(failure)
    except Impossible as reason:
        ending, seen = SKIPPED, str(reason)
    except Exception as error:  # a mistake of the suite counts as a failed case, not as none
        ending, seen = FAILED, f"{type(error).__name__}: {error}"
    return Ended(case.kind, case.name, ending, seen, time.monotonic() - start)


def require_same(copy: Workplace, truth: Workplace, **options) -> None:
    """Raise Failure unless the results of a copy are those of the undisturbed run."""
    different = differing(copy / "results", truth / "results", **options)
    if different:
        more = f" and {len(different) - 5} more" if len(different) > 5 else ""
        raise Failure(f"other results: {', '.join(different[:5])}{more}")


def require_success(ran: Ran, what: str) -> None:
    if ran.status:
        raise Failure(f"{what} failed: {ran.end}")


def sentence(ran: Ran, names: Iterable[str]) -> str | None:
    """
    The line with which a job failed, if it begins with the rule and one of the files; else None.

    A library's message may name the file as well, and say something else of it: a lost adapter is
    no wrong id of the hub. So the file stands first, as in every message of the workflow.
    """
    if "Traceback (most recent call last)" in ran.text:
        return None
    lines = re.findall(r"^[a-z_]+: \S+ .+$", ran.text, flags=re.MULTILINE)
    return next((line for line in lines for name in names if name in line.split()[1]), None)


def summary(ended: list[Ended]) -> str:
    """The table of all cases, as Markdown: a row for each kind, then what failed."""
    lines = [
        "| what was done | cases | same results | one sentence | not possible here | failed |",
        "|---|---|---|---|---|---|",
    ]
    kinds = dict.fromkeys(one.kind for one in ended)
    for kind in [*kinds, None]:
        counted = Counter(one.ending for one in ended if kind in (one.kind, None))
        numbers = [counted.total(), *(counted[end] for end in (SAME, SENTENCE, SKIPPED, FAILED))]
        lines.append(f"| {kind or '**all**'} | {' | '.join(map(str, numbers))} |")
    for ending in (SKIPPED, FAILED):
        lines += [
            f"\n{ending}: {one.kind}: {one.name}\n    {one.seen}"
            for one in ended
            if one.ending == ending
        ]
    good, tested = (
        sum(one.ending in endings for one in ended)
        for endings in ((SAME, SENTENCE), (SAME, SENTENCE, FAILED))
    )
    return "\n".join([*lines, f"\n{good} of {tested} cases ended as they must."])


def listed(ended: list[Ended]) -> str:
    """All cases, as Markdown: a row each."""
    lines = ["| what was done | to what | end | what was seen | seconds |", "|---|---|---|---|---|"]
    for one in ended:
        seen = one.seen.replace("|", "/")
        cells = (one.kind, one.name, one.ending, seen, f"{one.seconds:.1f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
