"""
A question to a model, and what came of it: an answer, or the reason why there is none.

A question's content is all that decides its answer and nothing else. So it has a key by which its
answer is known: neither an address nor a password is part of it.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from traces.config.vocabularies import Effort, Reason
from traces.seeding import named_seed

# Bump when a question is asked in another form: older answers are then not taken for its own.
VERSION = 1


class Message(NamedTuple):
    """One turn of the conversation that a model continues."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    whole: str | None = None
    "JSON of a turn that is more than its text: it calls tools, or is what one of them returned."


class Tool(NamedTuple):
    """A tool that a model may call."""

    name: str
    description: str
    parameters: str
    "JSON schema of its arguments."


class Turn(BaseModel):
    """What a model that was offered tools does next: it says something, calls tools, or both."""

    model_config = ConfigDict(extra="forbid")
    message: dict[str, Any]
    "The turn as Inspect AI has it, without its id."
    input_tokens: int | None
    output_tokens: int | None
    "What it used. A kept turn says the same again, so that limits count it as before."

    @property
    def empty(self) -> bool:
        """Whether it neither says nor calls anything."""
        content = self.message["content"]
        texts = [content] if isinstance(content, str) else [one.get("text", "") for one in content]
        return not (self.message.get("tool_calls") or any(one and one.strip() for one in texts))


@dataclass(frozen=True)
class Settings:
    """How a model writes its answer; what is None is left to the endpoint."""

    max_tokens: int
    "Longest answer, what it thinks beforehand included."
    temperature: float | None = None
    reasoning_effort: Effort | None = None


@dataclass(frozen=True)
class Question:
    """One question to one model."""

    model: str
    "The model by its name in Inspect AI, such as openrouter/openai/gpt-5-mini."
    messages: tuple[Message, ...]
    settings: Settings
    form: type[BaseModel] | None = None
    "What the answer must be, as JSON; None for free text."
    tools: tuple[Tool, ...] = ()
    "What the model may call. With tools the answer is a `Turn`."
    as_it_comes: bool = False
    "Whether any text answers it: also none, half of one, or one that declines."
    seed: int = 0
    repeat: int = 0
    "Which of several answers to the same question, from 0."
    about: str | None = None
    "What else decides the answer: the weights behind a name that says nothing of them."
    organism: str | None = None
    "Whom it is asked for, where a job asks for several; the ledger says so, and no key does."

    @property
    def content(self) -> dict[str, Any]:
        """All that decides the answer, as JSON."""
        return {
            "version": VERSION,
            "model": self.model,
            "messages": [list(one if one.whole else one[:2]) for one in self.messages],
            "settings": vars(self.settings),
            "schema": None if self.form is None else self.form.model_json_schema(),
            "tools": [list(one) for one in self.tools],
            "seed": self.seed,
            "repeat": self.repeat,
            # Only where they are set, so that older answers keep their keys.
            **({"as_it_comes": True} if self.as_it_comes else {}),
            **({} if self.about is None else {"about": self.about}),
        }

    @property
    def key(self) -> str:
        """The SHA-256 of the content, in hex."""
        text = json.dumps(self.content, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    def seed_of(self, number: int) -> int:
        """The seed of the first ask (0), or of one after a malformed answer; 31 bits."""
        return named_seed(self.seed, "ask", self.repeat, number) % 2**31

    def read(self, text: str) -> Any:
        """The answer that a text gives; None where it is malformed."""
        if self.as_it_comes:
            return text
        if not text.strip():
            return None
        if self.form is None and not self.tools:
            return text
        try:
            if self.form is not None:
                inner = _inner(text)
                json.loads(inner, object_pairs_hook=_said_once)
                return self.form.model_validate_json(inner)
            turn = Turn.model_validate_json(text)
        except (ValueError, RecursionError):  # of pydantic, too; of a thousand open brackets
            return None
        return None if turn.empty else turn


def _said_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; ValueError if it says one thing twice, as with two grades in one answer."""
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError("found a key that is there twice")
    return found


def _inner(text: str) -> str:
    """The JSON in a fence of Markdown, which some models put around it."""
    text = text.strip()
    if text.startswith("```") and text.endswith("```"):
        return text[3:-3].removeprefix("json").strip()
    return text


@dataclass(frozen=True)
class Answer:
    """What came of a question: a value, or the reason why there is none."""

    value: Any = None
    "A text, an instance of the question's form, or a `Turn`."
    reason: Reason | None = None

    def __post_init__(self) -> None:
        assert (self.value is None) != (self.reason is None)


def asked(model: str, system: str, parts: Sequence[tuple[str, str]], **options: Any) -> Question:
    """
    A question of instructions and of parts with headings.

    parts   : heading and text of each, such as the hypothesis that is graded
    options : settings, form, seed, repeat
    """
    user = "\n\n".join(f"# {heading}\n\n{text.strip()}" for heading, text in parts)
    return Question(model, (Message("system", system.strip()), Message("user", user)), **options)
