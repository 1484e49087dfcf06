"""A digest follows what stands in a file, whatever its time, and is worked out once."""

import json
import os
import time
from pathlib import Path

import pytest

from traces.running import digests
from traces.running.digests import Digests


@pytest.fixture
def kept(tmp_path) -> Path:
    return tmp_path / "folder" / "contents.json"


@pytest.fixture
def rows(tmp_path) -> Path:
    file = tmp_path / "rows.jsonl"
    file.write_text("one")
    return file


@pytest.fixture
def later(monkeypatch):
    """A clock by which every file has lain there for long."""
    now = time.time()
    monkeypatch.setattr(digests.time, "time", lambda: now + 60)


def of(kept: Path, *files: Path) -> str:
    """The digest that another run finds."""
    return Digests(kept, writes=True).of(files)


def with_old_time(file: Path, text: str) -> None:
    stat = file.stat()
    file.write_text(text)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_an_edit_of_equal_size_with_the_old_time_is_seen(kept, rows, later):
    before = of(kept, rows)
    with_old_time(rows, "two")
    assert of(kept, rows) != before
    with_old_time(rows, "one")
    assert of(kept, rows) == before


def test_a_touched_or_copied_file_is_the_same(kept, rows, later, tmp_path):
    before = of(kept, rows)
    os.utime(rows, (1, 1))
    assert of(kept, rows) == before
    copy = tmp_path / "other.jsonl"
    copy.write_bytes(rows.read_bytes())
    assert of(kept, copy) == before


def test_a_link_that_leads_elsewhere_is_seen(kept, rows, later, tmp_path):
    link, other = tmp_path / "link", tmp_path / "other"
    other.write_text("two")
    link.symlink_to(rows)
    before = of(kept, link)
    link.unlink()
    link.symlink_to(other)
    assert of(kept, link) != before


def test_the_order_and_a_missing_file_count(kept, rows, tmp_path):
    none = tmp_path / "none"
    found = {of(kept, rows), of(kept, rows, none), of(kept, none, rows), of(kept, none)}
    assert len(found) == 4


def test_what_has_not_changed_is_not_read_again(kept, rows, later, monkeypatch):
    before = of(kept, rows)
    monkeypatch.setattr(digests, "contents", None)
    assert of(kept, rows) == before


def test_a_file_of_this_moment_is_read_again(kept, rows):
    """Within a tick of the clock it could change once more."""
    of(kept, rows)
    assert not kept.exists()


def test_only_one_process_of_a_run_writes(kept, rows, later):
    Digests(kept, writes=False).of([rows])
    assert not kept.parent.exists()


def test_a_damaged_memory_is_worked_out_anew(kept, rows, later):
    before = of(kept, rows)
    for text in ("{", "[1]"):
        kept.write_text(text)
        assert of(kept, rows) == before
    assert json.loads(kept.read_text())


def test_of_a_huge_file_samples_are_read(kept, rows, later, tmp_path, monkeypatch):
    monkeypatch.setattr(digests, "HASHED_WHOLE", 1 << 20)
    seen = []
    whole = digests.contents

    def noting(path, blocks=None):
        seen.append((path.name, blocks))
        return whole(path, blocks=blocks)

    monkeypatch.setattr(digests, "contents", noting)
    huge = tmp_path / "huge"
    huge.write_bytes(bytes(1 << 21))
    before = of(kept, huge, rows)
    assert dict(seen) == {"huge": digests.BLOCKS, "rows.jsonl": digests.BLOCKS}
    huge.write_bytes(bytes((1 << 21) - 1) + b"x")
    assert of(kept, huge, rows) != before
