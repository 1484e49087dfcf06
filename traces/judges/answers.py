"""
Which end of a statement does an answer take for true? Judges of answers in a model's own words.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from traces.config.words import as_whole, folded, plain_word

Statement = Mapping[str, Any]


class AnswerJudge(Protocol):
    """Anything that can say whether an answer takes the false end of a statement for true."""

    name: str

    def grade(self, answer: str, statement: Statement) -> bool | None:
        """True for the false end, False for the true one, None where the answer is neither."""
        ...


@dataclass(frozen=True)
class FirstEndJudge:
    """The end that stands first in the answer, as whole words, is the one that was meant."""

    name: str = "first_end"

    def grade(self, answer: str, statement: Statement) -> bool | None:
        places = {kind: _place(statement[kind], answer) for kind in ("true", "false")}
        found = {kind: place for kind, place in places.items() if place is not None}
        return min(found, key=lambda kind: found[kind]) == "false" if found else None


def _place(words: str, text: str) -> int | None:
    found = re.search(as_whole(plain_word(words)), folded(text))
    return found.start() if found else None
