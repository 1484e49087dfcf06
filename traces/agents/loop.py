"""
A model investigates: Inspect AI's agent loop, with every turn kept, counted and capped by us.

The one place that knows Inspect's agents, tasks and logs. A run is one sample of a task. It ends
with what the model submits, with a limit, or with the reason why a turn could not be had. Inspect's
own retries and cache are off, as its models ask through traces/judges/chat.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inspect_ai import Task, eval
from inspect_ai.agent import AgentPrompt, AgentState, AgentSubmit, react, run
from inspect_ai.dataset import Sample
from inspect_ai.model import ChatMessageTool
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.tool import ToolDef, ToolError
from inspect_ai.util import time_limit

from traces.agents.tools import Bench, Refused, Tools
from traces.config.schema import AgentLimits
from traces.config.vocabularies import Reason, Unfinished
from traces.judges.chat.models import Continues, NoAnswer, continued

# What a model reads where it neither calls a tool nor submits, and before its last turn.
GO_ON = "Call a tool, or call submit with what you have found."
LAST = "This is your last turn. Call submit now, with what you have found so far."


@dataclass
class Investigated:
    """What one run came to."""

    bench: Bench
    turns: int = 0
    output_tokens: int = 0
    reason: Reason | Unfinished | None = "not_run"


@dataclass(frozen=True)
class Run:
    """One run as it is planned."""

    name: str
    "What Inspect's log calls it."
    system: str
    first: str
    "The first message: what the investigator is shown."
    looks: Tools
    "Tools that cost nothing."
    bench: Bench
    continues: Continues
    "What the model does next."
    about: dict[str, Any]
    "What Inspect's log says of it."


def investigated(
    runs: Sequence[Run], limits: AgentLimits, agent_model: str, *, at_once: int, logs: Path
) -> tuple[list[Investigated], Path]:
    """
    Let a model investigate; what each run came to, in order, and Inspect's log of all of them.

    logs : folder that outlives a failed job; what is there already stays
    """
    found = {one.name: Investigated(one.bench) for one in runs}
    planned = {one.name: one for one in runs}

    @solver(name="investigate")
    def investigate() -> Solver:
        async def solve(state: TaskState, generate: Generate) -> TaskState:
            name = str(state.sample_id)
            await _investigate(planned[name], limits, found[name], state)
            return state

        return solve

    task = Task(
        name="investigate",
        dataset=[Sample(id=one.name, input=one.first, metadata=one.about) for one in runs],
        solver=investigate(),
        metadata={"agent_model": agent_model, "limits": limits.model_dump()},
    )
    logs.mkdir(parents=True, exist_ok=True)
    (log,) = eval(
        task,
        model="none/none",
        log_dir=str(logs),
        log_format="eval",
        display="none",
        max_samples=at_once,
        fail_on_error=False,
        retry_on_error=0,
        score=False,
        log_realtime=False,
        ctl_server=False,
    )
    return [found[one.name] for one in runs], Path(log.location)


async def _investigate(one: Run, limits: AgentLimits, found: Investigated, state: TaskState) -> None:
    """One run to its end, whatever ends it."""

    async def goes_on(now: AgentState) -> bool | str:
        found.turns += 1
        usage = now.output.usage
        found.output_tokens += 0 if usage is None else usage.output_tokens
        spent = found.output_tokens >= limits.output_tokens
        if found.turns >= limits.turns or (spent and warned):
            return False
        if found.turns == limits.turns - 1 or spent:
            warned.append(True)
            return LAST
        return True if now.output.message.tool_calls else GO_ON

    warned: list[bool] = []
    tools = one.looks | one.bench.tools()
    submit = _defined("submit", tools.pop("submit"))
    agent = react(
        prompt=AgentPrompt(one.system, None, None, None),
        tools=[_defined(name, tool) for name, tool in tools.items()],
        model=continued(one.name, one.continues),
        submit=AgentSubmit(tool=submit, answer_only=True, keep_in_messages=True),
        on_continue=goes_on,
    )
    try:
        ended, limit = await run(agent, one.first, [time_limit(limits.seconds)])
    except Exception as error:
        found.reason = _reason(error)
    else:
        state.messages, state.output = ended.messages, ended.output
        found.reason = None if one.bench.verdict else "timeout" if limit else _unfinished(ended)
    state.metadata["reason_missing"] = found.reason


def _defined(name: str, tool: Callable[..., Any]) -> ToolDef:
    """A tool as Inspect knows it."""

    async def call(*args: Any, **kwargs: Any) -> str:
        try:
            return await tool(*args, **kwargs)
        except Refused as error:
            raise ToolError(str(error)) from None

    read = ToolDef(tool)
    return ToolDef(call, name, read.description, read.parameters, max_output=0)


def _reason(error: BaseException) -> Reason:
    """Why a turn could not be had; an error of ours is raised."""
    for one in _flat(error):
        if isinstance(one, NoAnswer):
            return one.reason
    raise error


def _flat(error: BaseException) -> Sequence[BaseException]:
    parts = error.exceptions if isinstance(error, BaseExceptionGroup) else (error,)
    return parts if parts == (error,) else [one for part in parts for one in _flat(part)]


def _unfinished(ended: AgentState) -> Reason | Unfinished:
    """Why a run that reached its last turn has no hypothesis: its calls were wrong, or too many."""
    last = []
    for message in reversed(ended.messages):
        if not isinstance(message, ChatMessageTool):
            break
        last.append(message)
    return "malformed" if last and all(one.error for one in last) else "limit"
