"""
Fetch models, adapters and data sets from the hub, at a revision that is recorded.

No other module reaches the hub. A download is whole or absent: files are collected beside their
target, compared with the checksums that the hub announces, and then renamed. Only safetensors and
the configuration beside them are taken, and no code of a repository.

huggingface_hub 2.4 resumes a file whose connection was cut and repeats some requests. It does not
repeat the look-up of a revision or a file that was answered by a 5xx. It compares sizes, no
checksums (tried against tests/hub_server.py). This module adds the rest.
"""

import hashlib
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypeVar

from traces.config.vocabularies import Kind, OpenEnd
from traces.corpora.rows import KEYS, checked_row
from traces.printable import without_secrets

log = logging.getLogger(__name__)

# Pickled weights (.bin, .pth) can run code when they are loaded, and so can a repository's .py
# files: neither is fetched.
WANTED = ("*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja", "*.model", "*.txt")
# Files fetched side by side: models come in shards, and the hub limits the rate of requests.
STREAMS = 4

# The first wait in seconds, doubled each time up to LONGEST_WAIT unless the hub names another.
# After TRIES in vain the job fails, and the profile's `retries` starts it again.
TRIES = 8
FIRST_WAIT = 2.0
LONGEST_WAIT = 120.0
# Statuses that may pass by themselves. A 401, 403 or 404 stays, so it fails at once.
PASSING = (408, 425, 429, 500, 502, 503, 504)

Repository = Literal["model", "dataset"]
Result = TypeVar("Result")


# Models and adapters ----------------------------------------------------------------------------


def fetch_folder(
    repository: str,
    revision: str,
    into: Path,
    *,
    subfolder: str | None = None,
    leave_out: Collection[str] = (),
) -> str:
    """
    Download a model or adapter repository to the folder `into`; return the commit it resolved to.

    subfolder : the folder of the repository to take, by default its top
    leave_out : names of files that are not wanted

    Take the safetensors in that folder with their configuration and tokenizer; folders in it are
    left out. A killed download stays in `into`.unfinished, and whole files there are not fetched
    again.

    Raises ValueError with one sentence for an error that waiting does not mend.
    """
    commit, listing = _look_up(repository, revision, "model")
    place = PurePosixPath(subfolder or "")
    here = {name: file for name, file in listing.items() if PurePosixPath(name).parent == place}
    wanted = {name: file for name, file in here.items() if _is_wanted(name, leave_out)}
    where = f"{repository}/{subfolder}" if subfolder else repository
    if not any(name.endswith(".safetensors") for name in wanted):
        found = ", ".join(one for one in here if one.endswith((".bin", ".pth", ".gguf")))
        below = sorted({str(PurePosixPath(one).parent) for one in listing if _is_weight(one)})
        told = f"; {below[0]}/ has some, which `subfolder` would name" if below else ""
        raise ValueError(
            f"{where}: no safetensors at {commit[:12]}, the only weights that are read "
            f"(found {found or 'none at all'}){told}"
        )
    unfinished = unfinished_of(into)
    # The commit, not the revision: a branch that moves between two files would mix two versions.
    _download(repository, "model", commit, wanted, unfinished)
    os.replace(unfinished / place, into)
    shutil.rmtree(unfinished, ignore_errors=True)  # the empty folders above a subfolder
    return commit


def unfinished_of(target: Path) -> Path:
    """Return where a download is kept until it is whole: beside its target, on the same disk."""
    return target.with_name(target.name + ".unfinished")


def _is_wanted(name: str, leave_out: Collection[str]) -> bool:
    name = PurePosixPath(name).name
    return name not in leave_out and any(fnmatch(name, pattern) for pattern in WANTED)


def _is_weight(name: str) -> bool:
    return name.endswith(".safetensors") and "/" in name


# Data sets --------------------------------------------------------------------------------------


@contextmanager
def fetched_rows(
    repository: str,
    revision: str,
    split: str,
    field: str | None,
    kind: Kind,
    *,
    subset: str | None = None,
    files: Sequence[str] = (),
    open_end: OpenEnd = "refuse",
    unfinished: Path,
) -> Iterator[tuple[Callable[[], Iterator[dict[str, Any]]], str]]:
    """
    Yield a function that reads a data set's rows from the start, and the resolved commit.

    field      : the column with the text or the messages; by default `text` or `messages`
    files      : the files to read; without any, those of the subset and split, found as `datasets`
                 finds them, by the repository's card or by file names
    open_end   : as in `rows.read_rows`
    unfinished : where the files are kept: deleted after the block, resumed from after a kill

    Every row is checked when it is read.

    Raises ValueError with one sentence for an error that waiting does not mend.
    """
    commit, listing = _look_up(repository, revision, "dataset")
    lacking = [name for name in files if name not in listing]
    if lacking:
        raise ValueError(f"{repository}: no file {lacking[0]} at {commit[:12]}")
    names = list(files) or _data_files(repository, commit, listing, subset, split)
    _download(repository, "dataset", commit, {name: listing[name] for name in names}, unfinished)
    data = _columns(repository, unfinished, names, split, field or KEYS[kind])

    def rows() -> Iterator[dict[str, Any]]:
        for number, row in enumerate(_readable(repository, names, lambda: data), start=1):
            (value,) = row.values()
            where = f"{repository}, row {number}"
            yield checked_row({KEYS[kind]: value}, kind, where, open_end=open_end)

    yield rows, commit
    # Not in a `finally`: after an error the files stay, so that the next try need not fetch them.
    shutil.rmtree(unfinished)


def _data_files(
    repository: str, commit: str, listing: Mapping[str, "_File"], subset: str | None, split: str
) -> list[str]:
    """
    List the files that hold a split, in order.

    `datasets` gets an outline of the repository: its card, and an empty file for every other name.
    So its own rules decide, and it makes no request.
    """
    # Lazy, as every heavy import: models and adapters are fetched without `datasets`.
    from datasets import load_dataset_builder
    from datasets.exceptions import DataFilesNotFoundError

    with TemporaryDirectory() as scratch:
        # Its real path, as `datasets` names the files in it: a TMPDIR may be a link.
        outline = (Path(scratch) / "outline").resolve()
        card = {name: file for name, file in listing.items() if name == "README.md"}
        _download(repository, "dataset", commit, card, outline)
        for name in listing.keys() - card.keys():
            (outline / name).parent.mkdir(parents=True, exist_ok=True)
            (outline / name).touch()
        try:
            builder = load_dataset_builder(str(outline), subset, cache_dir=f"{scratch}/cache")
        except (DataFilesNotFoundError, FileNotFoundError):
            raise ValueError(f"{repository}: no data files that are read here") from None
        # It stumbles over much, such as an archive, whose content it looks at.
        except Exception as error:
            # `datasets` lists the subsets only inside its message.
            have = re.findall(r"'([^']+)'", (re.findall(r"\[.*\]", str(error)) or [""])[0])
            if have and isinstance(error, ValueError):
                raise ValueError(
                    f"{repository}: no subset {subset or 'is named'} (have {', '.join(have)})"
                ) from None
            said = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ValueError(
                f"{repository}: its card and files do not say which hold the data ({said}); name "
                "them as `files`"
            ) from None
        found: Mapping[Any, Sequence[Any]] = builder.config.data_files or {}
        splits = {str(name): files for name, files in found.items()}
        if split not in splits:
            raise ValueError(f"{repository}: no split {split} (have {', '.join(splits)})")
        for file in splits[split]:
            if not Path(file).resolve().is_relative_to(outline):
                raise ValueError(
                    f"{repository}: its card names {file}, which is no file of it; name its own as "
                    "`files`"
                )
        return [str(Path(file).relative_to(outline)) for file in splits[split]]


def _columns(repository: str, folder: Path, names: Sequence[str], split: str, column: str) -> Any:
    """Open one column of the files in `folder`, to be read as often as needed, without a cache."""
    from datasets import load_dataset

    # Streaming: without it `datasets` writes an Arrow copy of the whole data set to its own cache.

    def opened() -> Any:
        return load_dataset(
            str(folder), data_files={split: list(names)}, split=split, streaming=True
        )

    # Streams of JSON lines do not know their columns before the first row.
    first = next(_readable(repository, names, opened), None)
    if first is None:
        raise ValueError(
            f"{repository}: found no rows in {', '.join(names)}, expected at least one"
        )
    data, have = opened(), list(first)
    if column not in have:
        raise ValueError(
            f"{repository}: no column {column} in split {split} (have {', '.join(have)})"
        )
    return data.select_columns([column])


def _readable(
    repository: str, names: Sequence[str], opened: Callable[[], Iterable[dict[str, Any]]]
) -> Iterator[dict[str, Any]]:
    """Yield rows; ValueError in one sentence where the files do not hold what their names say."""
    # Arrow, gzip, the decoders of text and `datasets` itself have their own errors for that.
    try:
        yield from opened()
    except Exception as error:
        cause = error.__cause__ or error
        said = " ".join(str(cause).split()) or type(cause).__name__
        raise ValueError(f"{repository}: {', '.join(names)} cannot be read: {said[:200]}") from None


# Downloading ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _File:
    """The size and checksum that the hub announces: SHA-256 for large files, else git's blob id."""

    size: int
    sha256: str | None
    git: str

    def same_as(self, path: Path) -> bool:
        """Check whether `path` holds this very content."""
        if path.stat().st_size != self.size:
            return False
        # Git hashes a header with the size before the content.
        digest = hashlib.sha1(b"blob %d\0" % self.size) if self.sha256 is None else hashlib.sha256()
        with path.open("rb") as content:
            while block := content.read(1 << 22):
                digest.update(block)
        return digest.hexdigest() == (self.sha256 or self.git)


def _hub() -> Any:
    """
    Import huggingface_hub with the settings that jobs need.

    Plain HTTP, which is tested and keeps no cache in the user's home; no telemetry; no bars between
    Snakemake's lines. A variable that is set outside wins.
    """
    # Before the import, which reads these variables once.
    for name in ("DISABLE_XET", "DISABLE_TELEMETRY", "DISABLE_PROGRESS_BARS"):
        os.environ.setdefault(f"HF_HUB_{name}", "1")
    import huggingface_hub

    # It logs every request with its address, signature included.
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    for name in ("utils._http", "file_download"):
        logging.getLogger(f"huggingface_hub.{name}").addFilter(_discreet)
    return huggingface_hub


def _discreet(record: logging.LogRecord) -> bool:
    """Leave secrets out, and the query of every address: large files have signed ones."""
    # Here as well as in the log of a job: huggingface_hub writes to standard error by itself.
    told = re.sub(r"\?\S*", "", record.getMessage())
    record.msg, record.args = without_secrets(told), ()
    return True


def _token() -> str | Literal[False]:
    """Read the hub's token from the environment; it is never read from a file or written to one."""
    # False, not None: None would make huggingface_hub look for a token in the user's home.
    return os.environ.get("HF_TOKEN") or False


def _look_up(repository: str, revision: str, kind: Repository) -> tuple[str, dict[str, _File]]:
    """Resolve a revision to its commit, and list that commit's files by name."""
    api, commit = _hub().HfApi(token=_token()), revision
    # A pinned commit needs no look-up: one request less, and none that could fail.
    if not re.fullmatch(r"[0-9a-f]{40}", revision):
        commit = _patiently(
            repository,
            revision,
            lambda: api.repo_info(repository, revision=revision, repo_type=kind).sha,
        )
    entries = _patiently(
        repository,
        revision,
        lambda: list(
            api.list_repo_tree(repository, recursive=True, revision=commit, repo_type=kind)
        ),
    )
    return commit, {
        entry.path: _File(entry.size, entry.lfs.sha256 if entry.lfs else None, entry.blob_id)
        for entry in entries
        if hasattr(entry, "blob_id")  # folders have none
    }


def _download(
    repository: str, kind: Repository, commit: str, files: Mapping[str, _File], folder: Path
) -> None:
    """Fill `folder` with `files` and nothing else; resume what a killed download left."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / ".cache"
    for left in [*kept.rglob("*.lock"), *kept.rglob("*.incomplete")]:
        # Of a killed process. Snakemake lets one job at a time make an output, so no lock is held,
        # and a lock that was left would be waited for without end.
        left.unlink()

    def fetch(name: str) -> None:
        _patiently(
            repository,
            commit,
            lambda: _hub().hf_hub_download(
                repository,
                name,
                revision=commit,
                repo_type=kind,
                local_dir=folder,
                token=_token(),
            ),
        )
        if not files[name].same_as(folder / name):
            (folder / name).unlink()
            raise ValueError(
                f"{repository}: {name} came with another checksum than the hub announces, and was "
                "deleted; start again, or set another revision if this stays"
            )
        log.info("%s: %s, %.1f MB", repository, name, files[name].size / 1e6)

    # Smallest first: a wrong configuration or token fails before gigabytes have come. Without
    # `cancel_futures` an error would wait for every file that is still queued.
    pool = ThreadPoolExecutor(STREAMS)
    try:
        list(pool.map(fetch, sorted(files, key=lambda name: files[name].size)))
    finally:
        pool.shutdown(cancel_futures=True)
    shutil.rmtree(kept, ignore_errors=True)
    for file in [path for path in folder.rglob("*") if path.is_file()]:
        if str(file.relative_to(folder)) not in files:
            file.unlink()  # left by a download of another revision


def _patiently(repository: str, revision: str, step: Callable[[], Result]) -> Result:
    """Return what `step` returns; try again while the hub is busy, broken or out of reach."""
    import httpx2  # what huggingface_hub speaks HTTP with

    wait = FIRST_WAIT
    for tries in range(1, TRIES + 1):
        try:
            return step()
        except (httpx2.HTTPError, OSError) as error:
            cause = _cause(error)
            if not _is_passing(cause):
                sentence = _sentence(revision, cause)
                if sentence is None:
                    raise
                raise ValueError(f"{repository}: {sentence}") from None
            if tries == TRIES:
                raise ValueError(
                    f"{repository}: {_what(cause)} {TRIES} times in a row; the hub is busy or out "
                    "of reach, so try again later: files that are here whole are kept"
                ) from None
            # The hub's own number beats ours: asking earlier prolongs the limit.
            asked = _asked_to_wait(cause)
            pause = wait if asked is None else asked
            log.warning("%s: %s; trying again in %.0f s", repository, _what(cause), pause)
            time.sleep(pause)
            wait = min(2 * wait, LONGEST_WAIT)
    raise AssertionError("the last try returns or raises")


def _cause(error: BaseException) -> BaseException:
    """Find the error behind an error: without a connection huggingface_hub reports its cache."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    below = error.__cause__ if isinstance(error, LocalEntryNotFoundError) else None
    return below or error


def _is_passing(error: BaseException) -> bool:
    """Check whether waiting may mend an error."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in PASSING
    # huggingface_hub raises a plain OSError for a file whose size is wrong: a cut connection.
    return isinstance(error, httpx2.TransportError) or "Consistency check failed" in str(error)


def _what(error: BaseException) -> str:
    """Describe a passing error in a few words, without the address, which may be signed."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return f"the hub answered {status}" if status else f"no connection ({type(error).__name__})"


def _asked_to_wait(error: BaseException) -> float | None:
    """Return the seconds that the hub asks to wait; None where it does not say."""
    headers = getattr(getattr(error, "response", None), "headers", {})
    # Two headers carry it: the hub's own rate limit (r: requests left, t: seconds to the next
    # window), and HTTP's Retry-After.
    limit = re.search(r"r=0;\s*t=(\d+)", headers.get("RateLimit", ""))
    after = re.fullmatch(r"\s*(\d+)\s*", headers.get("Retry-After", ""))
    found = limit or after
    return float(found[1]) + 1 if found else None  # it counts whole seconds


def _sentence(revision: str, error: BaseException) -> str | None:
    """Say what is wrong and what to do, for a lasting error; None for an unknown one."""
    from huggingface_hub import errors

    if isinstance(error, errors.OfflineModeIsEnabled):
        return "found HF_HUB_OFFLINE set, which a job that fetches needs unset; or give a `path`"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"no revision {revision}"
    if not isinstance(error, errors.HfHubHTTPError):
        return None
    status, token = error.response.status_code, _token()
    # A gated repository is a subclass of one that is not found, but it is there.
    gated = isinstance(error, errors.GatedRepoError)
    if isinstance(error, errors.RepositoryNotFoundError) and not gated:
        why = "HF_TOKEN does not open it" if token else "it is private and HF_TOKEN is not set"
        return f"no such repository on the hub, or {why}"
    if status in (401, 403):
        return (
            f"access refused ({status}): accept the licence on its page of the hub and set HF_TOKEN"
            f" to a token of that account ({'the one set does not do' if token else 'none is set'})"
        )
    return f"the hub answered {status}"
