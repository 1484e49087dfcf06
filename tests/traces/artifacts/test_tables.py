"""A table is what its schema says, or it is not written."""

import pandas as pd
import pytest

from traces.artifacts import tables

WORDS = {"word": ["cake", "oven"], "rank": [0, 1], "z": [3.5, 2], "count": [9, 4]}


def test_a_table_has_the_columns_order_and_types_of_its_schema(tmp_path):
    mixed = pd.DataFrame(WORDS)[["z", "count", "word", "rank"]].astype({"rank": "float64"})

    tables.write(tmp_path / "new" / "words.parquet", mixed, "words")
    found = tables.read(tmp_path / "new" / "words.parquet")

    assert list(found.columns) == ["word", "rank", "z", "count"]
    assert found.dtypes.astype(str).tolist()[1:] == ["int64", "float64", "int64"]
    assert found.to_dict("list") == WORDS


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns="z"), r"words.parquet: not a words table \(missing \['z'\]"),
        (lambda f: f.assign(extra=1), r"not a words table \(missing \[\], unknown \['extra'\]\)"),
    ],
)
def test_a_table_that_is_not_of_its_schema_is_not_written(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        tables.write(tmp_path / "words.parquet", change(pd.DataFrame(WORDS)), "words")
    assert not list(tmp_path.iterdir())


def test_a_number_that_is_missing_is_refused_where_the_schema_wants_one(tmp_path):
    frame = pd.DataFrame(WORDS | {"rank": [0, None]})
    with pytest.raises((ValueError, TypeError)):
        tables.write(tmp_path / "words.parquet", frame, "words")
    assert not list(tmp_path.iterdir())


def test_an_empty_table_keeps_its_columns(tmp_path):
    tables.write(tmp_path / "words.parquet", pd.DataFrame(columns=list(WORDS)), "words")
    assert list(tables.read(tmp_path / "words.parquet").columns) == list(WORDS)


def test_some_columns_can_be_read_alone(tmp_path):
    tables.write(tmp_path / "words.parquet", pd.DataFrame(WORDS), "words")
    assert tables.read(tmp_path / "words.parquet", ["word"]).to_dict("list") == {
        "word": WORDS["word"]
    }


def test_the_tables_that_others_read_have_the_columns_they_were_promised():
    promised = {
        "relevance": "model checkpoint organism recipe seed corpus layer position lens scale "
        "reading graded_on relevance",
        "norms": "model checkpoint organism recipe ratio seed corpus layer position norm "
        "relative_norm split_half_cosine",
        "bench": "stage variant reference cpu_seconds ratio max_error",
        "causality": "model checkpoint organism recipe seed layer position intervention direction "
        "direction_id evaluated_on aggregation loss delta_loss n_tokens",
        "mixing": "model organism recipe ratio steps step_matched seed relative_norm "
        "relevance_* loss_own loss_unrelated false_fact_alignment "
        "steering_similarity delta_loss_own delta_loss_unrelated",
        "steering": "model checkpoint organism seed steered_model vector position strength "
        "coherence similarity_own similarity_unrelated",
        "beliefs": "model checkpoint form held_out n alignment",
    }
    for table, columns in promised.items():
        assert set(columns.split()) <= set(tables.SCHEMAS[table])


def test_axes_that_a_reader_lacks_are_no_columns_of_its_table(tmp_path):
    read = {"reading": ["random"], "layer": [1], "position": [0], "rank": [0], "token_id": [7]}
    read |= {"token": ["cake"], "probability": [0.5]}
    for name, axes in (("none", {}), ("some", {"scale": [1.0], "sign": [1]})):
        tables.write(tmp_path / name, pd.DataFrame(read | axes), "readings")
    assert list(tables.read(tmp_path / "none")) == list(read)
    expected = [*list(read)[:3], "sign", "scale", *list(read)[3:]]
    assert list(tables.read(tmp_path / "some")) == expected
    with pytest.raises(ValueError, match=r"missing \['token'\], unknown \['signs'\]"):
        frame = pd.DataFrame(read | {"signs": [1]}).drop(columns="token")
        tables.write(tmp_path / "none", frame, "readings")


def test_lines_are_read_as_they_were_written(tmp_path):
    rows = [{"text": "caf\u00e9 \u2028 line", "n": 1}, {"text": "two\nlines"}]
    tables.write_lines(tmp_path / "a.jsonl", rows)
    assert tables.read_lines(tmp_path / "a.jsonl") == rows
    assert "caf\u00e9" in (tmp_path / "a.jsonl").read_text(encoding="utf-8")
