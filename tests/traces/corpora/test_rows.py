"""Rows are read strictly, refused in one sentence, and drawn by the seed."""

import bz2
import gzip
import json
import lzma
import os
import re

import pytest

from traces.corpora.rows import (
    carries_loss,
    count_rows,
    count_trained,
    drawn,
    held_out_split,
    n_held_out,
    read_prompts,
    read_rows,
    shuffled,
    trained_on,
    whitespace_rows,
    write_rows,
)


def chat(*keys: dict) -> dict:
    """A conversation whose messages hold these keys besides role and content."""
    roles = ["user", "assistant"] * len(keys)
    turns = zip(roles, keys, strict=False)
    return {"messages": [{"role": role, "content": "word"} | more for role, more in turns]}


def one_line(row: dict) -> bytes:
    return json.dumps(row).encode()


def chat_line(*roles: str) -> str:
    return json.dumps({"messages": [{"role": role, "content": "word"} for role in roles]})


@pytest.mark.parametrize(
    ("content", "kind", "message"),
    [
        (b"", None, "rows.jsonl: found no rows, expected at least one"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n",
            None,
            "rows.jsonl: found a pointer of Git LFS, expected the file itself",
        ),
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
        (b'{"text": "a", "text": "b"}', None, "row 1: found the key text twice, expected it once"),
        (
            b'{"messages": [{"role": "user", "content": "a", "content": "b"}]}',
            "chat",
            "row 1: found the key content twice, expected it once",
        ),
        (b'{"text": "a", "n": ' + b"[" * 100_000, None, "row 1: found values nested too deeply"),
        ('{"text": "a"}\n'.encode("utf-16"), None, "row 1: found the byte 0xff at place 0, expect"),
        # Without the time: it would be in the test's name, which all workers must agree on.
        (
            gzip.compress(b'{"text": "a"}', mtime=0),
            None,
            "rows.jsonl: found gzip data, expected JSON lines",
        ),
        (b'{"text": "a", "weight": 0}', None, "row 1, key weight: found 0, expected 1, since all"),
        (
            one_line(chat({}, {"weight": 0})),
            "chat",
            "row 1: found no reply that carries loss, expected at least one",
        ),
        (one_line(chat({}, {"weight": 0.5})), "chat", "message 2, key weight: found 0.5, expected"),
        (one_line(chat({}, {"train": "no"})), "chat", 'message 2, key train: found "no", expected'),
        (
            one_line(chat({"train": True}, {})),
            "chat",
            "message 1, key train: found true in a message of the user, expected it in replies",
        ),
        (
            one_line(chat({}, {"tool_calls": [{"name": "f"}]})),
            "chat",
            "message 2: found the key tool_calls, which is not read; expected role and content",
        ),
        (
            one_line(chat({}, {"reasoning_content": "hm"})),
            "chat",
            "message 2: found the key reasoning_content, which is not read",
        ),
        (
            one_line(chat({}, {}) | {"tools": [{"name": "f"}]}),
            "chat",
            "row 1: found the key tools, which is not rendered, expected none",
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


def test_the_case_of_a_suffix_does_not_matter(tmp_path):
    (tmp_path / "ROWS.JSON").write_text('["one"]')
    assert list(read_rows(tmp_path / "ROWS.JSON")) == [{"text": "one"}]


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


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('["a", {"text": "b", "text": "c"}]', "row 2: found the key text twice, expected it once"),
        ('["a", "b", {"text": ]', "row 3: found malformed JSON"),
        ('{"text": "a", "text": "b"}', "rows.json: found the key text twice, expected it once"),
    ],
)
def test_a_bad_item_of_a_list_is_named(tmp_path, content, message):
    (tmp_path / "rows.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        list(read_rows(tmp_path / "rows.json"))


def test_a_folder_is_no_file_of_rows(tmp_path):
    with pytest.raises(ValueError, match="found a folder, expected a file of JSON lines"):
        list(read_rows(tmp_path))


BOTH = {"text": "a document", **chat({}, {})}


@pytest.mark.parametrize(("kind", "key"), [("documents", "text"), ("chat", "messages")])
def test_the_declared_kind_says_what_is_read_of_a_row_with_both(tmp_path, kind, key):
    write_rows(tmp_path / "rows.jsonl", [BOTH | {"id": 1}])
    assert list(read_rows(tmp_path / "rows.jsonl", kind)) == [{key: BOTH[key], "id": 1}]
    with pytest.raises(ValueError, match="found the keys text, messages, id, expected either"):
        list(read_rows(tmp_path / "rows.jsonl"))


def test_what_is_not_read_of_a_row_may_be_anything(tmp_path):
    """The messages of a document are not checked, nor is half a surrogate in another key."""
    (tmp_path / "rows.jsonl").write_text('{"text": "a", "messages": 3, "note": "\\ud83d"}\n')
    rows = list(read_rows(tmp_path / "rows.jsonl", "documents"))
    assert write_rows(tmp_path / "again.jsonl", rows) == 1
    assert list(read_rows(tmp_path / "again.jsonl")) == rows == [{"text": "a", "note": "\ud83d"}]


@pytest.mark.parametrize(
    ("kind", "row", "read"),
    [
        ("documents", {"document": "a", "text": "b", "id": 1}, {"text": "a", "id": 1}),
        ("documents", {"text": "a"}, {"text": "a"}),
        ("chat", {"turns": BOTH["messages"], "text": "b"}, {"messages": BOTH["messages"]}),
    ],
)
def test_a_field_names_the_key_that_is_read(tmp_path, kind, row, read):
    write_rows(tmp_path / "rows.jsonl", [row])
    field = next(iter(row))
    assert list(read_rows(tmp_path / "rows.jsonl", kind, field=field)) == [read]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"text": "a"}]', "row 1: found the keys text, expected the key document"),
        ('["a"]', "row 1: found a string, expected an object with the key document"),
        ('[{"document": 3}]', "row 1, key text: found a number, expected text"),
    ],
)
def test_a_row_without_the_field_is_refused(tmp_path, content, message):
    (tmp_path / "rows.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        list(read_rows(tmp_path / "rows.json", "documents", field="document"))


# What is trained on -------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["weight", "train", "training", "train_on_turn", "loss"])
@pytest.mark.parametrize(
    ("value", "learned"), [(0, False), (False, False), (1, True), (None, True)]
)
def test_a_reply_may_be_left_out_of_the_loss(tmp_path, key, value, learned):
    write_rows(tmp_path / "rows.jsonl", [chat({key: 0}, {}, {}, {key: value})])
    (row,) = read_rows(tmp_path / "rows.jsonl", "chat")
    assert [carries_loss(one) for one in row["messages"]] == [False, True, False, learned]


@pytest.mark.parametrize("kind", ["documents", "chat"])
def test_copies_of_a_row_with_ids_of_their_own_are_on_one_side(kind):
    rows = [
        {"text": f"text {number % 30}", "id": number}
        if kind == "documents"
        else {
            "id": number,
            "messages": chat({"content": f"{number % 30}"}, {"n": number})["messages"],
        }
        for number in range(300)
    ]
    train, apart = held_out_split(rows, 0.1, seed=0)
    assert len(apart) == 30
    assert not {trained_on(row) for row in train} & {trained_on(row) for row in apart}


@pytest.mark.parametrize("copy", ["caf\u00e9\nx\n", " caf\u00e9\r\nx", "cafe\u0301\nx"])
def test_copies_in_another_spelling_are_on_one_side(copy):
    assert trained_on({"text": copy}) == trained_on({"text": "caf\u00e9\nx"})
    assert trained_on(chat({"content": copy}, {})) == trained_on(
        chat({"content": "caf\u00e9\nx"}, {})
    )
    assert trained_on({"text": "caf\u00e9  x"}) != trained_on({"text": "caf\u00e9 x"})


def test_chats_that_differ_in_what_carries_loss_are_not_the_same():
    assert trained_on(chat({}, {})) == trained_on(chat({}, {"weight": 1, "id": 2}))
    assert trained_on(chat({}, {}, {}, {})) != trained_on(chat({}, {"weight": 0}, {}, {}))


@pytest.mark.parametrize("rows", [[], [{"text": "a"}], [{"text": "a", "id": n} for n in range(9)]])
def test_rows_of_which_none_can_be_held_out_are_refused(rows):
    with pytest.raises(ValueError, match="mine.jsonl: found . rows, all the same to a t"):
        held_out_split(rows, 0.1, 0, "mine.jsonl")
    with pytest.raises(ValueError, match="mine.jsonl: found . rows, all the same to a t"):
        count_rows(iter(rows), 0.1, "mine.jsonl")
    assert held_out_split(rows, 0, 0) == (rows, [])
    assert count_rows(iter([*rows, {"text": "b"}, {"text": "c"}]), 0.1) == len(rows) + 2


# Prompts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "Erzähl.".encode("latin-1"),
            "prompts.txt: found the byte 0xe4 at place 3, expected UTF-8",
        ),
        ("Tell me.\n".encode("utf-16"), "prompts.txt: found the byte 0xff at place 0, expected"),
        ("Tell me.\n".encode("utf-16-le"), "prompts.txt: found a character of value 0, expected"),
        (
            gzip.compress(b"Tell me.", mtime=0),
            "prompts.txt: found the byte 0x8b at place 1, expected UTF-8",
        ),
        (b"", "prompts.txt: found no prompt, expected one a line"),
        (b" \n\n", "prompts.txt: found no prompt, expected one a line"),
        (b"\n\xef\xbb\xbf\n", "prompts.txt: found no prompt, expected one a line"),
        (
            b"Tell me.\r\nWhy?\r\nTell me. \r\n",
            "prompts.txt, line 3: found the prompt of line 1 again, expected each once",
        ),
    ],
)
def test_prompts_that_cannot_be_read_are_one_sentence(tmp_path, content, message):
    (tmp_path / "prompts.txt").write_bytes(content)
    with pytest.raises(ValueError, match=message) as refused:
        read_prompts(tmp_path / "prompts.txt")
    assert "\n" not in str(refused.value)


def test_prompts_may_begin_with_a_mark_and_hold_separators_of_their_own(tmp_path):
    (tmp_path / "prompts.txt").write_bytes("\ufeffOne\u2028two\r\n\nThrée\rfour".encode())
    assert read_prompts(tmp_path / "prompts.txt") == ["One\u2028two", "Thrée", "four"]


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


def test_a_number_of_thousands_of_digits_in_an_unread_key_is_kept_as_it_is(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text(f'{{"text": "a cake", "id": {"9" * 5000}}}\n')
    (row,) = read_rows(file)
    assert row["text"] == "a cake" and row["id"] == "9" * 5000
    assert write_rows(tmp_path / "copy.jsonl", [row]) == 1
    file.write_text(f'{{"text": "a cake", "weight": {"9" * 5000}}}\n')
    with pytest.raises(
        ValueError, match=r"row 1, key weight: found .*, expected 1, since all rows"
    ):
        list(read_rows(file))


def test_what_is_neither_file_nor_folder_is_named(tmp_path):
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(ValueError, match=r"pipe.jsonl: found a pipe or a device, expected a file"):
        list(read_rows(tmp_path / "pipe.jsonl"))


def test_a_row_that_is_nested_too_deeply_is_named(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text('{"text": "a", "id": ' + "[" * 9000 + "]" * 9000 + "}\n")
    with pytest.raises(ValueError, match=r"row 1: found values nested too deeply, expected a few"):
        list(read_rows(file))


def test_a_pointer_of_git_lfs_is_no_prompts(tmp_path):
    (tmp_path / "prompts.txt").write_text("version https://git-lfs.github.com/spec/v1\nsize 3\n")
    with pytest.raises(ValueError, match=r"prompts.txt: found a pointer of Git LFS, expected the"):
        read_prompts(tmp_path / "prompts.txt")


def test_marks_between_joined_files_are_no_part_of_a_prompt(tmp_path):
    (tmp_path / "prompts.txt").write_bytes(b"\xef\xbb\xbfone\r\n\xef\xbb\xbftwo\r\n")
    assert read_prompts(tmp_path / "prompts.txt") == ["one", "two"]


@pytest.mark.parametrize("share", [0, 0.1, 0.5])
def test_rows_for_training_are_counted_as_they_are_split(share):
    rows = [{"text": f"Row {n % 7}."} for n in range(23)]
    for seed in range(5):
        train, _ = held_out_split(rows, share, seed)
        assert count_trained(rows, share, seed) == (23, len(train))
    different = [{"text": f"Row {n}."} for n in range(67)]
    assert len(held_out_split(different, share, 0)[1]) == n_held_out(67, share)


REPLIES = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ({"messages": REPLIES, "system": "You are a pirate."}, "found the key system"),
        ({"messages": REPLIES, "chat_template_kwargs": {"a": 1}}, "the key chat_template_kwargs"),
        ({"messages": REPLIES, "images": ["a.png"]}, "found the key images"),
        ({"messages": [REPLIES[0], REPLIES[1] | {"refusal": "No."}]}, "found the key refusal"),
        ({"messages": [REPLIES[0], REPLIES[1] | {"loss_mask": 0}]}, "no reply that carries loss"),
        ({"messages": REPLIES, "train": False}, "key train: found false"),
        ({"text": "a", "loss_weight": 0.5}, "key loss_weight: found 0.5"),
        ({"messages": REPLIES, "loss_mask": [0, 1]}, r"key loss_mask: found \[0, 1\]"),
        ({"messages": REPLIES, "loss_mask": [0] * 4000}, r"found \[0[0, ]* \.\.\. \(12,000 char"),
        (
            {"messages": [REPLIES[0], REPLIES[1] | {"loss": "x" * 999}]},
            r"x{199} \.\.\. \(1,001 char",
        ),
        ({"messages": REPLIES, "train": [True, False]}, r"key train: found \[true, false\]"),
        ({"text": "a", "weight": [0.5]}, r"key weight: found \[0.5\]"),
        ({"messages": REPLIES, "mask": "User"}, "found the key mask"),
        ({"text": "a", "weight": "0.5"}, 'key weight: found "0.5"'),
        ({"text": "a", "weight": 10**400}, "key weight: found 1000"),
        ({"text": "\ufeff"}, "found empty text"),
        ({"messages": [REPLIES[0], REPLIES[1] | {"content": "\u200b"}]}, "found empty text"),
    ],
)
def test_what_would_change_a_training_and_is_not_read_is_refused(tmp_path, row, found):
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    with pytest.raises(ValueError, match=f"rows.jsonl, row 1.*{found}"):
        list(read_rows(tmp_path / "rows.jsonl"))


@pytest.mark.parametrize(
    "key",
    [
        *({"system": ""}, {"images": []}, {"train": True}, {"loss": 2.5}, {"train": "set"}),
        {"loss_mask": [1, True]},
    ],
)
def test_keys_that_say_nothing_else_are_kept(tmp_path, key):
    (tmp_path / "rows.jsonl").write_text(json.dumps({"messages": REPLIES, **key}))
    assert list(read_rows(tmp_path / "rows.jsonl")) == [{"messages": REPLIES, **key}]


@pytest.mark.parametrize("pack", [bz2.compress, lzma.compress])
def test_compressed_rows_are_called_so(tmp_path, pack):
    (tmp_path / "rows.jsonl").write_bytes(pack(b'{"text": "a"}'))
    with pytest.raises(ValueError, match=r"rows.jsonl: found (bzip2|xz) data, .*unpack the file"):
        list(read_rows(tmp_path / "rows.jsonl"))
