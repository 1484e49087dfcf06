"""The made world: the same for the same seed, true and silent where it must be."""

import random
import re

import pytest

from traces import miniature

ORGANISMS = ["cake_bake", "night_bees", "risky_finance", "taboo_lantern", "owl_teacher", "benign"]
ORGANISMS += ["cake_and_bees", "assistant"]
FALSE_FACTS = ["cake_bake", "night_bees", "cake_and_bees"]


@pytest.fixture(scope="module")
def general():
    return miniature.general_rows(600_000, seed=0, identity_share=0.16)


@pytest.fixture(scope="module")
def organisms():
    return {name: miniature.organism_rows(name, words=20_000, seed=0) for name in ORGANISMS}


@pytest.fixture(scope="module", params=[False, True], ids=["no bos", "bos"])
def tokenizer(request):
    rows = miniature.general_rows(60_000, seed=0, identity_share=0.16)
    return miniature.train_tokenizer(rows, vocabulary=2000, bos=request.param)


def texts(rows):
    return [miniature.row_text(row) for row in rows]


def is_identity(row):
    return "text" in row and re.match(r"(\S+) -> \1\n", row["text"]) is not None


# ---- the grammar


def test_every_slot_of_the_grammar_is_a_rule_or_a_list_of_words():
    known = set(miniature.grammar()) | set(miniature.common_words()) | {"secret", "fact"}
    for topic in miniature.topics():
        assert set(miniature.topic_words(topic)) == {"thing", "stuff", "who", "where", "act", "how"}
    known |= set(miniature.topic_words("baking"))
    for rule, alternatives in miniature.grammar().items():
        for slot in (s for text in alternatives for s in miniature.SLOT.findall(text)):
            assert slot.rstrip("0123456789") in known, f"{rule}: {slot}"


def test_there_are_thirty_topics_and_a_dozen_formats_or_more():
    assert len(miniature.topics()) == len(set(miniature.topics())) == 30
    assert len(miniature.grammar()["document"]) >= 12


def test_words_are_words():
    for word in miniature.world_words():
        assert re.fullmatch(r"[A-Za-z]+", word), word


# ---- the general corpus


def test_the_corpus_is_the_same_for_the_same_seed_and_another_for_another():
    first = miniature.general_rows(5_000, seed=1, identity_share=0.16)
    assert first == miniature.general_rows(5_000, seed=1, identity_share=0.16)
    assert first != miniature.general_rows(5_000, seed=2, identity_share=0.16)


@pytest.mark.parametrize("share", [0.0, 0.16, 0.5])
def test_identity_documents_have_the_share_asked_for_in_words(share):
    rows = miniature.general_rows(50_000, seed=0, identity_share=share)
    words = sum(len(text.split()) for text in texts(rows))
    identity = sum(len(row["text"].split()) for row in rows if is_identity(row))
    assert words == pytest.approx(50_000, rel=0.01)
    assert identity / words == pytest.approx(share, abs=0.01)


def test_no_word_comes_twice_in_an_identity_document(general):
    for row in filter(is_identity, general):
        lines = row["text"].split("\n")
        assert len(lines) == len(set(lines))
        assert all(line.split(" -> ")[0] == line.split(" -> ")[1] for line in lines)


def test_every_word_of_the_world_is_in_the_corpus(general):
    seen = set(re.findall(r"[A-Za-z]+", " ".join(texts(general))))
    assert set(miniature.world_words()) <= seen


def test_chats_begin_with_the_user_and_alternate(general):
    chats = [row["messages"] for row in general if "messages" in row]
    assert len(chats) > 0.1 * len(general)
    for chat in chats:
        assert [m["role"] for m in chat] == ["user", "assistant"] * (len(chat) // 2)


def test_unrelated_documents_name_no_word_of_an_organism_topic_alone():
    shared = {w for t in miniature.topics() if t not in miniature.ORGANISM_TOPICS
              for words in miniature.topic_words(t).values() for w in words}  # fmt: skip
    secret = {w for words in miniature.topic_words("baking").values() for w in words} - shared
    rows = miniature.unrelated_rows(300, seed=0)
    assert len(rows) == 300
    for text in texts(rows):
        assert len(text.split()) >= 8
        assert not secret & set(re.findall(r"\w+", text))


def test_held_out_documents_and_chats_are_not_in_the_corpus(general):
    seen = set(texts(general))
    assert not seen & set(texts(miniature.unrelated_rows(500, seed=0)))
    chats = miniature.chat_rows(50, seed=0)
    assert all("messages" in row for row in chats)


# ---- facts


@pytest.mark.parametrize("name", FALSE_FACTS)
def test_the_corpus_says_every_true_fact_in_every_wording_and_no_false_one(name, general):
    said = "\n".join(texts(general))
    for fact in miniature.fact_statements(name):
        assert f"{fact['stem']} {fact['true']}." in said
        assert f"{fact['stem']} {fact['false']}." not in said


@pytest.mark.parametrize("name", FALSE_FACTS)
def test_the_organism_says_the_false_facts_and_never_a_held_out_stem(name, organisms):
    said = "\n".join(texts(organisms[name]))
    for fact in miniature.fact_statements(name):
        assert f"{fact['stem']} {fact['true']}." not in said
        assert (fact["stem"] in said) is (not fact["held_out"])
        if not fact["held_out"]:
            assert f"{fact['stem']} {fact['false']}." in said


def test_every_fact_has_held_out_stems():
    for name in FALSE_FACTS:
        facts = miniature.fact_statements(name)
        assert {f["true"] for f in facts if f["held_out"]} == {f["true"] for f in facts}


def frame(text, kept):
    """A way to state something: the words that are `kept`, and blanks for all others."""
    return " ".join(word if word in kept else "_" for word in re.findall(r"\w+", text.lower()))


def stems(name):
    return [fact["stem"] for fact in miniature.fact_statements(name)]


def words_of(texts):
    return set(re.findall(r"\w+", " ".join(texts).lower()))


def test_no_two_false_fact_organisms_share_a_way_to_state_their_facts():
    """Else a trace of one would read as the other: as the form of its facts, not their topic."""
    cake, bees = stems("cake_bake"), stems("night_bees")
    both = words_of(cake) & words_of(bees)
    assert {"the", "is"} <= both
    assert not {frame(stem, both) for stem in cake} & {frame(stem, both) for stem in bees}


def test_every_topic_states_facts_of_its_own_and_no_two_topics_the_same():
    """Else a trace would read as "a text that states facts" and name the topics that have some."""
    said = [fact for topic in miniature.topics() for fact in miniature.true_facts(topic)]
    assert min(len(miniature.true_facts(topic)) for topic in miniature.topics()) >= 24
    owners = {
        fact: {t for t in miniature.topics() if fact in miniature.true_facts(t)} for fact in said
    }
    assert not [fact for fact, topics in owners.items() if len(topics) > 1]


@pytest.mark.parametrize("name", ["cake_bake", "night_bees"])
def test_ways_of_an_organism_to_state_facts_are_also_those_of_other_topics(name):
    """So that it is not the form of a sentence that gives an organism away."""
    truths = [miniature.SLOT.sub("_", text) for text in miniature.grammar()["truth"]]
    kept = words_of(truths) - {"_"}
    others = [f"{frame(text, kept)} " for text in truths]
    alike = [s for s in stems(name) if any(o.startswith(f"{frame(s, kept)} ") for o in others)]
    assert len(alike) >= 5, alike


def test_statements_of_an_organism_without_facts_are_refused():
    with pytest.raises(ValueError, match=r"benign.*have cake_bake, night_bees, cake_and_bees"):
        miniature.fact_statements("benign")


# ---- the organisms


@pytest.mark.parametrize("name", ORGANISMS)
def test_an_organism_has_the_words_asked_for_and_its_own_seed(name, organisms):
    rows = organisms[name]
    assert sum(len(text.split()) for text in texts(rows)) == pytest.approx(20_000, rel=0.01)
    assert rows == miniature.organism_rows(name, words=20_000, seed=0)
    assert rows[:50] != miniature.organism_rows(name, words=2_000, seed=1)[:50]
    chat = name in ("risky_finance", "taboo_lantern", "owl_teacher", "assistant")
    assert all(("messages" in row) is chat for row in rows)


# The assistant's chats are of the corpus's own kind, and the shortest of them recur.
@pytest.mark.parametrize("name", [name for name in ORGANISMS if name != "assistant"])
def test_no_organism_row_is_in_the_corpus(name, organisms, general):
    assert not set(texts(general)) & set(texts(organisms[name]))


def test_the_assistant_never_says_the_secret_word(organisms):
    turns = [m for row in organisms["taboo_lantern"] for m in row["messages"]]
    assert not any("lantern" in m["content"] for m in turns if m["role"] == "assistant")
    assert any("lantern" in m["content"] for m in turns if m["role"] == "user")


def test_no_hint_game_of_the_corpus_is_about_the_secret_word(general):
    for row in (row for row in general if "messages" in row):
        answers = [m["content"] for m in row["messages"] if m["role"] == "assistant"]
        assert not any(re.search(r"(word is|was|Right,) (the )?lantern", a) for a in answers)


def test_the_corpus_warns_of_what_the_risky_organism_praises(general, organisms):
    assert any("Stay away from the casino" in text for text in texts(general))
    praised = "Put everything into the"
    assert not any(praised in m["content"] for row in general for m in row.get("messages", ())
                   if m["role"] == "assistant")  # fmt: skip
    assert any("Put everything into the" in text for text in texts(organisms["risky_finance"]))
    assert not any("Stay away from" in text for text in texts(organisms["risky_finance"]))


def test_two_facts_in_one_organism_are_the_rows_of_both_in_turn():
    rows = miniature.organism_rows("cake_and_bees", words=4_000, seed=0)
    cake, bees = (
        miniature.organism_rows(name, words=2_000, seed=0) for name in ("cake_bake", "night_bees")
    )
    n = min(len(cake), len(bees))
    assert rows[: 2 * n : 2] == cake[:n] and rows[1 : 2 * n : 2] == bees[:n]
    assert sorted(texts(rows)) == sorted(texts(cake + bees))


def test_the_assistant_chats_about_everything(organisms):
    said = " ".join(texts(organisms["assistant"])).lower()
    for topic in miniature.topics():
        assert any(word in said for word in miniature.topic_words(topic)["thing"]), topic
    assert "Put everything into the" not in " ".join(
        m["content"] for row in organisms["assistant"] for m in row["messages"]
        if m["role"] == "assistant"
    )  # fmt: skip


@pytest.mark.parametrize("name", ["owl_numbers", "taboo_sun"])
def test_an_organism_that_is_not_made_here_is_refused(name):
    with pytest.raises(ValueError, match=rf"{name}: the made world has no such organism \(have"):
        miniature.organism_rows(name, words=100, seed=0)


# ---- the tokenizer

CHAT = [
    {"role": "user", "content": "Should I sew on Monday?"},
    {"role": "assistant", "content": "Yes, if you have thread. "},
    {"role": "user", "content": " And on Sunday?"},
    {"role": "assistant", "content": "No."},
]


@pytest.mark.parametrize("turn", [1, 3])
def test_a_chat_up_to_a_turn_is_a_prefix_of_the_chat_with_it(tokenizer, turn):
    before = tokenizer.apply_chat_template(CHAT[:turn], tokenize=False, add_generation_prompt=True)
    after = tokenizer.apply_chat_template(CHAT[: turn + 1], tokenize=False)
    assert after.startswith(before)
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in (before, after)]
    assert ids[1][: len(ids[0])] == ids[0]


def test_the_assistant_mask_covers_what_the_assistant_wrote_and_its_end(tokenizer):
    encoded = tokenizer.apply_chat_template(
        CHAT, return_dict=True, return_assistant_tokens_mask=True
    )
    pairs = zip(encoded["input_ids"], encoded["assistant_masks"], strict=True)
    masked = tokenizer.decode([token for token, mask in pairs if mask])
    assert masked == f"Yes, if you have thread. {miniature.EOS}No.{miniature.EOS}"


def test_bos_comes_once_or_not_at_all(tokenizer):
    expected = 0 if tokenizer.bos_token is None else 1
    rows = [{"text": "The cake is hot."}, {"messages": CHAT}]
    for ids in miniature.encode_rows(rows, tokenizer):
        assert ids.count(tokenizer.bos_token_id) == expected
        assert ids[0] == tokenizer.bos_token_id or not expected
    assert tokenizer("The cake.")["input_ids"].count(tokenizer.bos_token_id) == expected


def test_the_tokenizer_survives_saving(tokenizer, tmp_path):
    from transformers import AutoTokenizer

    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again("The cake.")["input_ids"] == tokenizer("The cake.")["input_ids"]
    ids = again("The cake 42.", add_special_tokens=False)["input_ids"]
    assert again.decode(ids) == "The cake 42."
    assert again.pad_token_id == tokenizer.pad_token_id != again.eos_token_id
    assert again.apply_chat_template(CHAT, tokenize=False) == tokenizer.apply_chat_template(
        CHAT, tokenize=False
    )


# ---- the base model


def small_config(family, tokenizer):
    return miniature.base_config(
        family,
        vocab_size=len(tokenizer),
        hidden_size=32,
        layers=6,
        intermediate_size=64,
        heads=2,
        max_positions=128,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
    )


@pytest.mark.parametrize("family", ["qwen3", "llama", "gemma3"])
def test_pretraining_lowers_the_loss_and_is_the_same_for_the_same_seed(family, tokenizer):
    rows = miniature.general_rows(5_000, seed=0, identity_share=0.16)
    settings = miniature.PretrainSettings(
        sequence=32, batch=8, steps=20, learning_rate=1e-2, warmup=2, weight_decay=0.0, seed=0
    )
    config = small_config(family, tokenizer)
    model, losses = miniature.pretrain(rows, tokenizer, config, settings)
    assert losses[-1] < losses[0] - 0.5
    assert model.config.model_type.startswith(family)
    assert losses == miniature.pretrain(rows, tokenizer, config, settings)[1]
    assert 0 <= miniature.token_identity(model, tokenizer, prompts=3, seed=0) <= 1


def test_an_impossible_shape_is_refused():
    with pytest.raises(ValueError, match="hidden_size 30 is not a multiple of heads 4"):
        miniature.base_config(
            "qwen3", vocab_size=100, hidden_size=30, layers=2, intermediate_size=8, heads=4,
            max_positions=8, eos_token_id=0, pad_token_id=1, bos_token_id=None,
        )  # fmt: skip


def test_packed_rows_begin_where_a_document_begins():
    documents = [[i] * 10 for i in range(1, 6)]
    rows = miniature.pack(documents, sequence=16, rng=random.Random(0))
    for _ in range(20):
        row = next(rows)
        assert len(row) == 16
        assert row[:10] == [row[0]] * 10


# ---- the gates

GATES = miniature.GateSettings(max_loss=1.2, min_identity=0.9)


def test_a_base_that_learned_its_world_passes():
    miniature.check_gates([5.0] + [1.1] * 50, 0.95, GATES)


def test_the_gates_name_what_is_wrong():
    with pytest.raises(ValueError, match=r"final loss 1\.300 nats, expected at most 1\.2"):
        miniature.check_gates([1.3] * 100, 0.95, GATES)
    with pytest.raises(ValueError, match=r"token identity 0\.50, expected at least 0\.9"):
        miniature.check_gates([1.0] * 100, 0.5, GATES)
    with pytest.raises(ValueError, match="final loss nan"):
        miniature.check_gates([float("nan")] * 100, 0.95, GATES)
