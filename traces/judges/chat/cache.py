"""
Answers on disk, by the content of their questions: whole files or none, kept for good.

A question's file lies at ab/abcdef....json below the folder and holds the question beside the
answer. Malformed answers never come here. A claim keeps two jobs from asking the same at once.
"""

import asyncio
import fcntl
import hashlib
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from traces.judges.chat.questions import Answer, Question
from traces.running.integrity import naming, partial_of, whole
from traces.running.locks import lock_byte

# Seconds between two looks at a question that another job is asking.
LOOK_EVERY = 0.2


class Cache:
    """The answers in one folder, which any number of jobs may share."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        # Open for the life of the job: closing any handle of the file would drop all its locks.
        self._claims_file = folder / "claims.lock"
        self._claims = os.open(self._claims_file, os.O_RDWR | os.O_CREAT, 0o666)

    def close(self) -> None:
        """Give up all claims."""
        os.close(self._claims)

    def get(self, question: Question) -> Answer | None:
        """
        The answer that was kept; None if there is none, or if it is not of the asked form any more.

        Raises ValueError, naming the file, if it is not what was written.
        """
        file = self._file(question.key)
        if not file.is_file():
            return None
        with naming(file, "the answer"):
            kept = json.loads(file.read_text(encoding="utf-8"))
            if kept.pop("sha256") != _checksum(kept) or kept["question"] != question.content:
                raise ValueError("other contents than were written")
        if kept["reason"] is not None:
            return Answer(reason=kept["reason"])
        value = question.read(kept["text"])
        return None if value is None else Answer(value)

    def put(self, question: Question, text: str, reason: str | None = None) -> None:
        """Keep an answer, or a refusal with what was said instead."""
        kept = {"question": question.content, "text": text, "reason": reason}
        with whole(self._file(question.key)) as partial:
            text = json.dumps({**kept, "sha256": _checksum(kept)}, indent=1) + "\n"
            with partial.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                # The ledger says next that it was paid for, and does so even if the machine stops.
                os.fsync(file.fileno())

    @asynccontextmanager
    async def claimed(self, key: str) -> AsyncIterator[None]:
        """
        Wait until no other job asks the question of this key, and keep others from it.

        Raises OSError where its answer could not be written, before it is paid for.
        """
        # One byte of a file stands for each question. The system frees it when a job is killed.
        place = int(key[:12], 16)
        while not self._take(place):
            await asyncio.sleep(LOOK_EVERY)
        try:
            with self._begun(key):
                yield
        finally:
            fcntl.lockf(self._claims, fcntl.LOCK_UN, 1, place)

    @contextmanager
    def _begun(self, key: str) -> Iterator[None]:
        """Hold the answer's file under the name that it is written under."""
        partial = partial_of(self._file(key))
        partial.parent.mkdir(exist_ok=True)
        # It also makes a network's file system look again for what another machine kept meanwhile.
        partial.touch()
        try:
            yield
        finally:
            partial.unlink(missing_ok=True)

    def _take(self, place: int) -> bool:
        try:
            how = fcntl.LOCK_EX | fcntl.LOCK_NB
            lock_byte(self._claims, how, place, self._claims_file)
        except BlockingIOError:
            return False
        return True

    def _file(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}.json"


def _checksum(kept: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()
