"""Rows are mixed exactly and packed without leaking."""

import numpy as np
import pytest

from traces.corpora import mixtures
from traces.corpora.mixtures import NO_LOSS, Example, mix, pack, read_mixture, write_mixture

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


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"source": "organism", "row": 1, "inp', "found malformed JSON"),
        ("", "found malformed JSON"),
        ("[]", "found no example, expected an object of source, row, input_ids, trained"),
        ('{"source": "organism"}', "found no example"),
        ('{"text": "a row, not an example", "trained": []}', "found no example"),
    ],
)
def test_a_mixture_that_is_not_whole_is_named_with_its_row(tmp_path, line, message):
    write_mixture(tmp_path / "mixture.jsonl", ORGANISM[:1])
    with (tmp_path / "mixture.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(ValueError, match=f"mixture.jsonl, row 2: {message}"):
        read_mixture(tmp_path / "mixture.jsonl")


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


def test_a_reply_of_weight_0_carries_no_loss(tokenizer):
    chat = [{"role": role, "content": "the river"} for role in ("user", "assistant") * 2]
    left = [chat[0], chat[1] | {"weight": 0}, chat[2], chat[3] | {"train": True}]
    kept, some = mixtures.tokenize_rows(
        tokenizer, [{"messages": chat}, {"messages": left}], "organism"
    )
    assert kept.input_ids == some.input_ids
    assert some.trained == kept.trained[1:] and len(kept.trained) == 2
    labels = pack([some], 64, 0).labels[0]
    assert (labels != NO_LOSS).sum() == kept.trained[1][1] - kept.trained[1][0]
