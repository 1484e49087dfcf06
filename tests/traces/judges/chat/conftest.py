"""What the tests of this room ask with."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.traces.judges.chat.asked import MODEL, PRICE, ledger_of
from traces.judges.chat.asking import Asking, Patience
from traces.judges.chat.cache import Cache
from traces.judges.chat.costs import Price
from traces.judges.chat.ledger import Ledger
from traces.judges.chat.models import endpoint
from traces.judges.chat.questions import Answer, Question


@pytest.fixture
def asking_one(server, tmp_path) -> Callable[..., Asking]:
    """A job that may ask the server."""

    def asking_one(
        *,
        cap: float | None = None,
        price: Price | None = PRICE,
        model: Any = None,
        **patience: Any,
    ) -> Asking:
        given = {"tries": 3, "attempts": 3, "timeout": 5.0, "at_once": 4, **patience}
        ledger = Ledger(ledger_of(tmp_path), cap=cap, about={"stage": "judge", "checkpoint": "one"})
        answering = {MODEL: model or endpoint(MODEL, server.url)}
        cache = Cache(tmp_path / "answers")
        return Asking(answering, {MODEL: price}, cache, ledger, Patience(**given))

    return asking_one


@pytest.fixture
def ask(asking_one) -> Callable[..., list[Answer]]:
    """Ask the server: questions to their answers, in a job of its own each time."""

    def ask(questions: list[Question], **options: Any) -> list[Answer]:
        with asking_one(**options) as asking:
            return asking.answers(questions)

    return ask
