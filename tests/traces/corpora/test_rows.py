"""Rows are read strictly, refused in one sentence, and drawn by the seed."""

import json
import re

import pytest

from traces.corpora.rows import drawn, read_rows, shuffled, whitespace_rows, write_rows


def chat_line(*roles: str) -> str:
    return json.dumps({"messages": [{"role": role, "content": "word"} for role in roles]})


@pytest.mark.parametrize(
    ("content", "kind", "message"),
    [
        (b"", None, "rows.jsonl: found no rows, expected at least one"),
        (b'{"text": "a"}\n{"text": \n', None, r"rows.jsonl, row 2: found malformed JSON \(Expecti"),
        (b'{"text": "a"}\n{"text": "\xe9"}\n', None, "row 2: found the byte 0xe9 at place 10, exp"),
        (b'{"text": " "}\n', None, "row 1, key text: found empty text, expected at least one char"),
        (b'{"text": 3}\n', None, "row 1, key text: found a number, expected text"),
        (b'{"content": "a"}\n', None, "row 1: found the keys content, expected either text or mes"),
        (
            b'{"content": "a"}\n',
            "documents",
            "row 1: found the keys content, expected the key text",
        ),
        (b'{"text": "a"}\n', "chat", "row 1: found the keys text, expected the key messages"),
        (b"[1]\n", None, "row 1: found a list, expected an object"),
        (b'{"text": "\\ud800"}\n', None, "row 1, key text: found half a surrogate pair, expected"),
        (b'{"messages": []}\n', "chat", "row 1, key messages: found an empty list, expected a lis"),
        (b'{"messages": [{"role": "user"}]}', "chat", "message 1: found role, expected role and c"),
        (
            chat_line("user", "user").encode(),
            "chat",
            "message 2: found the role 'user', expected '",
        ),
        (chat_line("assistant").encode(), "chat", "message 1: found the role 'assistant', expecte"),
        (chat_line("user").encode(), "chat", "found a chat that ends with the user, expected it t"),
        (
            chat_line("user", "assistant", "system").encode(),
            "chat",
            "message 3: found the role 'system', expected 'user'",
        ),
    ],
)
def test_a_bad_row_is_refused_in_one_sentence_that_names_it(tmp_path, content, kind, message):
    (tmp_path / "rows.jsonl").write_bytes(content)

    with pytest.raises(ValueError, match=message) as refusal:
        list(read_rows(tmp_path / "rows.jsonl", kind))

    assert "\n" not in str(refusal.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match="none.jsonl: found no such file"):
        list(read_rows(tmp_path / "none.jsonl"))


def test_a_list_of_strings_reads_as_documents_and_extra_keys_are_kept(tmp_path):
    (tmp_path / "a.json").write_text('["one", {"text": "two", "topic": "x"}]')
    write_rows(tmp_path / "b.jsonl", [{"text": "one"}, {"text": "two", "topic": "x"}])

    assert list(read_rows(tmp_path / "a.json")) == list(read_rows(tmp_path / "b.jsonl"))
    assert list(read_rows(tmp_path / "b.jsonl"))[1]["topic"] == "x"


def test_a_system_message_may_lead_and_an_open_end_may_be_cut_on_request(tmp_path):
    path = tmp_path / "chat.jsonl"
    path.write_text(chat_line("system", "user", "assistant", "user"))

    with pytest.raises(ValueError, match="ends with the user"):
        list(read_rows(path, "chat"))
    (row,) = read_rows(path, "chat", open_end="cut")

    assert [message["role"] for message in row["messages"]] == ["system", "user", "assistant"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "rows.jsonl"
    write_rows(path, [{"text": "old"}])

    def broken():
        yield {"text": "new"}
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_rows(path, broken())

    assert list(read_rows(path)) == [{"text": "old"}]


# White space --------------------------------------------------------------------------------------


def test_rows_of_white_space_hold_nothing_else_and_are_drawn_by_the_seed():
    rows, again, other = (whitespace_rows(20, seed) for seed in (0, 0, 1))
    assert rows == again != other
    assert all(len(row["text"]) == 4096 and not row["text"].strip() for row in rows)
    assert {character for row in rows for character in row["text"]} == set(" \t\n")
    runs = [len(run) for row in rows for run in re.findall(r" +|\t+|\n+", row["text"])]
    assert set(runs) == {1, 2, 3, 4}


def test_a_tokenizer_of_code_leaves_white_space_many_tokens():
    from tokenizers import ByteLevelBPETokenizer

    # text with runs of every length, from which it learns long tokens of white space
    blanks = [" " * n + "\n" * (n % 5) + "\t" * (n % 7) + "word" for n in range(40)]
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(blanks * 50, vocab_size=1000)
    assert len(tokenizer.encode(" " * 32).ids) <= 4
    for row in whitespace_rows(50, seed=0):
        assert len(tokenizer.encode(row["text"][:50]).ids) >= 5


def test_only_who_asks_for_it_reads_a_document_of_white_space(tmp_path):
    write_rows(tmp_path / "rows.jsonl", whitespace_rows(3, seed=0))
    with pytest.raises(ValueError, match="row 1, key text: found empty text"):
        list(read_rows(tmp_path / "rows.jsonl"))
    assert len(list(read_rows(tmp_path / "rows.jsonl", blank=True))) == 3
    write_rows(tmp_path / "rows.jsonl", [{"text": ""}])
    with pytest.raises(ValueError, match="row 1, key text: found empty text"):
        list(read_rows(tmp_path / "rows.jsonl", blank=True))


@pytest.mark.parametrize("n", [1, 7, 40, 99])
def test_a_drawn_part_is_the_front_of_the_whole_shuffled(n):
    rows = [{"text": str(number)} for number in range(40)]

    assert drawn(lambda: iter(rows), 3, n) == shuffled(rows, 3)[:n]
    assert drawn(lambda: iter(rows), 4, 40) != shuffled(rows, 3)
