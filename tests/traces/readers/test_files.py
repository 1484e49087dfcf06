"""Readings of one checkpoint are read by reader, with the lists that were asked for."""

from pathlib import Path
from types import SimpleNamespace

import pandas as pd

from traces.readers import files
from traces.readers.reading import Settings

PLACES = SimpleNamespace(
    layers=[3], positions=[0, 1], activations=None, random=None, rms_before_norm=None
)


def test_what_was_read_and_what_was_asked_for_stand_under_the_readers_name(monkeypatch):
    settings = Settings.model_validate(
        {
            "readings": ["difference"],
            "top_k": 5,
            "readers": {"black_box": {}, "perplexity_differencing": {}},
        }
    )
    monkeypatch.setattr(files.tables, "read", lambda path: pd.DataFrame({"file": [str(path)]}))
    monkeypatch.setattr(files.arrays, "read_differences", lambda _path: PLACES)
    found = files.ReadingFiles([Path("a/black_box.parquet")], Path("a.h5"), settings)
    assert {name: list(one["file"]) for name, one in found.read().items()} == {
        "black_box": ["a/black_box.parquet"]
    }
    planned = found.planned()
    # also of a reader whose readings lie elsewhere
    assert planned.keys() == {"black_box", "perplexity_differencing"}
    assert set(planned["black_box"]["position"]) == {0, 1}
