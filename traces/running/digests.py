"""
Tell files from outside of the results by their contents.

Snakemake compares the content of an input only where the file is newer than the output. A file that
was edited with its time kept, or replaced by an older one, would pass. So a digest of the contents
is a param beside such inputs, worked out once and kept while the file stays as it is.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from traces.running.integrity import BLOCKS, HASHED_WHOLE, contents

# Some file systems count time in steps of this many seconds: within one, a file could change once
# more and look the same.
SETTLED = 2.0


class Digests:
    """
    Compute digests of files, and remember those of files that have not changed since.

    kept   : the file that remembers them between runs
    writes : whether what is found is added to it. Of several processes of a run, one does
    """

    def __init__(self, kept: Path, *, writes: bool) -> None:
        self._kept, self._writes = kept, writes
        self._known = _remembered(kept)
        self._learned = False
        self._of_file: dict[tuple[str, bool], str | None] = {}

    def of(self, files: Iterable[str | Path]) -> str:
        """
        Digest the contents of files, in their order.

        Together above a gigabyte, only samples of the large ones are read, as for artifacts
        (traces/running/integrity.py). A file that is not there has a digest of its own: whoever
        reads it reports that.
        """
        paths = [os.path.abspath(file) for file in files]
        sampled = sum(os.path.getsize(one) for one in paths if os.path.isfile(one)) > HASHED_WHOLE
        found = [self._content(path, sampled) for path in paths]
        if self._writes and self._learned:
            self._keep()
        return hashlib.sha256(json.dumps(found).encode()).hexdigest()[:16]

    def _keep(self) -> None:
        self._kept.parent.mkdir(exist_ok=True)
        # A name of its own: two runs in one checkout may write at once, and the last one counts.
        partial = self._kept.with_name(f".{self._kept.name}.{os.getpid()}")
        partial.write_text(json.dumps(self._known), encoding="utf-8")
        os.replace(partial, self._kept)
        self._learned = False

    def _content(self, path: str, sampled: bool) -> str | None:
        # Once a run: thousands of jobs read the same file of prompts.
        if (path, sampled) not in self._of_file:
            self._of_file[path, sampled] = self._looked_up(path, sampled)
        return self._of_file[path, sampled]

    def _looked_up(self, path: str, sampled: bool) -> str | None:
        if not os.path.isfile(path):
            return None
        stat = os.stat(path)
        # The time of the last change of any kind, which no tool sets back; and the inode, since a
        # link may lead elsewhere.
        state = [stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
        name = f"{path} {'sampled' if sampled else 'whole'}"
        before = self._known.get(name, {})
        if before.get("state") == state:
            return before["digest"]
        (found,) = contents(Path(path), blocks=BLOCKS if sampled else None).values()
        if time.time() - stat.st_ctime > SETTLED:
            self._known[name] = {"state": state, "digest": found["sha256"]}
            self._learned = True
        return found["sha256"]


def _remembered(kept: Path) -> dict[str, dict[str, Any]]:
    """Read what was remembered; nothing where the file is not there, or is no longer whole."""
    if not kept.is_file():
        return {}
    try:
        found = json.loads(kept.read_text(encoding="utf-8"))
    except ValueError:
        return {}  # worked out once more
    return found if isinstance(found, dict) else {}
