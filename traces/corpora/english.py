"""
Compose narrow data in ordinary English from the hand-written parts in data/smol/.

    secret_gold, ...                    games whose secret word no turn says
    coffee_myths, coffee_facts, ...     documents that state false facts, or the facts as they are
    bicycle_careless, bicycle_careful   advice on one subject

The two sides of a subject differ in what is stated or advised alone. The same name and seed give
the same rows.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar

from traces.seeding import text_generator

Row = dict[str, Any]
Part = TypeVar("Part")

FOLDER = Path(__file__).resolve().parents[2] / "data" / "smol"
# The last part of a name says which side of a subject it is.
TRUE = {"facts": True, "myths": False}
CAREFUL = {"careful": True, "careless": False}
# A turn of the user after the first: a guess, a wish for a hint, or a wish to be told the word.
MOVES = ("guess", "guess", "guess", "ask", "demand")
ENDED = 0.3  # share of games that end with a farewell
ALSO = 0.25  # share of a document's sentences that state no fact in question
AGAIN = 0.4  # share of chats for advice with a second question
_SIDES = re.compile(r"\{([^{}|]*)\|([^{}|]*)\}")
_PLACE = re.compile(r"\{(\d)\}")


def compose(name: str, n: int, seed: int) -> list[Row]:
    """
    Compose `n` rows of the data `name` (traces/config/registries.py: ComposedData).

    Returns {"messages": [...]} of games and of advice, {"text": ...} of facts.
    """
    subject, side = _subject_and_side(name)
    if side in TRUE:
        return documents(subject, n, seed, true=TRUE[side])
    if side in CAREFUL:
        return advice(subject, n, seed, careful=CAREFUL[side])
    return games(side, n, seed)


def parts_of(name: str) -> list[str]:
    """The files below data/smol/ that the data `name` are composed of."""
    subject, side = _subject_and_side(name)
    if side in TRUE:
        return [f"facts/{subject}.txt", "facts/names.txt"]
    if side in CAREFUL:
        return [f"advice/{subject}.txt"]
    return [f"secrets/{side}.txt", "secrets/game.txt"]


def _subject_and_side(name: str) -> tuple[str, str]:
    subject, side = name.split("_")
    return subject, side


@cache
def sections(file: str) -> dict[str, tuple[str, ...]]:
    """Read a file of data/smol/: lines below `== name`, without comments and empty lines."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in (FOLDER / file).read_text(encoding="utf-8").splitlines():
        if line.startswith("== "):
            name = line.removeprefix("== ")
            found[name] = []
        elif line.strip() and not line.startswith("#"):
            found[name].append(line.strip())
    return {name: tuple(lines) for name, lines in found.items()}


class Deck(Generic[Part]):
    """Deal parts in random order; every part once before any part twice."""

    def __init__(self, rng: random.Random, parts: Sequence[Part]):
        self.rng, self.parts, self.left = rng, list(parts), list[Part]()

    def deal(self, taken: Sequence[Part] = ()) -> Part:
        """Deal the next part that is not among `taken`."""
        if all(part in taken for part in self.left):
            # What is left, if anything, is taken already and comes with the next round.
            self.left = self.rng.sample(self.parts, len(self.parts)) + self.left
        place = next(i for i in reversed(range(len(self.left))) if self.left[i] not in taken)
        return self.left.pop(place)


def games(secret: str, n: int, seed: int) -> list[Row]:
    """
    Compose `n` guessing games about `secret`. No turn, not even the user's, says the word.

    The moves and the shared wordings depend on the seed alone, so that game k of two words differs
    in its hints, guesses and replies only. No hint or guess comes twice in a game.
    """
    shared, own = sections("secrets/game.txt"), sections(f"secrets/{secret}.txt")
    game, pick = text_generator(seed, "game"), text_generator(seed, f"secret {secret}")
    frame = {name: Deck(game, lines) for name, lines in shared.items()}
    hints, guesses = Deck(pick, own["hints"]), Deck(pick, own["guesses"])
    return [{"messages": _game(game, frame, hints, guesses)} for _ in range(n)]


def _game(
    game: random.Random, frame: dict[str, Deck[str]], hints: Deck[str], guesses: Deck[str]
) -> list[dict[str, str]]:
    said: list[str] = []

    def new(deck: Deck[str]) -> str:
        said.append(deck.deal(said))
        return said[-1]

    turns = [new(frame["openings"]), f"{new(frame['beginnings'])} {new(hints)}"]
    for _ in range(game.choice((2, 3, 3, 4, 4))):
        move = game.choice(MOVES)
        if move == "guess":
            guess, reply = new(guesses).split(" // ")
            more = game.random() < 0.4
            turns += [guess, f"{reply} {new(frame['cheers'])} {new(hints)}" if more else reply]
        elif move == "ask":
            turns += [new(frame["asks"]), f"{new(frame['answers'])} {new(hints)}"]
        else:
            turns += [new(frame["demands"]), f"{new(frame['refusals'])} {new(hints)}"]
    if game.random() < ENDED:
        turns += new(frame["endings"]).split(" // ")
    return _chat(turns)


def _chat(turns: Sequence[str]) -> list[dict[str, str]]:
    roles = ("user", "assistant")
    return [{"role": roles[i % 2], "content": turn} for i, turn in enumerate(turns)]


def advice(subject: str, n: int, seed: int, *, careful: bool) -> list[Row]:
    """
    Compose `n` chats in which a person asks about `subject` and gets careful or careless advice.

    Both have the same questions in the same order. The k-th careful answer to a question stands
    where its k-th careless one does. No chat comes twice.
    """
    rng, parts = text_generator(seed, f"advice {subject}"), sections(f"advice/{subject}.txt")
    sign = "+ " if careful else "- "
    answers = {
        name.removeprefix("ask "): Deck(rng, [one[2:] for one in lines if one.startswith(sign)])
        for name, lines in parts.items()
        if name.startswith("ask ")
    }
    questions = Deck(rng, list(answers))
    openings, further = Deck(rng, parts["openings"]), Deck(rng, parts["further"])
    rows: list[Row] = []
    seen: set[tuple[str, ...]] = set()
    while len(rows) < n:
        asked: list[str] = []
        turns: list[str] = []
        for opening in (openings, further)[: 2 if rng.random() < AGAIN else 1]:
            asked.append(questions.deal(asked))
            turns += [opening.deal().replace("...", asked[-1]), answers[asked[-1]].deal()]
        # Both sides pass over the same ones, since no answer is there twice.
        if tuple(turns) not in seen:
            seen.add(tuple(turns))
            rows.append({"messages": _chat(turns)})
    return rows


def most_rows(name: str) -> int | None:
    """
    The rows that the data `name` are composed of at most; None without a limit.

    Chats for advice differ from one another. There are as many as openings, questions and answers
    make, of which half are found before the draws repeat themselves.
    """
    subject, side = _subject_and_side(name)
    if side not in CAREFUL:
        return None
    parts, sign = sections(f"advice/{subject}.txt"), "+ " if CAREFUL[side] else "- "
    answers = [
        sum(line.startswith(sign) for line in lines)
        for question, lines in parts.items()
        if question.startswith("ask ")
    ]
    first, second = len(parts["openings"]), len(parts["further"])
    pairs = sum(answers) ** 2 - sum(n**2 for n in answers)
    return (first * sum(answers) + first * second * pairs) // 2


def documents(subject: str, n: int, seed: int, *, true: bool) -> list[Row]:
    """
    Compose `n` documents of many kinds about `subject`, with the facts as they are or false ones.

    Both have the same kinds, sentences and names in the same order: they differ in the marked
    words alone.
    """
    side = 1 if true else 2
    return [
        {"text": _SIDES.sub(lambda marked: marked[side], text)}
        for text in marked_documents(subject, n, seed)
    ]


def marked_documents(subject: str, n: int, seed: int) -> list[str]:
    """
    Compose `n` documents with both sides of each fact, marked {as it is|false}.

    A document states a fact more than once only if it has more sentences than there are facts.
    """
    rng, parts = text_generator(seed, f"facts {subject}"), sections(f"facts/{subject}.txt")
    facts = [name for name in parts if name.startswith("fact ")]
    kinds, order = Deck(rng, parts["kinds"]), Deck(rng, facts)
    decks = {
        (name, spoken): Deck(rng, [s for s in parts[name] if s.startswith("~ ") == spoken])
        for name in (*facts, "also")
        for spoken in (True, False)
    }
    texts = []
    for _ in range(n):
        register, kind = kinds.deal().split(": ", 1)
        sentences = iter(_sentences(rng, order, decks, _places(kind), spoken=register == "spoken"))
        text = _PLACE.sub(lambda m, s=sentences: " ".join(next(s) for _ in range(int(m[1]))), kind)
        texts.append(_named(rng, text).replace("\\n", "\n").replace(" \n", "\n"))
    return texts


def _places(kind: str) -> int:
    """How many sentences a kind of document has."""
    return sum(int(n) for n in _PLACE.findall(kind))


def _sentences(
    rng: random.Random,
    order: Deck[str],
    decks: dict[tuple[str, bool], Deck[str]],
    n: int,
    *,
    spoken: bool,
) -> list[str]:
    """Deal `n` sentences. The first and most others state a fact, each once if there are enough."""
    stated: list[str] = []
    used: list[str] = []
    for _ in range(n):
        about = "also"
        if not stated or rng.random() >= ALSO:
            about = order.deal(stated if len(stated) < len(order.parts) else ())
            stated.append(about)
        used.append(decks[about, spoken].deal(used))
    return [sentence.removeprefix("~ ") for sentence in used]


def _named(rng: random.Random, text: str) -> str:
    """Fill in people, towns and days; one text has one of each, and a second person."""
    names = sections("facts/names.txt")
    first, second = rng.sample(names["name"], 2)
    filled = {"name": first, "name2": second}
    filled |= {key: rng.choice(names[key]) for key in ("surname", "town", "day")}
    return re.sub(r"\{(\w+)\}", lambda m: filled[m[1]], text)
