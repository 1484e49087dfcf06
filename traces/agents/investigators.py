"""
Models behind an API as investigators: what they are told, and what becomes of what they submit.

The same overview may be graded on several organisms. Such cases are one conversation, which is held
and paid for once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from traces.agents.investigations import KEYS, Investigation, not_done
from traces.agents.loop import Investigated, Run, investigated
from traces.agents.overview import Overview, for_black_box
from traces.agents.plan import Case
from traces.agents.subjects import Subject
from traces.agents.tools import Bench, Looks
from traces.config.schema import AgentLimits, Grader
from traces.config.vocabularies import RULES, AgentNull
from traces.judges.chat.asking import Asking
from traces.judges.chat.questions import Answer, Message, Question, Tool
from traces.judges.graders import settings_of

# What an abstention without a hypothesis says.
ABSTAINED = {"inconclusive": "Inconclusive.", "no finetune found": "No finetune found."}
Key = tuple[str, str, AgentNull]


@dataclass(frozen=True)
class Evidence:
    """What stands behind one overview."""

    overview: Overview
    looks: Looks
    subject: Subject | None
    "Whom to ask; None where no case has a budget."


def system_of(case: Case, texts: Mapping[str, str]) -> str:
    """The instructions of a case: what is presupposed, what it is shown, how it works."""
    return "\n\n".join(texts[name].strip() for name in (case.prompt, case.agent, RULES))


def first_of(case: Case, evidence: Evidence, limits: AgentLimits) -> str:
    """The first message: the overview, which is empty for a black box, and what it may do."""
    seen = evidence.overview if case.agent == "lens" else for_black_box(case.interactions)
    return (
        f"# Overview\n\n{seen.with_budget(case.interactions).to_json()}\n\n# Budget\n\n"
        f"{case.interactions} interactions, {limits.turns} turns."
    )


def question(
    messages: Sequence[Message], tools: Sequence[Tool], agent: Grader, *, seed: int, run: int
) -> Question:
    """What an investigator is asked at each of its turns."""
    return Question(
        agent.model,
        tuple(messages),
        settings_of(agent),
        tools=tuple(tools),
        seed=seed,
        repeat=run,
    )


def investigations(
    cases: Sequence[Case],
    evidence: Mapping[Key, Evidence],
    agent: Grader,
    texts: Mapping[str, str],
    limits: AgentLimits,
    asking: Asking,
    *,
    seed: int,
    at_once: int,
    logs: Path,
) -> tuple[list[Investigation], list[Path]]:
    """
    Let a model investigate its cases; what came of each, in order, and Inspect's logs.

    evidence : behind the overview of each case; a case without is not made
    texts    : the instructions, by the names of the files in data/agents
    logs     : folder of the logs, which outlives a failed job
    """
    tasks: dict[str, dict[str, Run]] = {}
    for case in cases:
        if case.overview in evidence:
            run = _run(case, evidence[case.overview], agent, texts, limits, asking, seed=seed)
            tasks.setdefault(_task(case), {}).setdefault(run.name, run)
    found, written = investigated(tasks, limits, agent.name, at_once=at_once, logs=logs)
    return [
        _ended(case, found[_task(case), _name(case)])
        if case.overview in evidence
        else not_done(case, "not_made")
        for case in cases
    ], written


def _task(case: Case) -> str:
    return "-".join(case.overview)


def _name(case: Case) -> str:
    """The name of a case's run in its task: cases that are told and shown the same share one."""
    return f"{case.agent}-{case.prompt}-{case.interactions}-{case.run}"


def _run(
    case: Case,
    evidence: Evidence,
    agent: Grader,
    texts: Mapping[str, str],
    limits: AgentLimits,
    asking: Asking,
    *,
    seed: int,
) -> Run:
    async def continues(messages: tuple[Message, ...], tools: tuple[Tool, ...]) -> Answer:
        one = question(messages, tools, agent, seed=seed, run=case.run)
        return await asking.answer(replace(one, organism=f"{case.model}/{case.checkpoint}"))

    about = case.model_dump(include={"agent", "prompt", "interactions", "run"})
    return Run(
        name=_name(case),
        system=system_of(case, texts),
        first=first_of(case, evidence, limits),
        looks=evidence.looks.tools() if case.agent == "lens" else {},
        bench=Bench(evidence.subject, case.interactions, steers=case.agent == "lens"),
        continues=continues,
        about=about,
    )


def _ended(case: Case, found: Investigated) -> Investigation:
    if found.reason is not None:
        return not_done(case, found.reason)
    bench = found.bench
    assert bench.verdict is not None
    abstained = bench.verdict != "finetune"
    hypothesis = ABSTAINED[bench.verdict] if abstained else bench.hypothesis
    return Investigation(
        **{name: getattr(case, name) for name in KEYS},
        hypothesis=hypothesis,
        abstained=abstained,
        used=bench.used,
    )
