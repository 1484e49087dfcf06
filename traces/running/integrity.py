"""
Keep files whole: written at once, known by their contents, linked so that they can be moved.

    whole      a file written under another name and renamed at the end
    contents   size and sha256 of every file of an artifact
    changed    what is no longer as it was recorded
    naming     the file's name in what a library says of it
    link       a link that outlives a move of the results or of the clone
    full_disk  whether an error is that of a full disk

It knows no format and no job.
"""

import errno
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# It lies in a folder beside what it vouches for.
PROVENANCE = "provenance.json"
# Up to this size an artifact is hashed whole, which takes a second. Of a larger one only samples of
# its large files are: the weights of a 32B model have 65 GB, and every job that loads them would
# read them twice.
HASHED_WHOLE = 1 << 30
# How a refusal ends: what is made again is right, whatever happened to it.
REMEDY = "delete it and run its job again"
BLOCK, BLOCKS = 1 << 18, 64


# Writing ----------------------------------------------------------------------------------------


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """
    Yield a name to write to; it becomes `path` at the end, or is removed after an error.

    A killed job leaves the old file or the new one, never half of either.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_of(path)
    try:
        yield partial
        os.replace(partial, path)
    except BaseException:
        # On a full disk, half a file is what keeps it full.
        partial.unlink(missing_ok=True)
        raise


def partial_of(path: Path) -> Path:
    """The name under which `whole` writes a file."""
    # In the same folder: a rename is atomic within one file system.
    return path.with_name(f".{path.name}.partial")


def link(source: Path, at: Path, together: Iterable[Path]) -> bool:
    """
    Make a link at `at` to `source`; return whether it is relative.

    together : folders that are moved as a whole. Within one of them a link is relative and outlives
               the move; any other link is absolute
    """
    # Real paths: results may be a link to another disk.
    source, folder = source.resolve(), at.parent.resolve()
    moved = [one.resolve() for one in together]
    relative = any(source.is_relative_to(one) and folder.is_relative_to(one) for one in moved)
    at.symlink_to(os.path.relpath(source, folder) if relative else source)
    return relative


# Contents ---------------------------------------------------------------------------------------


def contents(artifact: Path, *, blocks: int | None = None) -> dict[str, dict[str, Any]]:
    """
    Describe every file of an artifact: `bytes`, and `sha256` of all or of some `blocks` of it.

    artifact : a file, or a folder without its provenance, hidden files and notes for people
               (`.md`); links are followed
    blocks   : how many are hashed of a file that is larger than these, the last one always; by
               default all, or 64 where the artifact has more than a gigabyte

    Some blocks tell a file that was cut, emptied or replaced, but not each flipped bit.
    """
    files = _files(artifact)
    if blocks is None and sum(file.stat().st_size for file in files.values()) > HASHED_WHOLE:
        blocks = BLOCKS
    return {name: _fingerprint(file, blocks) for name, file in files.items()}


def changed(
    artifact: Path, recorded: Mapping[str, Mapping[str, Any]], *, without: Iterable[str] = ()
) -> str | None:
    """
    Say in which way an artifact differs from its recorded `contents`, and what to do; None if in
    none.

    without : names of files that are not looked at
    """
    found = _missing_or_other(artifact, recorded)
    if found:
        return f"{found}; delete {artifact} and run again: what a job wrote is not to be edited"
    added = sorted(_files(artifact).keys() - recorded.keys() - set(without))
    if added:
        where = artifact / added[0]
        return f"{where}: found a file that its job did not write, expected none; move it elsewhere"
    return None


def _missing_or_other(artifact: Path, recorded: Mapping[str, Mapping[str, Any]]) -> str | None:
    files = _files(artifact)
    for name, expected in recorded.items():
        where = artifact / name if artifact.is_dir() else artifact
        if name not in files:
            return f"{where}: found no such file, expected {expected['bytes']:,} bytes"
        size = files[name].stat().st_size
        if size != expected["bytes"]:
            return f"{where}: found {size:,} bytes, expected {expected['bytes']:,}"
        if _fingerprint(files[name], expected.get("blocks")) != expected:
            return f"{where}: found other contents than its job wrote, expected the same"
    return None


def _files(artifact: Path) -> dict[str, Path]:
    """The files of an artifact by their names in it; in a folder without notes for people."""
    if artifact.is_file():
        return {artifact.name: artifact}
    found = {file.relative_to(artifact): file for file in sorted(artifact.rglob("*"))}
    return {
        name.as_posix(): file
        for name, file in found.items()
        if file.is_file()
        and name.name != PROVENANCE
        and name.suffix != ".md"
        and not any(part.startswith(".") for part in name.parts)
    }


def _fingerprint(file: Path, blocks: int | None) -> dict[str, Any]:
    size = file.stat().st_size
    with file.open("rb") as opened:
        if blocks is None or size <= blocks * BLOCK:
            return {"bytes": size, "sha256": hashlib.file_digest(opened, "sha256").hexdigest()}
        found = hashlib.sha256()
        # Up to the end, where a shard has its index and a checksum.
        for number in range(1, blocks + 1):
            opened.seek((size - BLOCK) * number // blocks)
            found.update(opened.read(BLOCK))
    return {"bytes": size, "blocks": blocks, "sha256": found.hexdigest()}


# Reading ----------------------------------------------------------------------------------------


@contextmanager
def naming(path: Path, what: str) -> Iterator[None]:
    """Name the file in whatever a library says when it cannot read it; ValueError, one sentence."""
    try:
        yield
    except Exception as error:
        said = " ".join(str(error).split())
        raise ValueError(f"{path}: {what} cannot be read ({said}); {REMEDY}") from error


# A full disk ------------------------------------------------------------------------------------

# What libraries that do not pass the system's error on say of it: safetensors, PyTorch, HDF5.
_SAID = ("No space left", "StorageFull", "Disk quota exceeded", "basic_ios::clear", "os error 28")


def full_disk(error: BaseException | None) -> bool:
    """Check whether an error, or one that led to it, is that of a disk or quota that is full."""
    while error is not None:
        number = error.errno if isinstance(error, OSError) else None
        if number in (errno.ENOSPC, errno.EDQUOT) or any(said in str(error) for said in _SAID):
            return True
        error = error.__cause__ or error.__context__
    return False


# How a file begins that a clone without Git LFS has in another's place.
POINTER = b"version https://git-lfs"


def refuse_pointer(file: Path) -> None:
    """Raise ValueError if a file is what a clone without Git LFS has in its place."""
    # A few lines of text, which begin alike.
    with file.open("rb") as content:
        if content.read(len(POINTER)) == POINTER:
            raise ValueError(
                f"{file}: found a pointer of Git LFS, expected the file itself; `git lfs pull` in "
                "its clone fetches it"
            )
