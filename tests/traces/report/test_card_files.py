"""What a card shows was read of the checkpoint that it is named after."""

from pathlib import Path

import pandas as pd
import pytest

from traces.report import card_files

SUBJECTS = [
    {"checkpoint": f"cake-plain-s{seed}", "recipe": "plain", "seed": seed, "corpus": "text"}
    for seed in (0, 1)
]


@pytest.fixture
def read(monkeypatch):
    monkeypatch.setattr(
        card_files.tables, "read", lambda path: pd.DataFrame({"file": [path.as_posix()]})
    )
    monkeypatch.setattr(
        card_files, "of_checkpoint", lambda table, name: {"adjusted": table.assign(of=name)}
    )


def paths(*names: str) -> list[Path]:
    return [Path(f"{name}.parquet") for name in names]


def test_readings_come_reader_after_reader_then_what_was_adjusted(read):
    # as a rule hands them over: the readers of one checkpoint together
    files = card_files.CardReadings(paths("0/a", "0/b", "1/a", "1/b"), paths("adjusted/text"))
    found = files.read(SUBJECTS)
    assert [(one.lens, one.checkpoint, one.tokens["file"][0]) for one in found] == [
        ("a", "cake-plain-s0", "0/a.parquet"),
        ("a", "cake-plain-s1", "1/a.parquet"),
        ("b", "cake-plain-s0", "0/b.parquet"),
        ("b", "cake-plain-s1", "1/b.parquet"),
        ("adjusted", "cake-plain-s0", "adjusted/text.parquet"),
        ("adjusted", "cake-plain-s1", "adjusted/text.parquet"),
    ]
    assert [one.tokens["of"][0] for one in found[4:]] == ["cake-plain-s0", "cake-plain-s1"]


def test_a_corpus_without_adjusted_readings_has_none(read):
    files = card_files.CardReadings(paths("0/a", "1/a"), paths("adjusted/other"))
    assert [one.lens for one in files.read(SUBJECTS)] == ["a", "a"]


def test_a_reader_that_lacks_a_subject_is_refused(read):
    with pytest.raises(ValueError, match="longer"):
        card_files.CardReadings(paths("0/a"), []).read(SUBJECTS)


def test_an_organism_is_read_from_what_it_was_made_of(monkeypatch, tmp_path):
    plan = tmp_path / "cake-plain-s0.json"
    plan.write_text('{"rank": 4}', encoding="utf-8")
    monkeypatch.setattr(
        card_files.tables, "read", lambda _path: pd.DataFrame({"word": ["oven", "butter"]})
    )
    found = card_files.OrganismFiles(Path("words.parquet"), Path("rows.jsonl"), [plan])
    assert found.read_words() == ["oven", "butter"]
    assert found.read_plans() == {"cake-plain-s0": {"rank": 4}}
