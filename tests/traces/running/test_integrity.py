"""A file is whole, is what was written, and is found again after a move."""

import errno
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from traces.running import integrity


@pytest.fixture
def folder(tmp_path):
    """An artifact of three files, one of them in a folder of its own."""
    made = tmp_path / "adapter"
    (made / "part").mkdir(parents=True)
    (made / "config.json").write_text("{}")
    (made / "weights.safetensors").write_bytes(bytes(range(256)) * 40)
    (made / "part" / "0").write_bytes(b"shard")
    return made


# Writing ----------------------------------------------------------------------------------------


def test_a_file_that_fails_on_the_way_leaves_the_old_one_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("before")
    with pytest.raises(KeyboardInterrupt), integrity.whole(path) as partial:
        partial.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "before"
    with integrity.whole(path) as partial:
        partial.write_text("after")
    assert path.read_text() == "after"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


# Contents ---------------------------------------------------------------------------------------


def flip(file: Path, at: int) -> None:
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)


CHANGES = {
    "flipped": (lambda f: flip(f / "weights.safetensors", 5000), "weights.*: found other contents"),
    "first bit": (lambda f: flip(f / "weights.safetensors", 0), "weights.*: found other contents"),
    "cut": (lambda f: os.truncate(f / "weights.safetensors", 100), "found 100 bytes, .* 10,240"),
    "emptied": (lambda f: os.truncate(f / "part" / "0", 0), "part/0: found 0 bytes, expected 5"),
    "zeroed": (lambda f: (f / "part" / "0").write_bytes(bytes(5)), "part/0: found other contents"),
    "missing": (lambda f: (f / "config.json").unlink(), "config.json: found no such file"),
    "added": (
        lambda f: (f / "decoy.safetensors").touch(),
        "decoy.safetensors: found a file that its job did not write, .*; move it elsewhere",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_change_of_a_folder_is_named(folder, name):
    change, message = CHANGES[name]
    recorded = integrity.contents(folder)
    assert integrity.changed(folder, recorded) is None

    change(folder)

    found = integrity.changed(folder, recorded)
    assert found is not None
    assert re.search(message, found), found


def test_what_is_no_content_may_change(folder):
    recorded = integrity.contents(folder)
    for name in ("provenance.json", ".snakemake_timestamp", "README.md"):
        (folder / name).write_text("new")
    assert integrity.changed(folder, recorded) is None


def test_a_file_is_known_by_its_contents_and_not_by_its_time(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_text("one\ntwo\n")
    recorded = integrity.contents(file)
    os.utime(file, (0, 0))
    assert integrity.contents(file) == recorded
    file.write_text("one\n")
    assert integrity.changed(file, recorded) == (
        f"{file}: found 4 bytes, expected 8; delete {file} and run again: what a job wrote is not "
        "to be edited"
    )


def test_a_link_stands_for_what_it_leads_to(folder, tmp_path):
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "weights.safetensors").symlink_to(folder / "weights.safetensors")
    recorded = integrity.contents(linked)
    flip(folder / "weights.safetensors", 7)
    assert "other contents" in str(integrity.changed(linked, recorded))
    (folder / "weights.safetensors").unlink()
    assert "no such file" in str(integrity.changed(linked, recorded))


@pytest.mark.parametrize("place", [0, 3, 17, 5119, 10239])
def test_of_a_large_artifact_samples_are_compared(folder, monkeypatch, place):
    """In 640 blocks of 16 bytes every eighth is hashed, the last one among them."""
    monkeypatch.setattr(integrity, "HASHED_WHOLE", 1000)
    monkeypatch.setattr(integrity, "BLOCK", 16)
    monkeypatch.setattr(integrity, "BLOCKS", 80)
    recorded = integrity.contents(folder)
    assert recorded["weights.safetensors"]["blocks"] == 80
    assert "blocks" not in recorded["config.json"]
    assert integrity.changed(folder, recorded) is None
    # Another file of the same length differs in every block, and is noticed from any of them.
    content = bytearray((folder / "weights.safetensors").read_bytes())
    content[place:] = bytes(len(content) - place)
    (folder / "weights.safetensors").write_bytes(content)
    assert "other contents" in str(integrity.changed(folder, recorded))


def test_a_record_outlives_a_change_of_what_counts_as_large(folder, monkeypatch):
    recorded = integrity.contents(folder)
    monkeypatch.setattr(integrity, "HASHED_WHOLE", 10)
    assert integrity.changed(folder, recorded) is None


# Links ------------------------------------------------------------------------------------------


def test_a_link_within_what_is_moved_as_one_outlives_the_move(tmp_path):
    source = tmp_path / "results" / "bases" / "weights"
    source.parent.mkdir(parents=True)
    source.write_text("w")
    at = tmp_path / "results" / "models" / "mini" / "weights"
    at.parent.mkdir(parents=True)

    assert integrity.link(source, at, [tmp_path / "results"])

    shutil.move(tmp_path / "results", tmp_path / "elsewhere")
    assert (tmp_path / "elsewhere" / "models" / "mini" / "weights").read_text() == "w"


def test_results_that_are_a_link_to_another_disk_hold_links_that_work(tmp_path):
    scratch, clone = tmp_path / "scratch" / "deep" / "r", tmp_path / "clone"
    (scratch / "bases").mkdir(parents=True)
    (scratch / "models").mkdir()
    clone.mkdir()
    (clone / "results").symlink_to(scratch)
    (clone / "results" / "bases" / "weights").write_text("w")

    at = clone / "results" / "models" / "weights"
    assert integrity.link(clone / "results" / "bases" / "weights", at, [clone, clone / "results"])
    assert at.read_text() == "w"
    assert at.readlink() == Path("../bases/weights")


def test_a_link_to_elsewhere_is_absolute(tmp_path):
    source, at = tmp_path / "mine" / "weights", tmp_path / "results" / "weights"
    for file in (source, at):
        file.parent.mkdir()
    source.write_text("w")
    assert not integrity.link(source, at, [tmp_path / "results"])
    assert at.readlink() == source


# A full disk ------------------------------------------------------------------------------------


def raised(error: Exception, cause: Exception | None = None) -> Exception:
    try:
        raise error from cause
    except Exception as found:
        return found


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        RuntimeError("basic_ios::clear: iostream error"),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
        raised(ValueError("a.h5 cannot be written"), OSError(errno.ENOSPC, "")),
    ],
)
def test_a_full_disk_is_told_from_what_libraries_say(error):
    assert integrity.full_disk(error)


@pytest.mark.parametrize("error", [OSError(errno.EACCES, "denied"), ValueError("row 28"), None])
def test_another_error_is_no_full_disk(error):
    assert not integrity.full_disk(error)


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory):
    """A disk of 600 kB, half of it taken."""
    at = tmp_path_factory.mktemp("small")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(at)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("a disk can only be mounted by root")
    (at / "taken").write_bytes(bytes(300_000))
    yield at
    # Lazily: what failed to write may hold its file open still.
    subprocess.run(["umount", "--lazy", str(at)], check=True)


def test_a_full_disk_leaves_no_part_of_a_file(small_disk):
    with pytest.raises(OSError) as full, integrity.whole(small_disk / "a.txt") as partial:
        partial.write_bytes(bytes(500_000))
    assert integrity.full_disk(full.value)
    assert [file.name for file in small_disk.iterdir()] == ["taken"]


def test_weights_that_find_no_space_are_told_as_a_full_disk(small_disk):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    weights = {"a": torch.randn(400, 400)}
    for save in (save_file, torch.save):
        with pytest.raises(Exception) as full:  # noqa: PT011 - each library has its own
            save(weights, small_disk / "a")
        assert integrity.full_disk(full.value), full.value
        (small_disk / "a").unlink(missing_ok=True)
