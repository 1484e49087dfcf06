"""A scripted server, and questions asked of it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict

from tests.chat_server import ChatServer, said
from traces.judges.chat import asking, models
from traces.judges.chat.asking import Asking, Patience
from traces.judges.chat.cache import Cache
from traces.judges.chat.costs import Price, costs_table
from traces.judges.chat.ledger import Ledger
from traces.judges.chat.questions import Question, Settings
from traces.judges.chat.questions import asked as asked_as

MODEL = "openai-api/judge/some/model"
CANARY = "sk-canary-0123456789"
PRICE = Price(1.0, 10.0)


class Form(BaseModel):
    """What a judge answers."""

    model_config = ConfigDict(extra="forbid")
    verdict: Literal["yes", "no"]


def question(text: str = "Is it so?", **options: Any) -> Question:
    options = {"settings": Settings(max_tokens=50), "form": Form, **options}
    return asked_as(MODEL, "You judge.", [("Claim", text)], **options)


YES = said('{"verdict": "yes"}')


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    """The key of every test, and no long waits."""
    monkeypatch.setenv("JUDGE_API_KEY", CANARY)
    monkeypatch.setattr(asking, "FIRST_WAIT", 0.01)


@pytest.fixture
def server() -> Iterator[ChatServer]:
    """A server that says yes until its `script` is set."""
    with ChatServer(lambda _number, _body: YES).serving() as serving:
        yield serving


@pytest.fixture
def ask(server, tmp_path) -> Callable[..., Any]:
    """Ask the server: questions to their answers, in a job of its own each time."""

    def ask(
        questions: list[Question], *, cap: float | None = None, price: Price | None = PRICE,
        model: Any = None, **patience: Any
    ) -> list[Any]:  # fmt: skip
        given = {"tries": 3, "attempts": 3, "timeout": 5.0, "at_once": 4, **patience}
        ledger = Ledger(ledger_of(tmp_path), cap=cap, about={"stage": "judge", "checkpoint": "one"})
        answering = {MODEL: model or models.endpoint(MODEL, server.url)}
        cache = Cache(tmp_path / "answers")
        with Asking(answering, {MODEL: price}, cache, ledger, Patience(**given)) as asking_:
            return asking_.answers(questions)

    return ask


def ledger_of(folder: Path) -> Path:
    return folder / "answers" / "ledger.jsonl"


def costs(folder: Path) -> SimpleNamespace:
    """The one row of the costs table."""
    (row,) = costs_table(ledger_of(folder)).to_dict("records")
    return SimpleNamespace(**row)
