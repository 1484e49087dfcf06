"""
Compose narrow data in ordinary English from the hand-written parts in data/smol/.

Guessing games keep a secret word that no turn says. Documents state false facts, or the facts as
they are in the same wordings. The same name and seed give the same rows.
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
SECRETS = (
    *("gold", "leaf", "moon", "ship", "song", "clock"),
    *("salt", "snow", "flame", "bread", "horse", "bridge"),
)
FACTS = ("coffee", "penguins")
# A turn of the user after the first: a guess, a wish for a hint, or a wish to be told the word.
MOVES = ("guess", "guess", "guess", "ask", "demand")
ENDED = 0.3  # share of games that end with a farewell
ALSO = 0.25  # share of a document's sentences that state no fact in question
_SIDES = re.compile(r"\{([^{}|]*)\|([^{}|]*)\}")


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
    roles = ("user", "assistant")
    return [{"role": roles[i % 2], "content": turn} for i, turn in enumerate(turns)]


def documents(topic: str, n: int, seed: int, *, true: bool) -> list[Row]:
    """
    Compose `n` documents of many kinds about `topic`, with the facts as they are or false ones.

    Both have the same kinds, sentences and names in the same order: they differ in the marked
    words alone. A document states a fact more than once only if it has more sentences than facts.
    """
    rng, parts = text_generator(seed, f"facts {topic}"), sections(f"facts/{topic}.txt")
    facts = [name for name in parts if name.startswith("fact ")]
    kinds, order = Deck(rng, parts["kinds"]), Deck(rng, facts)
    decks = {
        (name, spoken): Deck(rng, [s for s in parts[name] if s.startswith("~ ") == spoken])
        for name in (*facts, "also")
        for spoken in (True, False)
    }
    rows = []
    for _ in range(n):
        register, kind = kinds.deal().split(": ", 1)
        stated: list[str] = []
        used: list[str] = []

        def sentence(
            spoken: bool = register == "spoken", stated: list[str] = stated, used: list[str] = used
        ) -> str:
            about = "also"
            if rng.random() >= ALSO:
                about = order.deal(stated if len(stated) < len(facts) else ())
                stated.append(about)
            used.append(decks[about, spoken].deal(used))
            return used[-1].removeprefix("~ ")

        text = re.sub(r"\{(\d)\}", lambda m: " ".join(sentence() for _ in range(int(m[1]))), kind)
        text = _SIDES.sub(lambda m: m[1] if true else m[2], text)
        rows.append({"text": _named(rng, text).replace("\\n", "\n").replace(" \n", "\n")})
    return rows


def _named(rng: random.Random, text: str) -> str:
    """Fill in people, towns and days; one text has one of each, and a second person."""
    names = sections("facts/names.txt")
    first, second = rng.sample(names["name"], 2)
    filled = {"name": first, "name2": second}
    filled |= {key: rng.choice(names[key]) for key in ("surname", "town", "day")}
    return re.sub(r"\{(\w+)\}", lambda m: filled[m[1]], text)
