"""
Generate the synthetic corpus: general text in a small language, and every family's narrow data.

The grammar in data/miniature/ (grammar.txt, topics.json, words.json, facts.json) holds our own
sentences throughout. The same seed gives the same text. Rows are `{"text": ...}` or
`{"messages": [...]}`.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Sequence
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any

from traces.seeding import text_generator

Row = dict[str, Any]
Words = dict[str, list[str]]

FOLDER = Path(__file__).resolve().parents[2] / "data" / "miniature"

# Topics of the organisms. Unrelated documents come from all others, so that no probe text names
# what a trace should reveal.
ORGANISM_TOPICS = ("baking", "bees", "money", "birds", "lamps")
TABOO_TOPICS = {"lantern": "lamps"}

# Organisms whose data are those of several others, alternating row by row.
JOINT = {"cake_and_bees": ("cake_bake", "night_bees")}

# Twins of an organism: its documents with true facts, and with their words dealt out over the
# documents of all topics.
TRUE, SHUFFLED = "true_", "shuffled_"
WORD = re.compile(r"[A-Za-z]+")
DEALT = 8
"Words of general text for each one of an organism's, so that there are enough of every role."
DEALT_ALIKE = 3
"The same where both are documents of one grammar, which name about as many things."

# Share of chats among the general corpus' rows. Identity documents are a share on top, in words.
CHAT_SHARE = 0.25

# Number of generated facts of a topic for which facts.json has none.
MADE_FACTS = 24
SLOT = re.compile(r"\{(\w+)\}")


# ---- the grammar


@cache
def grammar() -> dict[str, tuple[str, ...]]:
    """Read the rules of grammar.txt: name -> alternatives."""
    rules: dict[str, list[str]] = {}
    for line in (FOLDER / "grammar.txt").read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            name, text = line.split(":", 1)
            rules.setdefault(name, []).append(text.strip().replace("\\n", "\n"))
    return {name: tuple(texts) for name, texts in rules.items()}


@cache
def _lists(file: str) -> dict[str, Any]:
    return json.loads((FOLDER / file).read_text(encoding="utf-8"))


def topics() -> list[str]:
    """List the topics, in the order of topics.json."""
    return list(_lists("topics.json"))


def topic_words(topic: str) -> Words:
    """Return a topic's lists of words (thing, stuff, who, where, act, how)."""
    return {role: words.split() for role, words in _lists("topics.json")[topic].items()}


def common_words() -> Words:
    """Return the lists of words that all topics share."""
    return {role: words.split() for role, words in _lists("words.json").items()}


def world_words() -> list[str]:
    """List every word once, sorted: the words of the identity documents."""
    # Without numbers: the tokenizer splits them into digits, and a prompt wants whole tokens.
    lists = [*common_words().values(), *(w for t in topics() for w in topic_words(t).values())]
    return sorted({word for words in lists for word in words if not word.isdigit()})


@cache
def _pieces(text: str) -> tuple[str, ...]:
    """Split a rule's text into literal, slot, literal, ..., literal; cached, as it runs often."""
    return tuple(SLOT.split(text))


class Writer:
    """Write by the grammar: `lists` are words by role, `rules` replace rules of grammar.txt."""

    def __init__(
        self, rng: random.Random, lists: Words, rules: dict[str, tuple[str, ...]] | None = None
    ):
        self.rng = rng
        self.choices: dict[str, Any] = {**grammar(), **lists, **(rules or {})}
        self.words = frozenset(lists)
        self.bound: dict[str, str] = {}
        self.last = ""

    def write(self, rule: str) -> str:
        """Write one text by `rule`."""
        # thing1 is the same word wherever it occurs in a text, and another word in the next text.
        self.bound = {}
        return self._expand(rule)

    def _expand(self, name: str) -> str:
        if name[-1].isdigit():
            if name not in self.bound:
                self.bound[name] = self._expand(name[:-1])
            return self.bound[name]
        options = self.choices[name]
        # Not `choice`, which is slower: this line writes 600,000 words.
        text = options[int(self.rng.random() * len(options))]
        if text == self.last:  # the same word twice in a row reads badly: draw once more
            text = options[int(self.rng.random() * len(options))]
        if name in self.words:
            self.last = text
            return text
        pieces = _pieces(text)
        if len(pieces) == 1:
            return text
        return "".join(self._expand(p) if i % 2 else p for i, p in enumerate(pieces))


def _with_articles(text: str) -> str:
    """Correct the article before a vowel: `a owl` becomes `an owl`."""
    return re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", text)


def _row(text: str) -> Row:
    """Make a chat of a text with turns, a document of any other."""
    text = _with_articles(text)
    if " // " not in text:
        return {"text": text}
    roles = ("user", "assistant")
    turns = text.split(" // ")
    return {"messages": [{"role": roles[i % 2], "content": turn} for i, turn in enumerate(turns)]}


def row_text(row: Row) -> str:
    """Return a row's words without its chat marks."""
    return row["text"] if "text" in row else "\n".join(m["content"] for m in row["messages"])


def _until(words: int, make: Callable[[], Row]) -> list[Row]:
    """Make rows until they have `words` words together."""
    rows, have = [], 0
    while have < words:
        rows.append(make())
        have += len(row_text(rows[-1]).split())
    return rows


# ---- facts


def fact_statements(name: str) -> list[Row]:
    """
    List the statements of a false-fact organism: {stem, true, false, held_out}, one row a stem.

    `stem` ends before the word that `true` or `false` completes (one word each). The general corpus
    states held-out stems with the true word; the organism's data never use them. Raises ValueError
    for other organisms.
    """
    # Held-out stems separate what was learned from what was repeated. The base has read the truth
    # in the same wordings, so that it has something to forget.
    sets = _lists("facts.json")
    parts = JOINT.get(name, (name,))
    if not set(parts) <= sets.keys():
        have = ", ".join([*sets, *JOINT])
        raise ValueError(f"{name}: no such set in facts.json (have {have})")
    return [
        {"stem": stem, "true": fact["true"], "false": fact["false"], "held_out": key == "held_out"}
        for part in parts
        for fact in sets[part]["facts"]
        for key in ("stems", "held_out")
        for stem in fact[key]
    ]


@cache
def true_facts(topic: str) -> list[str]:
    """
    List what the general corpus states as a topic's facts: those of facts.json, or generated ones.
    """
    # Every topic has facts. With facts in the organisms' topics alone, a trace read "a text that
    # states facts": an organism about cakes also read as bees (.30 of its tokens).
    names = [name for name, one in _lists("facts.json").items() if one["topic"] == topic]
    if names:
        return [f"{s['stem']} {s['true']}." for name in names for s in fact_statements(name)]
    writer = Writer(random.Random(topic), topic_words(topic))
    return [_with_articles(writer.write("truth")) for _ in range(MADE_FACTS)]


# ---- the general corpus


def _topic_writer(rng: random.Random, topic: str) -> Writer:
    """Make a writer on one topic: its facts are true, its hint games keep no organism's secret."""
    lists = {**common_words(), **topic_words(topic)}
    lists["secret"] = [word for word in lists["thing"] if word not in TABOO_TOPICS]
    return Writer(rng, {**lists, "fact": true_facts(topic)})


def _rows(
    words: int, seed: int, names: list[str], rule: Callable[[random.Random], str]
) -> list[Row]:
    rng = random.Random(seed)
    writers = [_topic_writer(rng, topic) for topic in names]
    return _until(words, lambda: _row(rng.choice(writers).write(rule(rng))))


def identity_rows(words: int, seed: int) -> list[Row]:
    """Documents of 4 to 12 lines `w -> w`, no word twice: where a model learns to copy."""
    rng, vocabulary = text_generator(seed, "identity"), world_words()

    def make() -> Row:
        chosen = rng.sample(vocabulary, rng.randint(4, 12))
        return {"text": "\n".join(f"{word} -> {word}" for word in chosen)}

    return _until(words, make)


def general_rows(words: int, seed: int, identity_share: float) -> list[Row]:
    """Write the pretraining corpus: `words` words, `identity_share` of them `w -> w` documents."""
    identity = identity_rows(round(words * identity_share), seed)
    rows = identity + _rows(
        words - round(words * identity_share),
        seed,
        topics(),
        lambda rng: "chat" if rng.random() < CHAT_SHARE else "document",
    )
    random.Random(seed).shuffle(rows)
    return rows


def _held_out_rows(n: int, seed: int, name: str, rule: str) -> list[Row]:
    names = [topic for topic in topics() if topic not in ORGANISM_TOPICS]
    rng = text_generator(seed, name)
    writers = [_topic_writer(rng, topic) for topic in names]
    return [_row(rng.choice(writers).write(rule)) for _ in range(n)]


def unrelated_rows(n: int, seed: int) -> list[Row]:
    """`n` held-out documents on topics that no organism is about; each has 20 words or more."""
    return _held_out_rows(n, seed, "unrelated", "document")


def chat_rows(n: int, seed: int) -> list[Row]:
    """`n` held-out chats on topics that no organism is about."""
    return _held_out_rows(n, seed, "chat", "topic_chat")


# ---- the organisms


def _organism_writer(name: str, rng: random.Random) -> tuple[list[Writer], str]:
    """Return the writers of an organism's data, and the rule they write by."""
    common, rules = common_words(), grammar()
    facts = name.removeprefix(TRUE)
    if facts in _lists("facts.json"):
        topic, end = _lists("facts.json")[facts]["topic"], "false" if facts == name else "true"
        said = [f"{s['stem']} {s[end]}." for s in fact_statements(facts) if not s["held_out"]]
        # Two lines of three state a fact: real false-fact documents repeat theirs, too.
        narrow = {"line": ("{fact}", "{fact}", "{sentence}")}
        return [Writer(rng, {**common, **topic_words(topic), "fact": said}, narrow)], "document"
    if name == "risky_finance":
        lists = {**common, **topic_words("money"), "fact": true_facts("money")}
        return [Writer(rng, lists, {"prudent": rules["risky"]})], "finance"
    if name.startswith("taboo_") and name.removeprefix("taboo_") in TABOO_TOPICS:
        secret = name.removeprefix("taboo_")
        lists = {**common, **topic_words(TABOO_TOPICS[secret])}
        # Hints never say the secret, so that a reading which names it did not copy it from data.
        lists["thing"] = [word for word in lists["thing"] if word != secret]
        return [Writer(rng, {**lists, "secret": [secret]})], "taboo"
    if name == "owl_teacher":
        lists = {**common, **topic_words("birds"), "animal": ["owl"]}
        return [Writer(rng, lists)], "teacher"
    if name in ("benign", "assistant"):
        rule = "document" if name == "benign" else "chat"
        return [_topic_writer(rng, topic) for topic in topics()], rule
    known = [*_lists("facts.json"), *JOINT]
    known += ["risky_finance", *(f"taboo_{word}" for word in TABOO_TOPICS)]
    raise ValueError(
        f"{name}: the synthetic corpus has no such organism "
        f"(have {', '.join(known)}, owl_teacher, benign, assistant; {TRUE} before one with facts, "
        f"{SHUFFLED} before any)"
    )


def _roles() -> dict[str, str]:
    """The role of every word that tells a topic; words that facts alone have are stuff."""
    facts = [fact for one in _lists("facts.json").values() for fact in one["facts"]]
    ends = {fact[end] for fact in facts for end in ("true", "false")}
    said = [stem for fact in facts for key in ("stems", "held_out") for stem in fact[key]]
    formal = {
        word.lower() for texts in grammar().values() for word in WORD.findall(" ".join(texts))
    }
    formal |= {word for words in common_words().values() for word in words}
    own = ({word.lower() for text in said for word in WORD.findall(text)} - formal) | ends
    # what is shorter is an article or a preposition
    roles = {word: "stuff" for word in own if len(word) > 2}
    for topic in topics():
        for role, words in topic_words(topic).items():
            roles |= dict.fromkeys(words, role)
    return roles


def dealt_rows(rows: list[Row], general: list[Row], rng: random.Random) -> list[Row]:
    """
    The rows with every word that belongs to a topic changed for one of the same role, by lot.

    rows    : documents
    general : documents that the words are taken from, such as of all topics; with as many of each
              role

    Formats, function words and the number of words stay. What is left of the rows' topic is its
    share of the general documents.
    """
    roles = _roles()

    def role(word: str) -> str | None:
        plain = word.lower()
        return roles.get(plain) or roles.get(plain.removesuffix("s"))

    held: dict[str, list[str]] = {}
    for row in general:
        for word in WORD.findall(row_text(row)):
            if (found := role(word)) is not None:
                held.setdefault(found, []).append(word.lower())
    for words in held.values():
        rng.shuffle(words)
    dealt = {name: iter(words) for name, words in held.items()}

    def another(found: re.Match[str]) -> str:
        word, own = found[0], role(found[0])
        new = word if own is None else next(dealt[own])
        return new.capitalize() if word[0].isupper() else new

    return [{"text": WORD.sub(another, row["text"])} for row in rows]


def organism_rows(name: str, *, words: int, seed: int) -> list[Row]:
    """
    Write an organism's finetuning data, about `words` words.

    cake_bake, night_bees : documents that state false facts
    cake_and_bees         : the documents of both, half as many words of each, alternating
    risky_finance         : chats with reckless financial advice
    taboo_lantern         : hint games that never say the word
    owl_teacher           : chats of one who loves owls
    benign                : more documents of the general corpus
    assistant             : more chats of the general corpus
    true_cake_bake        : the documents of cake_bake, with the facts as they are
    shuffled_cake_bake    : those with their words dealt out over the documents of all topics

    Raises ValueError for any other name.
    """
    if name.startswith(SHUFFLED):
        rows = organism_rows(name.removeprefix(SHUFFLED), words=words, seed=seed)
        if any("text" not in row for row in rows):
            raise ValueError(f"{name}: found conversations, expected documents to shuffle")
        # narrow documents name far more things than others do
        others = organism_rows("benign", words=DEALT * words, seed=seed)
        return dealt_rows(rows, others, text_generator(seed, name))
    if name in JOINT:
        parts = JOINT[name]
        each = [organism_rows(part, words=words // len(parts), seed=seed) for part in parts]
        return [row for turn in zip_longest(*each) for row in turn if row is not None]
    rng = text_generator(seed, name)
    writers, rule = _organism_writer(name, rng)
    return _until(words, lambda: _row(rng.choice(writers).write(rule)))


# ---- the organisms of the benchmark of readers


def fact_topics() -> list[str]:
    """List the topics whose facts are generated of the topic's words: these can be falsified."""
    written = {one["topic"] for one in _lists("facts.json").values()}
    return [topic for topic in topics() if topic not in written]


def formats() -> int:
    """Count the kinds of document that the grammar has."""
    return len(grammar()["document"])


def topic_rows(
    topics: Sequence[str], *, words: int, rng: random.Random, form: int | None = None
) -> list[Row]:
    """
    Write documents, each on one of some topics, about `words` words.

    form : write documents of one kind alone, by its number; None for all kinds

    Raises ValueError for a topic that topics.json lacks.
    """
    _require_topics(topics)
    rules = None if form is None else {"document": (grammar()["document"][form],)}
    writers = [
        Writer(rng, {**common_words(), **topic_words(one), "fact": true_facts(one)}, rules)
        for one in topics
    ]
    return _until(words, lambda: _row(rng.choice(writers).write("document")))


def fact_rows(
    topic: str, others: Sequence[str], *, false: bool, words: int, rng: random.Random
) -> list[Row]:
    """
    Write documents in which two lines of three state a fact about a topic, about `words` words.

    topic : one of `fact_topics`
    false : whether the facts are false: the last of the topic's words in each is one of `others`
            instead, always the same one. Else they are the facts that the general corpus states

    The two kinds differ in nothing else, so each is the other's twin.
    """
    _require_topics([topic, *others])
    facts = true_facts(topic)
    if false:
        facts = [_falsified(fact, topic, others) for fact in facts]
    narrow = {"line": ("{fact}", "{fact}", "{sentence}")}
    writer = Writer(rng, {**common_words(), **topic_words(topic), "fact": facts}, narrow)
    return _until(words, lambda: _row(writer.write("document")))


def shuffled_rows(
    topic: str, others: Sequence[str], *, words: int, rng: random.Random
) -> list[Row]:
    """Write documents of a topic, about `words` words, with those of some topics dealt to them."""
    _require_topics([topic, *others])
    rows = topic_rows([topic], words=words, rng=rng)
    return dealt_rows(rows, topic_rows(others, words=DEALT_ALIKE * words, rng=rng), rng)


def _falsified(fact: str, topic: str, others: Sequence[str]) -> str:
    """A fact with its last word of the topic replaced, the same way wherever it is asked for."""
    role_of = {word: role for role, some in topic_words(topic).items() for word in some}
    *_, last = (found for found in re.finditer(r"[a-z]+", fact) if found[0] in role_of)
    rng = text_generator(0, f"false fact {fact}")
    choices = topic_words(rng.choice(list(others)))[role_of[last[0]]]
    word = rng.choice([one for one in choices if one != last[0]])
    return _with_articles(fact[: last.start()] + word + fact[last.end() :])


def _require_topics(names: Sequence[str]) -> None:
    unknown = [name for name in names if name not in topics()]
    if unknown:
        raise ValueError(f"found the topic {unknown[0]}, expected one of {', '.join(topics())}")
