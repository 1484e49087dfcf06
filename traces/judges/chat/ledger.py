"""
The ledger: every attempt to get an answer, what it cost, and the cap that holds for all of them.

It is a JSONL file that only grows. A line is written before a request is sent, with the most that
it may cost, and another one when its outcome is known. Whatever is killed, what was in flight
stands there without an outcome: the next job reads it as unknown, at the most it may have cost.
Several jobs write under one lock, so that together they stay below the cap.
"""

import fcntl
import json
import math
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

from traces.config.vocabularies import Outcome
from traces.running.locks import lock

# Ends a line that a killed job left half written, and marks it.
_TORN = "#torn"
RESTORE = "restore the file: without it, what was spent is not known"
# What each kind of line must have, and which of it is money.
_COUNTED: Mapping[str, tuple[set[str], str | None]] = {
    "sent": ({"run", "number", "key", "model", "most"}, "most"),
    "ended": ({"run", "number", "outcome", "why", "money"}, "money"),
    "cached": ({"run", "number", "key", "model"}, None),
}
# What floating point adds to sums of money.
_ROUNDING = 1e-9


class Used(NamedTuple):
    """What an attempt used; None where nobody said."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    money: float | None = None


NOBODY_SAID = Used()


class Ledger:
    """The ledger as one job writes it."""

    def __init__(self, file: Path, *, cap: float | None, about: Mapping[str, str]) -> None:
        """
        Open the ledger and read what others wrote.

        cap   : the most that all in it may cost, in US dollars; None for no cap
        about : what the job's lines say of it, such as its stage and organism

        Raises ValueError, naming the file and the line, if it is damaged.
        """
        self._file, self._cap, self._about = file, cap, dict(about)
        self._run = f"{time.time_ns():x}-{os.getpid()}"
        self._number = 0
        self._read_up_to = self._lines = 0
        self._open: dict[tuple[str, int], Mapping[str, Any]] = {}
        "Requests without an outcome, by run and number."
        self._spent = 0.0
        self._malformed: Counter[str] = Counter()
        file.parent.mkdir(parents=True, exist_ok=True)
        with self._locked():
            pass

    def reserve(
        self, key: str, model: str, most: float, organism: str | None = None
    ) -> int | Literal["later", "cap"]:
        """
        Write that a request is sent now.

        most    : the most that it may cost, in US dollars
        organism: whom it is for, where the job asks for several
        returns : its number, for `settle`; "later" where one of this job's requests must end first;
                  "cap" where the cap leaves no room
        """
        with self._locked() as write:
            if self._cap is not None:
                here = sum(
                    line["most"] for (run, _), line in self._open.items() if run == self._run
                )
                # What is free may be sent however much was spent.
                room = max(0.0, self._cap - self.spent + _ROUNDING)
                if most > room:
                    return "later" if here and most <= room + here else "cap"
            self._number += 1
            write({"event": "sent", **self._named(self._number), "key": key, "model": model,
                   "organism": organism, "most": most})  # fmt: skip
            return self._number

    def settle(
        self, number: int, outcome: Outcome, used: Used = NOBODY_SAID, *, why: str | None = None
    ) -> None:
        """
        Write what came of a request.

        why : what made it fail, or `malformed` for a paid answer in another form
        """
        with self._locked() as write:
            write({"event": "ended", **self._named(number), "outcome": outcome, "why": why,
                   **used._asdict()})  # fmt: skip

    def abandon(self, number: int) -> None:
        """Write that nobody will know what came of a request, unless it has an outcome."""
        with self._locked() as write:
            # Looked at with all lines read: an outcome may have been written, and its end not.
            if (self._run, number) in self._open:
                write({"event": "ended", **self._named(number), "outcome": "unknown",
                       "why": "stopped", **NOBODY_SAID._asdict()})  # fmt: skip

    def cached(self, key: str, model: str, organism: str | None = None) -> None:
        """Write that an answer was there already."""
        with self._locked(safe=False) as write:
            write({"event": "cached", **self._named(0), "key": key, "model": model,
                   "organism": organism})  # fmt: skip

    def malformed(self, key: str) -> int:
        """How many paid answers to a question were malformed, those of other jobs included."""
        with self._locked(safe=False):
            return self._malformed[key]

    @property
    def spent(self) -> float:
        """US dollars spent so far, with the most for everything that is unknown."""
        return self._spent + sum(line["most"] for line in self._open.values())

    def _named(self, number: int) -> dict[str, Any]:
        return {"at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "run": self._run,
                "number": number, **self._about}  # fmt: skip

    @contextmanager
    def _locked(self, *, safe: bool = True) -> Iterator[Any]:
        """Hold the lock, with all lines read; yield what appends one, at once on disk if `safe`."""
        beside = self._file.with_suffix(".lock")
        with beside.open("w") as held:
            lock(held.fileno(), fcntl.LOCK_EX, beside)
            # Opened under the lock: a network's file system shows what was in a file at that time.
            with self._file.open("a+b") as file:
                self._catch_up(file)

                def write(line: dict[str, Any]) -> None:
                    # What could not be read again would stop every later job.
                    assert _is_whole(line), line
                    file.write(json.dumps(line).encode() + b"\n")
                    file.flush()
                    if safe:
                        os.fsync(file.fileno())
                    self._catch_up(file)

                yield write

    def _catch_up(self, file: Any) -> None:
        file.seek(self._read_up_to)
        new = file.read()
        if new and not new.endswith(b"\n"):
            file.write(f"{_TORN}\n".encode())
            file.flush()
            new += f"{_TORN}\n".encode()
        for line in new.splitlines():
            self._lines += 1
            where = f"{self._file}, line {self._lines}"
            if (read := parsed(line, where)) is not None:
                self._count(read, where)
        self._read_up_to += len(new)

    def _count(self, line: Mapping[str, Any], where: str) -> None:
        request = (line["run"], line["number"])
        if line["event"] == "sent":
            self._open[request] = line
        elif line["event"] == "ended":
            sent = sent_before(self._open, line, where)
            self._malformed[sent["key"]] += line["why"] == "malformed"
            self._spent += cost_of(line, sent["most"])


def cost_of(ended: Mapping[str, Any], most: float) -> float:
    """What an ended attempt counts for: the most where it is not known what was billed."""
    if ended["outcome"] == "failed":
        return 0.0
    return most if ended["money"] is None else ended["money"]


def parsed(line: bytes, where: str) -> dict[str, Any] | None:
    """A line of the ledger; None for one that a killed job left half written."""
    if line.endswith(_TORN.encode()):
        return None
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not _is_whole(found):
        raise ValueError(f"{where}: found no line of a ledger, expected one JSON object; {RESTORE}")
    return found


def _is_whole(line: Mapping[str, Any]) -> bool:
    """Whether a line has what is counted of it: a sum of money that is no number allows any."""
    keys, money = _COUNTED.get(line.get("event", ""), (None, None))
    if keys is None or not keys <= line.keys():
        return False
    value = None if money is None else line[money]
    # An end may not know what was billed, a request always knows the most.
    if value is None:
        return line["event"] != "sent"
    return isinstance(value, int | float) and math.isfinite(value) and value >= 0


def sent_before(
    requests: dict[tuple[str, int], Any], line: Mapping[str, Any], where: str
) -> Mapping[str, Any]:
    """Take the request that a line ends out of those without an outcome; ValueError without one."""
    found = requests.pop((line["run"], line["number"]), None)
    if found is None:
        raise ValueError(
            f"{where}: found the end of a request that was not sent, or ended before; {RESTORE}"
        )
    return found
