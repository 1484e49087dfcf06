"""
A model investigates: Inspect AI's agent loop, with every turn kept, counted and capped by us.

The one place that knows Inspect's agents, tasks and logs. A run is one sample of a task. It ends
with what the model submits, with a limit, or with the reason why a turn could not be had. Inspect's
own retries and cache are off, as its models ask through traces/judges/chat.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inspect_ai import Task, eval
from inspect_ai.agent import AgentContinue, AgentPrompt, AgentState, AgentSubmit, react, run
from inspect_ai.dataset import Sample
from inspect_ai.log import bundle_log_dir
from inspect_ai.model import ChatMessageTool
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.tool import ToolDef, ToolError
from inspect_ai.util import time_limit

from traces.agents.tools import Bench, Refused, Tools
from traces.config.schema import AgentLimits
from traces.config.vocabularies import VIEWER, Reason, Unfinished
from traces.judges.chat.models import Continues, NoAnswer, continued

# What a model reads where it neither calls a tool nor submits, and before its last turn.
GO_ON = "Call a tool, or call submit with what you have found."
LAST = "This is your last turn. Call submit now, with what you have found so far."


class Broken(Exception):
    """A tool that failed by a mistake of ours or of the machine, which ends the whole job."""


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
    tasks: Mapping[str, Mapping[str, Run]],
    limits: AgentLimits,
    agent_model: str,
    *,
    at_once: int,
    logs: Path,
) -> tuple[dict[tuple[str, str], Investigated], list[Path]]:
    """
    Let a model investigate; what each run came to, by task and run, and Inspect's log of each task.

    tasks : runs by their names, one task after the other, so that each has its own models loaded
    logs  : folder that outlives a failed job; what is there already stays
    """
    found = {(task, name): Investigated(run.bench) for task, runs in tasks.items()
             for name, run in runs.items()}  # fmt: skip
    if not found:
        return found, []
    logs.mkdir(parents=True, exist_ok=True)
    broken: list[Exception] = []
    planned = [
        _task(name, list(runs.values()), _Going(limits, broken, [found[name, one] for one in runs]))
        for name, runs in tasks.items()
    ]
    # Inspect would read keys and settings out of a .env in the working folder or above it.
    os.environ["PYTHON_DOTENV_DISABLED"] = "1"
    # It would write a trace into the user's home, with what servers say and keys that they echo.
    os.environ["INSPECT_TRACE_LEVEL"] = "critical"
    written = eval(
        planned,
        model="none/none",
        log_dir=str(logs),
        log_format="eval",
        display="none",
        max_tasks=1,
        max_samples=at_once,
        metadata={"agent_model": agent_model, "limits": limits.model_dump()},
        # A run that fails is a row with a reason, or an error of ours that is raised below.
        fail_on_error=False,
        retry_on_error=0,
        score=False,
        log_realtime=False,
        ctl_server=False,
    )
    if broken:
        raise broken[0]
    if failed := [log.error.message for log in written if log.error is not None]:
        raise RuntimeError(f"{logs}: {failed[0]}")
    return found, [Path(log.location) for log in written]


@dataclass(frozen=True)
class _Going:
    """What the runs of a task share."""

    limits: AgentLimits
    broken: list[Exception]
    "Errors that are no reasons."
    found: Sequence[Investigated]
    "What each run came to, in order."


def _task(name: str, runs: Sequence[Run], going: _Going) -> Task:
    @solver(name="investigate")
    def investigate() -> Solver:
        async def solve(state: TaskState, generate: Generate) -> TaskState:
            number = int(state.metadata["number"])
            await _investigate(runs[number], going.found[number], going, state)
            return state

        return solve

    samples = [
        Sample(id=one.name, input=one.first, metadata={**one.about, "number": number})
        for number, one in enumerate(runs)
    ]
    return Task(name=name, dataset=samples, solver=investigate())


async def _investigate(one: Run, found: Investigated, going: _Going, state: TaskState) -> None:
    """One run to its end, whatever ends it."""
    tools = one.looks | one.bench.tools()
    submit = _defined("submit", tools.pop("submit"))
    agent = react(
        prompt=AgentPrompt(one.system, None, None, None),
        tools=[_defined(name, tool) for name, tool in tools.items()],
        model=continued(one.name, one.continues),
        submit=AgentSubmit(tool=submit, answer_only=True, keep_in_messages=True),
        on_continue=_turns(found, going.limits),
    )
    try:
        ended, limit = await run(agent, one.first, [time_limit(going.limits.seconds)])
    except Exception as error:
        found.reason = _reason(error)
        if found.reason is None:
            going.broken.append(_cause(error))
            raise
    else:
        state.messages, state.output = ended.messages, ended.output
        found.reason = None if one.bench.verdict else "timeout" if limit else _unfinished(ended)
    state.metadata["reason_missing"] = found.reason


def _turns(found: Investigated, limits: AgentLimits) -> AgentContinue:
    """Count turns and tokens; say when the last turn is, and end after it."""
    warned = False

    async def goes_on(now: AgentState) -> bool | str:
        nonlocal warned
        usage = now.output.usage
        found.turns += 1
        found.output_tokens += 0 if usage is None else usage.output_tokens
        if warned:
            return False
        warned = found.turns >= limits.turns - 1 or found.output_tokens >= limits.output_tokens
        if warned:
            return LAST
        return True if now.output.message.tool_calls else GO_ON

    return goes_on


def _defined(name: str, tool: Callable[..., Any]) -> ToolDef:
    """A tool as Inspect knows it."""

    async def call(*args: Any, **kwargs: Any) -> str:
        try:
            return await tool(*args, **kwargs)
        except Refused as error:
            raise ToolError(str(error)) from None
        except NoAnswer:
            raise
        except Exception as error:
            # Of a file that is not there Inspect would tell the model, with the organism's name.
            raise Broken(f"{type(error).__name__}: {error}") from error

    read = ToolDef(tool)
    return ToolDef(call, name, read.description, read.parameters, max_output=0)


def _reason(error: BaseException) -> Reason | None:
    """Why a turn could not be had; None for an error of another kind."""
    return next((one.reason for one in _flat(error) if isinstance(one, NoAnswer)), None)


def _cause(error: Exception) -> Exception:
    """What broke a tool; any other error as it is."""
    causes = (one.__cause__ for one in _flat(error) if isinstance(one, Broken))
    return next((one for one in causes if isinstance(one, Exception)), error)


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


def keep_logs(written: Sequence[Path], folder: Path, *, viewer: bool) -> None:
    """
    Copy Inspect's logs into a folder, and with `viewer` its pages beside them.

    The pages are in `viewer/index.html`. They need no network, but a server that answers requests
    for ranges of bytes, which Python's own does not.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for log in written:
        # named by the task alone: time and id differ each time it is written
        task = log.stem.split("_")[1:-1]
        shutil.copyfile(log, folder / f"{'_'.join(task)}.eval")
    if viewer and written:
        # Inspect writes no pages into the folder whose logs they show.
        with tempfile.TemporaryDirectory(dir=folder.parent) as beside:
            bundle_log_dir(log_dir=str(folder), output_dir=f"{beside}/{VIEWER}")
            shutil.move(f"{beside}/{VIEWER}", folder / VIEWER)
        # They would name this machine's folders.
        page, here = folder / VIEWER / "index.html", json.dumps(os.path.abspath(folder))
        text = page.read_text(encoding="utf-8").replace(here, json.dumps(folder.name))
        page.write_text(text, encoding="utf-8")
