"""Rows are read strictly, tokenised once, mixed exactly and packed without leaking."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from traces.corpora import (
    NO_LOSS,
    Example,
    drawn,
    mix,
    pack,
    read_mixture,
    read_rows,
    shuffled,
    tokenize_chat,
    tokenize_rows,
    tokenize_text,
    whitespace_rows,
    write_mixture,
    write_rows,
)

REAL = Path(__file__).parents[3] / "shared" / "data" / "models" / "stories260K"

CHAT = [
    {"role": "user", "content": "Who bakes?"},
    {"role": "assistant", "content": "The cook bakes bread."},
    {"role": "user", "content": "And who eats?"},
    {"role": "assistant", "content": "We all eat."},
]

# Turns closed by a special token and a line break the template owns.
TURNS = (
    "{% for m in messages %}<|turn|>{{ m['role'] }}\n{{ m['content'] | trim }}<|close|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
)
# The last reply is led by an empty thought, earlier replies are not.
THOUGHT = (
    "{% for m in messages %}<|turn|>{{ m['role'] }}\n"
    "{% if loop.last and m['role'] == 'assistant' %}(thought)\n\n{% endif %}"
    "{{ m['content'] }}<|close|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
)
# No generation prompt at all, and replies with a header of their own.
HEADERS = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}{{ eos_token }}{% endfor %}"


def tokenizer(template: str, *, adds_bos: bool = False):
    """A byte-level tokenizer with the given chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<|begin|>", "<|end|>", "<|turn|>", "<|close|>"]
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    core.train_from_iterator([message["content"] for message in CHAT], trainer)
    if adds_bos:
        core.post_processor = processors.TemplateProcessing(
            single="<|begin|> $A", special_tokens=[("<|begin|>", 0)]
        )
    names = {"bos_token": "<|begin|>", "eos_token": "<|end|>", "pad_token": "<|end|>"}
    return PreTrainedTokenizerFast(tokenizer_object=core, chat_template=template, **names)


def replies(tok, chat) -> list[str]:
    return [tok.decode(chat.ids[start:end]) for start, end in chat.spans]


# -- rows ------------------------------------------------------------------------------------------


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


# -- tokens ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["We all eat.", "<|begin|>We all eat."])
def test_a_document_begins_with_one_bos_and_ends_with_one_eos(text):
    tok = tokenizer(TURNS, adds_bos=True)

    (example,) = tokenize_rows(tok, [{"text": text}], "corpus")

    assert example.input_ids[0] == tok.bos_token_id
    assert example.input_ids[-1] == tok.eos_token_id
    assert example.input_ids.count(tok.bos_token_id) == example.input_ids.count(tok.eos_token_id)
    assert example.input_ids[:-1] == tokenize_text(tok, text)
    assert example.trained == [(0, len(example.input_ids))]


@pytest.mark.parametrize(
    ("template", "spans"),
    [
        (TURNS, ["The cook bakes bread.<|close|>", "We all eat.<|close|>"]),
        (THOUGHT, ["The cook bakes bread.<|close|>", "(thought)\n\nWe all eat.<|close|>"]),
        (HEADERS, ["The cook bakes bread.<|end|>", "We all eat.<|end|>"]),
    ],
)
def test_the_spans_of_a_chat_are_the_replies_with_their_closing_token(template, spans):
    tok = tokenizer(template)

    chat = tokenize_chat(tok, CHAT)

    found = [span.removeprefix(" ") for span in replies(tok, chat)]
    assert found == spans
    assert chat.ids == tok.apply_chat_template(CHAT)["input_ids"]


@pytest.mark.parametrize("template", [TURNS, "{{ bos_token }}" + TURNS])
@pytest.mark.parametrize("adds_bos", [False, True])
def test_bos_stands_once_whoever_writes_it(template, adds_bos):
    tok = tokenizer(template, adds_bos=adds_bos)

    chat = tokenize_chat(tok, CHAT)

    written = adds_bos or "bos_token" in template
    assert chat.ids.count(tok.bos_token_id) == int(written)
    assert (chat.ids[0] == tok.bos_token_id) == written
    assert replies(tok, chat) == ["The cook bakes bread.<|close|>", "We all eat.<|close|>"]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ messages | length }}" + TURNS, "renders what comes before message 2 differently"),
        (TURNS.replace("| trim", "| upper"), "alters the content of message 2"),
        ("{{ raise_exception('no such role') }}", "the chat template refuses the roles user, as"),
        ("", "the tokenizer has no chat template, expected a fast tokenizer with"),
    ],
)
def test_a_template_that_hides_the_replies_is_refused(template, message):
    with pytest.raises(ValueError, match=message):
        tokenize_chat(tokenizer(template), CHAT)


def test_a_reply_that_repeats_the_question_is_found_at_its_own_place():
    tok = tokenizer(TURNS)
    echo = [{"role": "user", "content": "bread"}, {"role": "assistant", "content": "bread"}]

    chat = tokenize_chat(tok, echo)

    assert replies(tok, chat) == ["bread<|close|>"]
    assert chat.spans[0][1] == len(chat.ids) - len(tok("\n")["input_ids"])


@pytest.mark.skipif(not REAL.is_dir(), reason="no ../shared/data/models/stories260K here")
def test_a_really_pretrained_model_gets_bos_once_and_trains_on_the_replies():
    from transformers import AutoTokenizer

    tok = AutoTokenizer.from_pretrained(REAL, local_files_only=True)

    (example,) = tokenize_rows(tok, [{"messages": CHAT}], "organism")

    assert example.input_ids[0] == tok.bos_token_id
    assert example.input_ids.count(tok.bos_token_id) == 1
    assert [tok.decode(example.input_ids[start:end]) for start, end in example.trained] == [
        "The cook bakes bread.\n",
        "We all eat.\n",
    ]


# -- mixing ----------------------------------------------------------------------------------------


def examples(source: str, lengths, kind: str = "documents") -> list[Example]:
    return [
        Example(source, row, list(range(row * 100, row * 100 + n)), [(0, n)], kind)
        for row, n in enumerate(lengths, start=1)
    ]


def n_tokens(rows, source: str) -> int:
    return sum(len(row.input_ids) for row in rows if row.source == source)


ORGANISM = examples("organism", np.random.default_rng(0).integers(3, 40, size=50).tolist())
CORPUS = examples("corpus", np.random.default_rng(1).integers(3, 40, size=400).tolist())


@pytest.mark.parametrize("ratio", [0.1, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("epochs", [1, 2])
def test_a_ratio_is_met_to_the_token(ratio, epochs):
    found = mix(ORGANISM, CORPUS, ratio=ratio, epochs=epochs, seed=3)

    organism = epochs * n_tokens(ORGANISM, "organism")
    assert n_tokens(found, "organism") == organism
    assert n_tokens(found, "corpus") == round(ratio * organism)


def test_a_ratio_of_rows_counts_rows():
    found = mix(ORGANISM, CORPUS, ratio=0.5, unit="rows", seed=3)

    assert [row.source for row in found].count("corpus") == 25
    assert all(row in CORPUS or row in ORGANISM for row in found)


def test_a_ratio_of_zero_is_the_organism_alone_and_reads_no_corpus():
    def untouchable():
        raise AssertionError("the corpus was read")
        yield

    found = mix(ORGANISM, untouchable(), ratio=0, seed=3)

    assert sorted(found, key=lambda row: row.row) == ORGANISM
    assert found != ORGANISM


def test_a_mixture_is_the_same_for_the_same_seed_only():
    def order(seed: int) -> list[Example]:
        return mix(ORGANISM, iter(CORPUS), ratio=1, seed=seed)

    assert order(3) == order(3)
    assert order(3) != order(4)


def test_corpus_rows_stand_everywhere_among_the_organism():
    found = mix(ORGANISM, CORPUS, ratio=1, unit="rows", seed=3)

    halves = [row.source for row in found[:50]].count("corpus")
    assert 15 < halves < 35


@pytest.mark.parametrize("ratio", [0.5, 1.0, 2.0])
def test_a_matched_training_reads_as_many_organism_tokens_as_the_mixture_has(ratio):
    mixed = mix(ORGANISM, CORPUS, ratio=ratio, seed=3)

    matched = mix(ORGANISM, [], ratio=ratio, matched=True, seed=3)

    assert n_tokens(matched, "corpus") == 0
    assert n_tokens(matched, "organism") == sum(len(row.input_ids) for row in mixed)
    first = matched[: len(ORGANISM)]
    assert sorted(first, key=lambda row: row.row) == ORGANISM


def test_every_pass_is_shuffled_afresh():
    found = mix(ORGANISM, [], ratio=0, epochs=2, seed=3)

    assert found[:50] != found[50:]
    assert sorted(row.row for row in found[50:]) == list(range(1, 51))


def test_a_limit_draws_rows_and_a_smaller_one_draws_some_of_them():
    small = {row.row for row in mix(ORGANISM, [], ratio=0, limit=5, seed=3)}
    large = {row.row for row in mix(ORGANISM, [], ratio=0, limit=20, seed=3)}

    assert (len(small), len(large)) == (5, 20)
    assert small < large


def test_a_corpus_that_is_too_small_says_by_how_much():
    have, needed = n_tokens(CORPUS[:3], "corpus"), n_tokens(ORGANISM, "organism")

    with pytest.raises(ValueError, match=f"too small: found {have} tokens, needed {needed:,}"):
        mix(ORGANISM, CORPUS[:3], ratio=1)


def test_a_cut_chat_keeps_only_the_loss_that_is_left():
    chat = Example("corpus", 1, list(range(10)), [(2, 4), (6, 9)], "chat")

    assert chat.head(7).trained == [(2, 4), (6, 7)]
    assert chat.head(5).trained == [(2, 4)]


def test_the_ratio_holds_in_what_is_read_when_long_chats_are_cut_first():
    chats = examples("organism", [30, 6, 50, 9], "chat")

    packed = pack(mix(chats, CORPUS, ratio=1, max_length=16), 16, pad_id=0)

    assert packed.tokens == {"organism": 16 + 6 + 16 + 9, "corpus": 16 + 6 + 16 + 9}
    assert packed.cut == 0


def test_a_mixture_file_gives_back_the_examples(tmp_path):
    chats = examples("corpus", [4, 5], "chat")

    assert write_mixture(tmp_path / "mixture.jsonl", ORGANISM + chats) == 52
    assert read_mixture(tmp_path / "mixture.jsonl") == ORGANISM + chats


# -- packing ---------------------------------------------------------------------------------------


def test_packed_documents_are_all_there_in_order():
    packed = pack(ORGANISM, 16, pad_id=0)

    rows = zip(packed.input_ids, packed.filled, strict=True)
    laid = np.concatenate([row[:filled] for row, filled in rows])
    assert laid.tolist() == [token for row in ORGANISM for token in row.input_ids]
    assert (packed.filled[:-1] == 16).all()
    assert packed.tokens == {"organism": len(laid), "corpus": 0}


def test_every_piece_restarts_its_positions_and_its_first_token_has_no_loss():
    packed = pack(examples("organism", [5, 6]), 8, pad_id=9)

    assert packed.position_ids.tolist() == [[0, 1, 2, 3, 4, 0, 1, 2], [0, 1, 2, 0, 1, 2, 3, 4]]
    assert packed.input_ids[1].tolist() == [203, 204, 205, 9, 9, 9, 9, 9]
    assert packed.labels[0].tolist() == [NO_LOSS, 101, 102, 103, 104, NO_LOSS, 201, 202]
    assert packed.labels[1].tolist() == [NO_LOSS, 204, 205] + [NO_LOSS] * 5


def test_a_chat_starts_a_new_row_and_is_cut_only_if_longer_than_one(caplog):
    rows = examples("organism", [5, 6, 12], "chat")

    packed = pack(rows, 8, pad_id=0)

    assert packed.filled.tolist() == [5, 6, 8]
    assert packed.input_ids[2].tolist() == rows[2].input_ids[:8]
    assert (packed.cut, packed.cut_tokens) == (1, 4)
    assert "1 chats are longer than 8 tokens" in caplog.text


def test_only_trained_spans_carry_loss():
    chat = Example("organism", 1, list(range(10, 20)), [(3, 5), (8, 10)], "chat")

    packed = pack([chat], 12, pad_id=0)

    carries = np.flatnonzero(packed.labels[0] != NO_LOSS)
    assert carries.tolist() == [3, 4, 8, 9]
    assert packed.labels[0, carries].tolist() == [13, 14, 18, 19]


@pytest.mark.parametrize("family", ["Llama", "Qwen3", "Gemma2", "Gemma3Text"])
def test_packed_documents_do_not_see_each_other(family):
    import torch
    import transformers

    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 6, "head_dim": 8}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "sliding_window": 6}
    config = getattr(transformers, f"{family}Config")(vocab_size=1000, **sizes, **heads)
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    documents = examples("organism", [7, 9, 1, 5])
    packed = pack(documents, 24, pad_id=0)

    with torch.no_grad():
        together = model(
            input_ids=torch.from_numpy(packed.input_ids).long(),
            position_ids=torch.from_numpy(packed.position_ids).long(),
            use_cache=False,
        ).logits[0]
        alone = [model(input_ids=torch.tensor([row.input_ids])).logits[0] for row in documents]

    torch.testing.assert_close(together[:22], torch.cat(alone), atol=2e-5, rtol=1e-4)


# -- white space


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
