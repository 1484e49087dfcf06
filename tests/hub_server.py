"""
A small hub on 127.0.0.1: the part of its protocol that downloads use, with faults on demand.

    python -m tests.hub_server FOLDER [--port N]     serve until stopped; says its address

The folder is laid out as the hub's own cache: `models--OWNER--NAME/refs/main` holds a commit, and
`models--OWNER--NAME/snapshots/COMMIT/` its files; data sets are `datasets--OWNER--NAME`. Weights
and data are served as the real hub does: announced with their SHA-256, then by a redirect with a
signed address to another host (`localhost` here), where the token must not follow.
"""

import argparse
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from tests.local_server import LocalServer, QuietHandler

LARGE = (".safetensors", ".parquet", ".bin", ".gz", ".zst", ".arrow")
SIGNATURE = "signature-of-the-day"
API = re.compile(r"/api/(?P<kind>models|datasets)/(?P<name>[^/]+/[^/]+)(?P<rest>/.*)?$")
FILE = re.compile(
    r"/(?P<kind>datasets/)?(?P<name>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)$"
)


@dataclass
class Fault:
    """Something that goes wrong with requests whose `METHOD /path` matches, so many times."""

    pattern: str
    times: int
    status: int | None = None
    "Answer with this status."
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    "Send so many bytes of the file, then close the connection."
    stall: bool = False
    "Instead of closing it, send nothing more until the client is gone."
    corrupt: bool = False
    "Flip a byte of the file, its length and announced checksum unchanged."


@dataclass
class Asked:
    """A request as it came in, the names of its headers in small letters."""

    method: str
    path: str
    headers: dict[str, str]
    body_bytes: int = 0
    "Bytes of the answer that were sent."


class HubServer:
    """Repositories of a folder, behind HTTP; `endpoint` is its address."""

    def __init__(self, folder: Path, port: int = 0, page: int = 1000) -> None:
        self.folder, self.page = folder, page
        self.gated: dict[str, str] = {}
        "Repository name -> the token that may read it."
        self.private: dict[str, str] = {}
        self.any_revision = False
        "Answer for every 40-digit commit, with the files of `main`."
        self.faults: list[Fault] = []
        self.requests: list[Asked] = []
        self.lock = threading.Lock()
        self.http = LocalServer(_handler(self), port)
        self.port, self.endpoint = self.http.port, self.http.endpoint

    def fail(self, pattern: str, *, times: int = 1_000_000, **what: Any) -> None:
        """Let requests that match fail, `times` in all; see `Fault`."""
        self.faults.append(Fault(pattern, times, **what))

    def asked(self, pattern: str) -> list[Asked]:
        """The requests so far whose `METHOD /path` matches."""
        return [one for one in self.requests if re.search(pattern, f"{one.method} {one.path}")]

    @contextmanager
    def running(self) -> Iterator["HubServer"]:
        with self.http.serving():
            yield self

    # What the folder holds

    def repository(self, kind: str, name: str) -> Path | None:
        folder = self.folder / f"{kind}--{name.replace('/', '--')}"
        return folder if folder.is_dir() else None

    def commit(self, repository: Path, revision: str) -> str | None:
        """The commit that a branch, a tag or a commit stands for."""
        named = repository / "refs" / revision
        if named.is_file():
            return named.read_text().strip()
        if (repository / "snapshots" / revision).is_dir():
            return revision
        return revision if self.any_revision and re.fullmatch(r"[0-9a-f]{40}", revision) else None

    def snapshot(self, repository: Path, commit: str) -> Path:
        folder = repository / "snapshots" / commit
        if not folder.is_dir():
            folder = repository / "snapshots" / str(self.commit(repository, "main"))
        return folder

    def take_fault(self, line: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and re.search(fault.pattern, line):
                    fault.times -= 1
                    return fault
        return None


def _handler(hub: HubServer) -> type[QuietHandler]:
    return type("Handler", (_Handler,), {"hub": hub})


class _Handler(QuietHandler):
    hub: HubServer

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        hub, path = self.hub, unquote(urlsplit(self.path).path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.asked = Asked(self.command, self.path, headers)
        hub.requests.append(self.asked)
        self.fault = hub.take_fault(f"{self.command} {path}")
        if self.fault and self.fault.status:
            self._json(self.fault.status, {"error": "a fault of the test"}, self.fault.headers)
        elif path.startswith("/cdn/"):
            self._stored(path.removeprefix("/cdn/"))
        elif found := API.match(path):
            self._api(hub, found["kind"], found["name"], found["rest"] or "")
        elif found := FILE.match(path):
            kind = "datasets" if found["kind"] else "models"
            self._resolve(hub, kind, found["name"], found["revision"], found["file"])
        else:
            self._refuse(404, None, "not a path of a hub")

    # The API

    def _api(self, hub: HubServer, kind: str, name: str, rest: str) -> None:
        repository = self._open(hub, kind, name)
        if repository is None:
            return
        what, _, after = rest.strip("/").partition("/")
        revision, _, below = after.partition("/")
        commit = hub.commit(repository, revision or "main")
        if commit is None:
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        elif what == "tree":
            self._tree(hub, hub.snapshot(repository, commit), below)
        elif what in ("", "revision"):
            files = [{"rfilename": one} for one in _files(hub.snapshot(repository, commit))]
            gated = "manual" if name in hub.gated else False
            about = {"id": name, "sha": commit, "private": False, "gated": gated}
            self._json(200, about | {"siblings": files, "downloads": 0, "likes": 0, "tags": []})
        else:
            self._refuse(404, None, f"{what} is not spoken here")

    def _tree(self, hub: HubServer, snapshot: Path, below: str) -> None:
        """A page of the listing; the link to the next one is in the header."""
        files = [one for one in _files(snapshot) if one.startswith(below)]
        found = re.search(r"cursor=(\d+)", self.path)
        start = int(found[1]) if found else 0
        entries = [_entry(snapshot, one) for one in files[start : start + hub.page]]
        more = start + hub.page < len(files)
        address = (
            f"{hub.endpoint}{urlsplit(self.path).path}?recursive=true&cursor={start + hub.page}"
        )
        self._json(200, entries, {"Link": f'<{address}>; rel="next"'} if more else {})

    # Files

    def _resolve(self, hub: HubServer, kind: str, name: str, revision: str, file: str) -> None:
        repository = self._open(hub, kind, name, gate=True)
        if repository is None:
            return
        commit = hub.commit(repository, revision)
        if commit is None:
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return
        path = hub.snapshot(repository, commit) / file
        if not path.is_file():
            self._refuse(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": commit})
            return
        entry = _entry(hub.snapshot(repository, commit), file)
        common = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if "lfs" not in entry:
            self._send(path, common | {"ETag": f'"{entry["oid"]}"'})
            return
        stored = quote(str(path.relative_to(hub.folder)))
        linked = {
            "X-Linked-Etag": f'"{entry["lfs"]["oid"]}"',
            "X-Linked-Size": str(entry["size"]),
            "Location": f"http://localhost:{hub.port}/cdn/{stored}?Signature={SIGNATURE}",
        }
        self._json(302, {}, common | linked)

    def _stored(self, name: str) -> None:
        """A large file where its signed address points to."""
        if f"Signature={SIGNATURE}" not in self.path:
            self._refuse(403, None, "not signed")
        else:
            self._send(self.hub.folder / name, {"Accept-Ranges": "bytes"})

    def _send(self, path: Path, headers: dict[str, str]) -> None:
        content = path.read_bytes()
        if self.fault and self.fault.corrupt:
            middle = len(content) // 2
            content = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        status, size = 200, len(content)
        if found := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            first, last = int(found[1]), min(int(found[2] or size - 1), size - 1)
            status, content = 206, content[first : last + 1]
            headers = headers | {"Content-Range": f"bytes {first}-{last}/{size}"}
        if self.fault and self.fault.cut is not None:
            self.start(status, headers, len(content))
            self.wfile.write(content[: self.fault.cut])
            self.asked.body_bytes = len(content[: self.fault.cut])
            self.wfile.flush()
            self.close_connection = True
            if self.fault.stall:
                self.rfile.read(1)
            self.connection.shutdown(2)
        else:
            self._body(status, content, headers)

    # Who may

    def _open(self, hub: HubServer, kind: str, name: str, gate: bool = False) -> Path | None:
        """The repository, or the answer that a real hub gives those who may not read it."""
        repository = hub.repository(kind, name)
        given = self.headers.get("Authorization", "").removeprefix("Bearer ")
        hidden = repository is None or hub.private.get(name, given) != given
        if hidden:
            # to a stranger a missing repository and a private one look alike
            self._refuse(404 if given else 401, "RepoNotFound", "Repository not found")
            return None
        if gate and hub.gated.get(name, given) != given:
            message = f"Access to model {name} is restricted."
            self._refuse(403 if given else 401, "GatedRepo", message)
            return None
        return repository

    def _refuse(
        self, status: int, code: str | None, message: str, headers: dict[str, str] | None = None
    ) -> None:
        named = {"X-Error-Code": code} if code else {}
        self._json(
            status, {"error": message}, {"X-Error-Message": message, **named, **(headers or {})}
        )

    def _json(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        text = json.dumps(content).encode()
        self._body(status, text, {"Content-Type": "application/json", **(headers or {})})

    def _body(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.start(status, headers, len(content))
        if self.command != "HEAD":
            self.wfile.write(content)
            self.asked.body_bytes = len(content)


def _files(snapshot: Path) -> list[str]:
    return sorted(str(one.relative_to(snapshot)) for one in snapshot.rglob("*") if one.is_file())


def _entry(snapshot: Path, file: str) -> dict[str, Any]:
    """A line of the listing: git's id of a small file, the SHA-256 of a large one."""
    path = snapshot / file
    changed = path.stat().st_mtime_ns
    size = path.stat().st_size
    entry = {"type": "file", "path": file, "size": size, "oid": _digest("sha1", path, changed)}
    if file.endswith(LARGE):
        entry["lfs"] = {"oid": _digest("sha256", path, changed), "size": size, "pointerSize": 130}
    return entry


@cache
def _digest(kind: str, path: Path, changed: int) -> str:
    content = path.read_bytes()
    git = f"blob {len(content)}\0".encode() if kind == "sha1" else b""
    return hashlib.new(kind, git + content).hexdigest()


def add_repository(
    folder: Path, kind: str, name: str, files: dict[str, bytes | str], branch: str = "main"
) -> str:
    """Write a commit of a repository into a hub's folder and let `branch` stand for it."""
    contents = {one: c.encode() if isinstance(c, str) else c for one, c in files.items()}
    together = hashlib.sha1(name.encode())
    for one, content in sorted(contents.items()):
        together.update(one.encode() + b"\0" + content)
    commit = together.hexdigest()
    repository = folder / f"{kind}--{name.replace('/', '--')}"
    for one, content in contents.items():
        path = repository / "snapshots" / commit / one
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (repository / "refs").mkdir(exist_ok=True)
    (repository / "refs" / branch).write_text(commit)
    return commit


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve a folder of repositories as a hub.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    hub = HubServer(options.folder, options.port)
    hub.any_revision = True
    print(hub.endpoint, flush=True)
    hub.http.serve_forever()


if __name__ == "__main__":
    main()
