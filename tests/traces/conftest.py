"""What the tests of several rooms begin with."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path) -> Path:
    """A copy of config/ to write mistakes into."""
    return Path(shutil.copytree("config", tmp_path / "config"))
