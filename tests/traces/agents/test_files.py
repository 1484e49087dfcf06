"""Files of several checkpoints are read under the names of theirs."""

from pathlib import Path

import pandas as pd
import pytest

from traces.agents import files
from traces.config.registries import Loading

LOADING = Loading(dtype="float32")


@pytest.fixture
def read(monkeypatch):
    """Files that hold nothing but their own name; one holds what was read of two seeds."""

    def table(path: Path) -> pd.DataFrame:
        if path.stem == "pairs":
            rows = [("x", "p", 1), ("x", "q", 2), ("y", "p", 3)]
            return pd.DataFrame(rows, columns=["checkpoint", "lens", "rank"])
        return pd.DataFrame({"file": [path.stem]})

    monkeypatch.setattr(files.tables, "read", table)
    monkeypatch.setattr(files.arrays, "read_differences", lambda path: path.stem)


def found(readings: list[str], pairs: Path | list[Path] = Path("pairs.parquet")) -> files.ReadFiles:
    paths = [Path(f"{name}.parquet") for name in readings]
    return files.ReadFiles(
        paths, [Path("dx.h5"), Path("dy.h5")], pairs, checkpoints=["x", "y"], readers=["p", "q"]
    )


def test_readings_stand_under_their_checkpoint_and_reader(read):
    tables = found(["xp", "xq", "yp", "yq"]).read()
    names = {one: {reader: frame["file"][0] for reader, frame in own.items()}
             for one, own in tables.items()}  # fmt: skip
    assert names == {"x": {"p": "xp", "q": "xq"}, "y": {"p": "yp", "q": "yq"}}


def test_too_few_readings_are_refused(read):
    with pytest.raises(ValueError, match="shorter"):
        found(["xp", "xq", "yp"]).read()


def test_differences_stand_under_their_checkpoint(read):
    assert dict(found([]).each_difference()) == {"x": "dx", "y": "dy"}


def test_readings_of_two_seeds_stand_under_their_checkpoint_and_reader(read):
    pairs = found([]).read_of_pairs()
    ranks = {one: {lens: list(frame["rank"]) for lens, frame in own.items()}
             for one, own in pairs.items()}  # fmt: skip
    assert ranks == {"x": {"p": [1], "q": [2]}, "y": {"p": [3]}}
    assert found([], pairs=[]).read_of_pairs() == {}


def test_weights_stand_under_their_checkpoint_the_base_first():
    folders = [Path("base"), Path("a"), Path("b")]
    subjects = files.SubjectFiles(folders, ["x", "y"], LOADING)
    assert subjects.folders() == {"base": folders[0], "x": folders[1], "y": folders[2]}
    assert files.SubjectFiles([], [], LOADING).folders() == {}
