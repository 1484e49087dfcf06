"""What is too old is refused by its number, without an import."""

import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from tests.conftest import ROOT
from traces.running import versions

NEW = {"transformers": "5.23.0", "peft": "0.21.2", "torch": "2.13.0+cu130"}


@pytest.mark.parametrize(
    ("package", "found"),
    [
        ("transformers", "5.17.0"),
        ("transformers", "5.22.1"),
        ("transformers", "4.57.3"),
        ("peft", "0.19.1"),
        ("torch", "2.5.1+cu124"),
    ],
)
def test_what_is_too_old_is_named_with_what_is_needed(monkeypatch, package, found):
    monkeypatch.setattr(versions, "version", (NEW | {package: found}).get)
    with pytest.raises(ValueError) as refused:
        versions.require_versions()
    oldest = versions.OLDEST[package][0]
    assert str(refused.value).startswith(f"{package}: found version {found}, expected {oldest} or")


@pytest.mark.parametrize(
    ("package", "found"),
    [("transformers", "5.23.0.dev0"), ("transformers", "6.0.0"), ("torch", "2.6"), ("peft", "1.0")],
)
def test_newer_versions_and_builds_are_not_refused(monkeypatch, package, found):
    monkeypatch.setattr(versions, "version", (NEW | {package: found}).get)
    versions.require_versions()


def test_a_package_that_is_not_there_is_passed_over(monkeypatch):
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(versions, "version", missing)
    versions.require_versions()


def test_nothing_is_imported():
    code = (
        "import sys; from traces.running.versions import *; require_versions();"
        "sys.exit(bool({'torch', 'transformers', 'peft'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_the_document_has_the_pinned_and_the_oldest_versions():
    pins = dict(re.findall(r"^([\w-]+)==([\w.]+)", Path("constraints.txt").read_text(), re.M))
    rows = Path("docs/gpu.md").read_text(encoding="utf-8").split("## Versions")[1].split("\n## ")[0]
    for package, (oldest, _) in versions.OLDEST.items():
        assert f"| {package} | {pins[package]} | {oldest} |" in rows
