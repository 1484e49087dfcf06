"""Locks on files, which the system takes back when a process ends, however it ends."""

import errno
import fcntl
from pathlib import Path

# How file systems say that they have no locks.
_NONE = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


def lock(descriptor: int, how: int, file: Path) -> None:
    """
    Lock a whole open file with `fcntl.flock`.

    Raises BlockingIOError where it is taken and `how` says not to wait, and ValueError, naming the
    file, on a file system without locks.
    """
    try:
        fcntl.flock(descriptor, how)
    except OSError as error:
        raise _in_words(error, file) from None


def lock_byte(descriptor: int, how: int, place: int, file: Path) -> None:
    """Lock one byte of an open file with `fcntl.lockf`; raises what `lock` does."""
    try:
        fcntl.lockf(descriptor, how, 1, place)
    except OSError as error:
        raise _in_words(error, file) from None


def _in_words(error: OSError, file: Path) -> Exception:
    """The error, in one sentence with the file where its system has no locks."""
    if error.errno not in _NONE:
        return error
    return ValueError(
        f"{file}: found no locks on this file system ({error.strerror}), expected some, since "
        "several jobs use this file; choose a folder on another"
    )
