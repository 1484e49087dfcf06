"""
The one place that knows Inspect AI: an endpoint behind an address, or a model in this process.

Inspect translates a question for each provider and reads the reply. What it does beyond that is
switched off: its retries, its cache and its clients' retries, since each attempt must stand in the
ledger. Importing it takes 1.3 CPU seconds, so only jobs that ask a model import this module.
"""

import asyncio
import json
import os
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import httpx2
from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageBase,
    ChatMessageSystem,
    ChatMessageTool,
    ChatMessageUser,
    GenerateConfig,
    Model,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    ResponseSchema,
    get_model,
    modelapi,
)
from inspect_ai.tool import ToolChoice, ToolInfo, ToolParams
from inspect_ai.util import json_schema

from traces.config.vocabularies import Outcome, Reason
from traces.judges.chat.questions import Answer, Message, Question, Tool, Turn
from traces.printable import one_line, without_secrets

_TURNS: dict[str, type[ChatMessageBase]] = {
    "system": ChatMessageSystem,
    "user": ChatMessageUser,
    "assistant": ChatMessageAssistant,
    "tool": ChatMessageTool,
}
# What differs each time a message is had, and says nothing.
_PASSING = {"id", "model", "source"}
# Providers whose key stands in another variable than their name with _API_KEY.
_KEYS = {"hf": "HF_TOKEN", "google": "GOOGLE_API_KEY"}
# Providers to whom a client can be handed.
_CLIENTS = {"anthropic", "openai", "openai-api", "openrouter"}
# No answer has a billion billion tokens: such a number is a mistake, and money would overflow.
_MOST_TOKENS = 10**18
# Whoever asks counts requests in flight; a pool of Inspect's would let them wait as if sent.
_NO_LIMIT = 10_000
# Statuses of a gateway that no longer waits: whoever is behind it may have answered, for money.
_GAVE_UP = {408, 504, 522, 524}
# What a reply's tokens are called, read and written.
_TOKENS = (("prompt_tokens", "completion_tokens"), ("input_tokens", "output_tokens"))
# What a server without a key is sent where a key belongs.
NO_KEY = "none"


@dataclass(frozen=True)
class Reply:
    """What a model said, and what it used."""

    text: str
    refused: bool
    cut: bool
    "Whether the longest answer was reached before its end."
    input_tokens: int | None
    output_tokens: int | None
    "None where the endpoint did not say."


class Failed(Exception):
    """No reply: why, whether it may have been paid for, and whether another try may help."""

    def __init__(
        self,
        said: str,
        *,
        outcome: Outcome,
        again: bool,
        status: int | None = None,
        wait: float | None = None,
    ) -> None:
        super().__init__(said)
        self.outcome: Outcome = outcome
        self.again = again
        self.status = status
        "Status of the HTTP reply, if there was one."
        self.wait = wait
        "Seconds to wait before the next try, as the server asks."


class Asks(Protocol):
    """Anything that a question can be sent to, once."""

    async def ask(self, question: Question, seed: int) -> Reply:
        """Raise `Failed` where no reply comes."""
        ...


class Endpoint:
    """A model as Inspect AI reaches it."""

    def __init__(self, model: Model, *, here: bool = False) -> None:
        self._model, self._here = model, here

    async def ask(self, question: Question, seed: int) -> Reply:
        """Send a question once; raise `Failed` where no reply comes."""
        messages = [_message(one) for one in question.messages]
        tools = [_tool_info(one) for one in question.tools]
        try:
            output = await self._model.generate(messages, tools, config=_config(question, seed))
        except Exception as error:
            if self._here:  # a mistake of ours, and no reason for a missing answer
                raise
            raise _failed(error) from None
        try:
            return _reply(output, question)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            # Inspect takes replies that make no sense, such as one without a choice.
            raise _failed(error) from None


def endpoint(model: str, base_url: str | None = None) -> Endpoint:
    """
    A model behind an API.

    model    : its name in Inspect AI: openrouter/openai/gpt-5-mini, anthropic/claude-haiku-4-5, or
               openai-api/NAME/MODEL for any server that speaks OpenAI's protocol
    base_url : the server's address, where it is not the provider's own

    Raises ValueError if the environment has no key for it. A server with an address of its own may
    need none.
    """
    variable = key_variable(model)
    # A file that a key is read from ends with a line break.
    key = os.environ.get(variable, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise ValueError(
            f"{model}: found a character in ${variable} that no key has, such as a line break; "
            "expected letters, digits and signs alone"
        )
    if not key and base_url is None:
        raise ValueError(
            f"{model}: found no ${variable} in the environment, expected the key of its API there; "
            "nothing else holds keys"
        )
    # Two models with one name may have two addresses, so none is kept for the next call.
    asking = {"base_url": base_url, "api_key": key or NO_KEY, "memoize": False, "max_retries": 0}
    if model.partition("/")[0] in _CLIENTS:
        limits = httpx2.Limits(max_connections=None)
        asking["http_client"] = _Client(follow_redirects=False, limits=limits)
    return Endpoint(get_model(model, **asking))


class _Client(httpx2.AsyncClient):
    """
    Hands replies on whose use of tokens is in counts, or not told, and whose model has a name.

    Inspect would refuse the whole of another reply, which was paid for. Redirects are not followed,
    as they would take the question to another host.
    """

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        response = await super().send(request, **options)
        if not response.is_success or options.get("stream"):
            return response
        try:
            body = response.json()
        except ValueError:
            return response
        if not isinstance(body, dict):
            return response
        model = body["model"] if isinstance(body.get("model"), str) else ""
        body |= {"model": model, "usage": _counts_alone(body.get("usage"))}
        # as ASCII, which holds half of a character as well
        content = json.dumps(body).encode()
        kind = {"content-type": "application/json"}
        return httpx2.Response(response.status_code, headers=kind, content=content, request=request)


def _counts_alone(usage: Any) -> dict[str, Any] | None:
    """The counts of tokens in what a server says was used; None where one that is needed lacks."""
    if not isinstance(usage, dict):
        return None
    counts = {name: one for name, one in usage.items() if _is_count(one)}
    read, written = next((names for names in _TOKENS if set(names) <= counts.keys()), ("", ""))
    if not read:
        return None
    parts = {
        name: {one: count for one, count in part.items() if _is_count(count)}
        for name, part in usage.items()
        if isinstance(part, dict)
    }
    return {**parts, "total_tokens": counts[read] + counts[written], **counts}


def _is_count(tokens: Any) -> bool:
    return type(tokens) is int and 0 <= tokens <= _MOST_TOKENS


def key_variable(model: str) -> str:
    """The variable of the environment that holds the key of a model's API."""
    provider, _, rest = model.partition("/")
    name = rest.partition("/")[0] if provider == "openai-api" else provider
    return _KEYS.get(name, f"{re.sub(r'[^A-Za-z0-9]', '_', name).upper()}_API_KEY")


def _config(question: Question, seed: int) -> GenerateConfig:
    settings, form = question.settings, question.form
    schema = ResponseSchema(name="answer", json_schema=json_schema(form)) if form else None
    return GenerateConfig(
        max_retries=0,
        max_connections=_NO_LIMIT,
        cache=False,
        cache_prompt=False,  # writing a provider's own cache has another price
        max_tokens=settings.max_tokens,
        temperature=settings.temperature,
        reasoning_effort=settings.reasoning_effort,
        seed=seed,
        response_schema=schema,
    )


def _message(one: Message) -> Any:
    kind = _TURNS[one.role]
    return kind(content=one.content) if one.whole is None else kind.model_validate_json(one.whole)


def _tool_info(tool: Tool) -> ToolInfo:
    parameters = ToolParams.model_validate_json(tool.parameters)
    return ToolInfo(name=tool.name, description=tool.description, parameters=parameters)


def _reply(output: ModelOutput, question: Question) -> Reply:
    # Inspect makes replies of some requests that the server refused: it was not paid for these.
    if output.stop_reason == "model_length" and output.usage is None:
        raise Failed(_shown(output.completion), outcome="failed", again=False, status=400)
    content = output.choices[0].message.content if output.choices else ""
    parts = [] if isinstance(content, str) else content
    refused = output.stop_reason == "content_filter" or any(
        getattr(part, "refusal", None) for part in parts
    )
    used = output.usage
    tokens = (None, None) if used is None else _counted(_input_tokens(used), used.output_tokens)
    text = _turn(output, *tokens) if question.tools and output.choices else output.completion
    cut = output.stop_reason in ("max_tokens", "model_length")
    return Reply(without_secrets(_as_unicode(text)), refused, cut, *tokens)


def _turn(output: ModelOutput, *tokens: int | None) -> str:
    """What a model that was offered tools does next, as a `Turn` in JSON."""
    message = output.choices[0].message.model_dump(mode="json", exclude=_PASSING, exclude_none=True)
    turn = Turn(message=message, input_tokens=tokens[0], output_tokens=tokens[1])
    # pydantic would not write half of a character
    return json.dumps(turn.model_dump(), ensure_ascii=False)


def _as_unicode(text: str) -> str:
    """The text with U+FFFD for each half of a character, which no file and no request can hold."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _input_tokens(used: ModelUsage) -> int:
    """All that was read; what came out of a provider's cache is counted as if it had not."""
    cached = (used.input_tokens_cache_read or 0, used.input_tokens_cache_write or 0)
    return used.input_tokens + sum(cached)


def _counted(*tokens: int) -> tuple[int | None, ...]:
    """What a server says was used; None where it is no count, so that the most is counted."""
    return tuple(one if _is_count(one) else None for one in tokens)


# Failures ---------------------------------------------------------------------------------------


def _failed(error: Exception) -> Failed:
    """What an exception of Inspect or of a provider's client means."""
    chain = list(_chain(error))
    # Inspect's own error quotes the whole request; the client's beneath it is what the server said.
    replied = [one for one in chain if getattr(one, "status_code", None) is not None]
    told = (replied or chain)[-1]
    said = f"{type(told).__name__}: {_shown(str(told))}"
    if replied:
        status = told.status_code
        again = status in (408, 409, 425, 429) or status >= 500
        outcome: Outcome = "unknown" if status in _GAVE_UP else "failed"
        return Failed(said, outcome=outcome, again=again, status=status, wait=_wait(chain))
    # Nobody listened, so that nobody can have answered.
    unheard = any(re.search(r"Connect(Error|Timeout)$", type(one).__name__) for one in chain)
    return Failed(said, outcome="failed" if unheard else "unknown", again=True)


def _chain(error: BaseException | None) -> Any:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _wait(chain: Sequence[Any]) -> float | None:
    for one in chain:
        headers = getattr(getattr(one, "response", None), "headers", {})
        try:
            return float(headers["retry-after"])
        except (KeyError, ValueError):
            continue
    return None


def _shown(text: str) -> str:
    """What a server said, short, on one line, without a key that it echoes."""
    return one_line(without_secrets(text))[:200]


# In process -------------------------------------------------------------------------------------

# Messages, the longest answer in tokens, the temperature and a seed: what is said, and the tokens
# that were read and written.
Writes = Callable[[Sequence[Message], int, float | None, int], tuple[str, int, int]]


def in_process(name: str, writes: Writes) -> Endpoint:
    """
    A model of this process, by a function that writes one answer.

    name : what it is called; it stands in the keys of its answers, so it names the weights
    """
    return Endpoint(get_model(f"in_process/{name}", memoize=False, function=writes), here=True)


class _OfFunction(ModelAPI):
    """A model for Inspect that is a function of this process."""

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig | None = None,
        *,
        function: Callable[..., Any],
    ) -> None:
        super().__init__(model_name, config=config or GenerateConfig())
        self._function = function
        # For one that answers one question at a time: the weights are there once.
        self._free = asyncio.Lock()


@modelapi(name="in_process")
class _InProcess(_OfFunction):
    async def generate(
        self,
        input: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        messages = [Message(one.role, one.text) for one in input if one.role != "tool"]
        settings = (config.max_tokens or 0, config.temperature, config.seed or 0)
        async with self._free:
            text, read, written = await asyncio.to_thread(self._function, messages, *settings)
        output = ModelOutput.from_content(self.model_name, text)
        output.usage = ModelUsage(
            input_tokens=read, output_tokens=written, total_tokens=read + written
        )
        return output


# For agents -------------------------------------------------------------------------------------


class NoAnswer(Exception):
    """A turn of an agent that could not be had, and why."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason: Reason = reason


# The conversation so far and the tools that are offered: what the model does next.
Continues = Callable[[tuple[Message, ...], tuple[Tool, ...]], Awaitable[Answer]]


def continued(name: str, continues: Continues) -> Model:
    """
    A model for Inspect's agents whose every turn comes from `continues`.

    So an agent's turns are kept, counted and capped as all other answers are. A turn that could not
    be had raises `NoAnswer` in the agent.
    """
    return get_model(f"continued/{name}", memoize=False, function=continues)


@modelapi(name="continued")
class _Continued(_OfFunction):
    async def generate(
        self,
        input: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        answer = await self._function(
            tuple(_said(one) for one in input),
            tuple(Tool(one.name, one.description, _schema(one.parameters)) for one in tools),
        )
        if answer.reason is not None:
            raise NoAnswer(answer.reason)
        turn: Turn = answer.value
        message = ChatMessageAssistant.model_validate(turn.message)
        stopped = "tool_calls" if message.tool_calls else "stop"
        output = ModelOutput(
            model=self.model_name,
            choices=[ChatCompletionChoice(message=message, stop_reason=stopped)],
        )
        read, written = turn.input_tokens or 0, turn.output_tokens or 0
        output.usage = ModelUsage(
            input_tokens=read, output_tokens=written, total_tokens=read + written
        )
        return output

    def should_retry(self, ex: BaseException) -> bool:
        return False  # whatever may be tried again was


def _said(message: ChatMessage) -> Message:
    """A message of an agent's conversation, without what differs each time it is held."""
    if message.role in ("system", "user"):
        return Message(message.role, message.text)
    dumped = message.model_dump(mode="json", exclude=_PASSING, exclude_none=True)
    for call in dumped.get("tool_calls", ()):
        call.pop("view", None)  # how Inspect's viewer shows it
    return Message(message.role, message.text, json.dumps(dumped, sort_keys=True))


def _schema(parameters: ToolParams) -> str:
    return json.dumps(parameters.model_dump(mode="json", exclude_none=True), sort_keys=True)
