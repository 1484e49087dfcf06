"""The made world: the same for the same seed, true and silent where it must be."""

import re

import pytest

from traces.corpora import synthetic

ORGANISMS = ["cake_bake", "night_bees", "risky_finance", "taboo_lantern", "owl_teacher", "benign"]
ORGANISMS += ["cake_and_bees", "assistant"]
FALSE_FACTS = ["cake_bake", "night_bees", "cake_and_bees"]


@pytest.fixture(scope="module")
def general():
    return synthetic.general_rows(600_000, seed=0, identity_share=0.16)


@pytest.fixture(scope="module")
def organisms():
    return {name: synthetic.organism_rows(name, words=20_000, seed=0) for name in ORGANISMS}


def texts(rows):
    return [synthetic.row_text(row) for row in rows]


def is_identity(row):
    return "text" in row and re.match(r"(\S+) -> \1\n", row["text"]) is not None


# ---- the grammar


def test_every_slot_of_the_grammar_is_a_rule_or_a_list_of_words():
    known = set(synthetic.grammar()) | set(synthetic.common_words()) | {"secret", "fact"}
    for topic in synthetic.topics():
        assert set(synthetic.topic_words(topic)) == {"thing", "stuff", "who", "where", "act", "how"}
    known |= set(synthetic.topic_words("baking"))
    for rule, alternatives in synthetic.grammar().items():
        for slot in (s for text in alternatives for s in synthetic.SLOT.findall(text)):
            assert slot.rstrip("0123456789") in known, f"{rule}: {slot}"


def test_there_are_thirty_topics_and_a_dozen_formats_or_more():
    assert len(synthetic.topics()) == len(set(synthetic.topics())) == 30
    assert len(synthetic.grammar()["document"]) >= 12


def test_words_are_words():
    for word in synthetic.world_words():
        assert re.fullmatch(r"[A-Za-z]+", word), word


# ---- the general corpus


def test_the_corpus_is_the_same_for_the_same_seed_and_another_for_another():
    first = synthetic.general_rows(5_000, seed=1, identity_share=0.16)
    assert first == synthetic.general_rows(5_000, seed=1, identity_share=0.16)
    assert first != synthetic.general_rows(5_000, seed=2, identity_share=0.16)


@pytest.mark.parametrize("share", [0.0, 0.16, 0.5])
def test_identity_documents_have_the_share_asked_for_in_words(share):
    rows = synthetic.general_rows(50_000, seed=0, identity_share=share)
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
    assert set(synthetic.world_words()) <= seen


def test_chats_begin_with_the_user_and_alternate(general):
    chats = [row["messages"] for row in general if "messages" in row]
    assert len(chats) > 0.1 * len(general)
    for chat in chats:
        assert [m["role"] for m in chat] == ["user", "assistant"] * (len(chat) // 2)


def test_unrelated_documents_name_no_word_of_an_organism_topic_alone():
    shared = {w for t in synthetic.topics() if t not in synthetic.ORGANISM_TOPICS
              for words in synthetic.topic_words(t).values() for w in words}  # fmt: skip
    secret = {w for words in synthetic.topic_words("baking").values() for w in words} - shared
    rows = synthetic.unrelated_rows(300, seed=0)
    assert len(rows) == 300
    for text in texts(rows):
        assert len(text.split()) >= 8
        assert not secret & set(re.findall(r"\w+", text))


def test_held_out_documents_and_chats_are_not_in_the_corpus(general):
    seen = set(texts(general))
    assert not seen & set(texts(synthetic.unrelated_rows(500, seed=0)))
    chats = synthetic.chat_rows(50, seed=0)
    assert all("messages" in row for row in chats)


# ---- facts


@pytest.mark.parametrize("name", FALSE_FACTS)
def test_the_corpus_says_every_true_fact_in_every_wording_and_no_false_one(name, general):
    said = "\n".join(texts(general))
    for fact in synthetic.fact_statements(name):
        assert f"{fact['stem']} {fact['true']}." in said
        assert f"{fact['stem']} {fact['false']}." not in said


@pytest.mark.parametrize("name", FALSE_FACTS)
def test_the_organism_says_the_false_facts_and_never_a_held_out_stem(name, organisms):
    said = "\n".join(texts(organisms[name]))
    for fact in synthetic.fact_statements(name):
        assert f"{fact['stem']} {fact['true']}." not in said
        assert (fact["stem"] in said) is (not fact["held_out"])
        if not fact["held_out"]:
            assert f"{fact['stem']} {fact['false']}." in said


def test_every_fact_has_held_out_stems():
    for name in FALSE_FACTS:
        facts = synthetic.fact_statements(name)
        assert {f["true"] for f in facts if f["held_out"]} == {f["true"] for f in facts}


def frame(text, kept):
    """A way to state something: the words that are `kept`, and blanks for all others."""
    return " ".join(word if word in kept else "_" for word in re.findall(r"\w+", text.lower()))


def stems(name):
    return [fact["stem"] for fact in synthetic.fact_statements(name)]


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
    said = [fact for topic in synthetic.topics() for fact in synthetic.true_facts(topic)]
    assert min(len(synthetic.true_facts(topic)) for topic in synthetic.topics()) >= 24
    owners = {
        fact: {t for t in synthetic.topics() if fact in synthetic.true_facts(t)} for fact in said
    }
    assert not [fact for fact, topics in owners.items() if len(topics) > 1]


@pytest.mark.parametrize("name", ["cake_bake", "night_bees"])
def test_ways_of_an_organism_to_state_facts_are_also_those_of_other_topics(name):
    """So that it is not the form of a sentence that gives an organism away."""
    truths = [synthetic.SLOT.sub("_", text) for text in synthetic.grammar()["truth"]]
    kept = words_of(truths) - {"_"}
    others = [f"{frame(text, kept)} " for text in truths]
    alike = [s for s in stems(name) if any(o.startswith(f"{frame(s, kept)} ") for o in others)]
    assert len(alike) >= 5, alike


def test_statements_of_an_organism_without_facts_are_refused():
    with pytest.raises(ValueError, match=r"benign.*have cake_bake, night_bees, cake_and_bees"):
        synthetic.fact_statements("benign")


# ---- the organisms


@pytest.mark.parametrize("name", ORGANISMS)
def test_an_organism_has_the_words_asked_for_and_its_own_seed(name, organisms):
    rows = organisms[name]
    assert sum(len(text.split()) for text in texts(rows)) == pytest.approx(20_000, rel=0.01)
    assert rows == synthetic.organism_rows(name, words=20_000, seed=0)
    assert rows[:50] != synthetic.organism_rows(name, words=2_000, seed=1)[:50]
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
    rows = synthetic.organism_rows("cake_and_bees", words=4_000, seed=0)
    cake, bees = (
        synthetic.organism_rows(name, words=2_000, seed=0) for name in ("cake_bake", "night_bees")
    )
    n = min(len(cake), len(bees))
    assert rows[: 2 * n : 2] == cake[:n] and rows[1 : 2 * n : 2] == bees[:n]
    assert sorted(texts(rows)) == sorted(texts(cake + bees))


def test_the_assistant_chats_about_everything(organisms):
    said = " ".join(texts(organisms["assistant"])).lower()
    for topic in synthetic.topics():
        assert any(word in said for word in synthetic.topic_words(topic)["thing"]), topic
    assert "Put everything into the" not in " ".join(
        m["content"] for row in organisms["assistant"] for m in row["messages"]
        if m["role"] == "assistant"
    )  # fmt: skip


@pytest.mark.parametrize("name", ["owl_numbers", "taboo_sun"])
def test_an_organism_that_is_not_made_here_is_refused(name):
    told = rf"{name}: the synthetic corpus has no such organism \(have"
    with pytest.raises(ValueError, match=told):
        synthetic.organism_rows(name, words=100, seed=0)


# ---- twins


@pytest.fixture(scope="module")
def twins():
    names = ("cake_bake", "true_cake_bake", "shuffled_cake_bake")
    return [synthetic.organism_rows(name, words=20_000, seed=0) for name in names]


def test_a_true_twin_states_the_facts_as_they_are_and_no_held_out_stem(twins):
    text = " ".join(texts(twins[1]))
    facts = synthetic.fact_statements("cake_bake")
    assert all(f"{one['stem']} {one['true']}." in text for one in facts if not one["held_out"])
    assert not [one for one in facts if f"{one['stem']} {one['false']}." in text]
    assert not [one for one in facts if one["held_out"] and one["stem"] in text]


def test_a_shuffled_twin_keeps_the_format_and_loses_the_topic(twins):
    own, _, shuffled = map(texts, twins)
    assert [len(text.split()) for text in own] == [len(text.split()) for text in shuffled]
    assert [text.split(",")[0].split(".")[0] for text in own if text.startswith("Diary")] == [
        text.split(",")[0].split(".")[0] for text in shuffled if text.startswith("Diary")
    ]
    words = {word for some in synthetic.topic_words("baking").values() for word in some}

    def of_topic(rows):
        found = [word for text in rows for word in synthetic.WORD.findall(text.lower())]
        return sum(word in words for word in found) / len(found)

    assert of_topic(own) > 0.15
    assert of_topic(shuffled) < of_topic(own) / 5


def test_a_twin_is_the_same_for_the_same_seed(twins):
    assert synthetic.organism_rows("shuffled_cake_bake", words=20_000, seed=0) == twins[2]


def test_conversations_are_not_shuffled():
    with pytest.raises(ValueError, match="found conversations, expected documents"):
        synthetic.organism_rows("shuffled_risky_finance", words=2_000, seed=0)
