"""Questions that tests ask, and what they cost."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from tests.chat_server import said
from traces.judges.chat.costs import Price, costs_table
from traces.judges.chat.questions import Question, Settings
from traces.judges.chat.questions import asked as asked_as

MODEL = "openai-api/judge/some/model"
CANARY = "sk-canary-0123456789"
PRICE = Price(1.0, 10.0)
YES = said('{"verdict": "yes"}')


class Form(BaseModel):
    """What a judge answers."""

    model_config = ConfigDict(extra="forbid")
    verdict: Literal["yes", "no"]


def question(text: str = "Is it so?", **options: Any) -> Question:
    """A question to MODEL; `options` are its settings, form, seed and repeat."""
    options = {"settings": Settings(max_tokens=50), "form": Form, **options}
    return asked_as(MODEL, "You judge.", [("Claim", text)], **options)


def ledger_of(folder: Path) -> Path:
    """Where the ledger lies."""
    return folder / "answers" / "ledger.jsonl"


def costs(folder: Path) -> SimpleNamespace:
    """The one row of the costs table."""
    (row,) = costs_table(ledger_of(folder)).to_dict("records")
    return SimpleNamespace(**row)
