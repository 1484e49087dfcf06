"""A table is what its schema says, or it is not written."""

import json
import logging
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from tests.doubles import with_a_flipped_bit
from traces import job
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


@pytest.mark.parametrize("text", ['{"a": 1}\n{"b": ', '{"a": 1}\n\n', '{"a": 1}\nnull x\n'])
def test_a_line_that_is_not_whole_is_named(tmp_path, text):
    (tmp_path / "a.jsonl").write_text(text)
    with pytest.raises(ValueError, match="a.jsonl, row 2: found malformed JSON .*; delete it"):
        tables.read_lines(tmp_path / "a.jsonl")


def test_json_that_is_cut_is_named(tmp_path):
    (tmp_path / "strength.json").write_text('{"chosen": [{"posi')
    with pytest.raises(ValueError, match="strength.json: found malformed JSON .*; delete it"):
        tables.read_json(tmp_path / "strength.json")


# What is refused --------------------------------------------------------------------------------


def graded(**changed) -> pd.DataFrame:
    """Four lists of a checkpoint, graded."""
    columns = {"lens": "logit_lens", "reading": "difference", "layer": 2, "position": range(4)}
    columns |= {"sign": 1, "scale": 1.0, "head": "tuned", "null": "none"}
    columns["graded_on"] = "cake_bake"
    columns |= {"relevance": [0.0, 0.25, 1.0, 0.5], "n": 20, "candidates": 20}
    columns["judge"] = "distinctive_words"
    return pd.DataFrame(columns | changed)


def through_arrow(change):
    """Change a table as somebody would who keeps what the file says of itself."""

    def made(path):
        table = pq.read_table(path)
        pq.write_table(change(table), path)

    return made


def through_pandas(change):
    return lambda path: change(pd.read_parquet(path)).to_parquet(path)


def said(**changed):
    """Change what a file says of itself; None takes a key out."""

    def change(table):
        about = json.loads(table.schema.metadata[tables.ABOUT]) | changed
        about = {key: value for key, value in about.items() if value is not None}
        return table.replace_schema_metadata({tables.ABOUT: json.dumps(about)})

    return through_arrow(change)


def flipped(share):
    def made(path):
        content = bytearray(path.read_bytes())
        content[int(share * len(content))] ^= 4
        path.write_bytes(content)

    return made


def relevance(table):
    place = table.schema.get_field_index("relevance")
    return table.set_column(place, "relevance", [[0.0, 7.5, 1.0, 0.5]])


def words(table):
    place = table.schema.get_field_index("relevance")
    return table.set_column(place, "relevance", [["0.5"] * 4])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (through_arrow(lambda table: table.slice(0, 2)), "found 2 rows, expected 4"),
        (through_arrow(relevance), "column relevance, row 2: found 7.5, expected .* from 0 to 1"),
        (
            through_arrow(lambda table: table.drop_columns("relevance")),
            r"not a token_relevance table \(missing \['relevance'\], unknown \[\]\); delete it",
        ),
        (
            through_arrow(lambda table: table.append_column("grade", table["relevance"])),
            r"not a token_relevance table \(missing \[\], unknown \['grade'\]\); delete it",
        ),
        (
            through_arrow(lambda table: table.select(table.column_names[::-1])),
            "found its columns in another order than that of a table token_relevance; delete it",
        ),
        *((said(**{key: None}), "found no description of its") for key in ("schema", "identity")),
        (said(rows="4"), "found no description of its contents"),
        (said(schema="token_releVance"), "found a table token_releVance, expected one that this"),
        (through_arrow(words), "column relevance: found .*string, expected float64"),
        (through_pandas(lambda frame: frame.head(2)), "found no description of its contents"),
        (through_pandas(lambda frame: frame), "found no description of its contents"),
        (flipped(0.1), "the table cannot be read"),
        (flipped(0.999), "the table cannot be read"),
        (lambda path: os.truncate(path, 700), "the table cannot be read"),
        (lambda path: os.truncate(path, 0), "the table cannot be read"),
        (lambda path: path.write_text("lens,reading\n"), "the table cannot be read"),
    ],
)
def test_a_table_that_is_not_as_it_was_written_is_refused(tmp_path, change, message):
    path = tmp_path / "graded.parquet"
    tables.write(path, graded(), "token_relevance")
    change(path)
    with pytest.raises(ValueError, match=f"graded.parquet: {message}") as refused:
        tables.read(path)
    assert "\n" not in str(refused.value)


def test_every_flipped_bit_of_a_tables_numbers_is_found(tmp_path):
    """A page has a checksum: a flip is found, or lies where nothing is read from."""
    path = tmp_path / "graded.parquet"
    tables.write(path, graded(), "token_relevance")
    refused = 0
    for _ in with_a_flipped_bit(path):
        try:
            found = tables.read(path)
        except ValueError as error:
            assert "graded.parquet" in str(error)
            refused += 1
        else:
            assert found["relevance"].tolist() == graded()["relevance"].tolist()
    assert refused > 10


def test_a_table_knows_whose_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(job, "_running", {})
    job.begin("token_relevance", {"model": "mini", "checkpoint": "a"}, tmp_path)
    ours, theirs = tmp_path / "lenses/mini/a/g.parquet", tmp_path / "lenses/mini/b/g.parquet"
    tables.write(ours, graded(), "token_relevance")
    theirs.parent.mkdir()
    theirs.write_bytes(ours.read_bytes())
    tables.read(ours)
    with pytest.raises(ValueError, match="found lenses/mini/a/g.parquet, made by token_relevance"):
        tables.read(theirs)


def test_two_equal_tables_are_the_same_bytes(tmp_path):
    for name in ("a.parquet", "b.parquet"):
        tables.write(tmp_path / name, graded(), "token_relevance")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


# Numbers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("relevance", 7.5, "from 0 to 1"),
        ("relevance", -0.1, "from 0 to 1"),
        ("relevance", np.inf, "from 0 to 1"),
        ("n", -1, "from 0"),
        ("sign", 2, "from -1 to 1"),
        ("layer", -1, "from 0"),
        ("scale", np.inf, "a finite number"),
        ("scale", np.nan, "a finite number"),
    ],
)
def test_a_number_out_of_its_range_is_not_written(tmp_path, column, value, expected):
    frame = graded(**{column: [*graded()[column][:3], value]})
    with pytest.raises(ValueError, match=f"column {column}, row 4: found .*{expected} .1 of 4"):
        tables.write(tmp_path / "graded.parquet", frame, "token_relevance")
    assert not list(tmp_path.iterdir())


def test_a_missing_number_is_counted_and_its_row_is_kept(tmp_path, caplog):
    frame = graded(relevance=[0.5, None, np.nan, 1.0], n=[20, 0, 0, 20])
    with caplog.at_level(logging.INFO, logger="traces"):
        tables.write(tmp_path / "graded.parquet", frame, "token_relevance")
    assert "graded.parquet: no relevance in 2 of 4 rows" in caplog.text
    assert len(tables.read(tmp_path / "graded.parquet")) == 4
    told = pq.read_metadata(tmp_path / "graded.parquet").metadata[tables.ABOUT]
    assert b'"missing": {"relevance": 2}' in told


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_that_is_no_number_is_not_written(tmp_path, value):
    """Weights that are not numbers above the layer that is read made every effect NaN."""
    columns = {"layer": 2, "position": 0, "intervention": "zero", "direction": "random"}
    columns |= {"direction_id": 0, "evaluated_on": "own", "aggregation": "all", "n_tokens": 5}
    frame = pd.DataFrame(columns | {"loss": [1.0, value], "delta_loss": [0.0, value]})
    with pytest.raises(ValueError, match=r"effects.parquet: column loss, row 2: found (nan|inf)"):
        tables.write(tmp_path / "effects.parquet", frame, "effects")


def test_a_mean_over_nothing_is_missing_and_its_row_is_kept(tmp_path):
    """All texts were shorter than what an aggregation leaves out."""
    columns = {"layer": 2, "position": 0, "intervention": "zero", "direction": "random"}
    columns |= {"direction_id": 0, "evaluated_on": "own", "aggregation": "after_k"}
    frame = pd.DataFrame(columns | {"n_tokens": [5, 0], "loss": [1.0, np.nan]})
    frame["delta_loss"] = frame["loss"]
    tables.write(tmp_path / "effects.parquet", frame, "effects")
    assert tables.read(tmp_path / "effects.parquet")["loss"].isna().tolist() == [False, True]


def test_bounds_of_intervals_and_rounding_are_no_mistakes():
    assert tables._range("relevance_low") == tables._range("gap_high") == (-np.inf, np.inf)
    frame = pd.DataFrame({"relevance": [1 + 1e-12], "ceiling": [-1 - 1e-9]})
    tables._check_numbers(Path("a"), frame, "relevance")


def test_an_organisms_strength_may_be_negative_or_missing_and_a_vectors_may_not():
    frame = pd.DataFrame({"strength": [-0.1, np.nan]})
    tables._check_numbers(Path("a"), frame, "organisms")
    for row in (frame.iloc[:1], frame.iloc[1:]):
        with pytest.raises(ValueError, match="column strength, row 1"):
            tables._check_numbers(Path("a"), row, "steering")
    with pytest.raises(ValueError, match="found inf, expected a finite number"):
        tables._check_numbers(Path("a"), pd.DataFrame({"strength": [np.inf]}), "organisms")


@pytest.mark.parametrize("name", tables.SCHEMAS)
def test_a_range_is_that_of_a_number_and_a_measured_column_exists(name):
    columns = {column.removesuffix("?"): kind for column, kind in tables.SCHEMAS[name].items()}
    for column, kind in columns.items():
        if kind in ("string", "bool", "boolean"):
            assert column not in tables.MEASURED
    known = {column.removesuffix("?") for one in tables.SCHEMAS.values() for column in one}
    assert known >= tables.MEASURED
