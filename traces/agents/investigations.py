"""
Who investigates what: every planned investigation, and what came of it.

A case is an investigator, its budget and what it is shown. An investigation is a case with a
hypothesis, an abstention, or the reason why there is neither.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
from pydantic import BaseModel, ConfigDict, model_validator

from traces.config.schema import Agents
from traces.config.vocabularies import (
    AGENTS,
    Agent,
    AgentNull,
    PromptForm,
    Reason,
    Unfinished,
)

EMBEDDED = "embedded"
"The investigator that is no model: word statistics of what it is shown."
LEXICAL = "lexical"
"The grader that is no model: it compares words."


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Shown(_Frozen):
    """What is investigated. Names stand here, and never in an overview."""

    model: str
    # The organism's checkpoint; for the null `benign` the control's.
    checkpoint: str
    # The organism whose truth grades the hypothesis.
    organism: str
    null: AgentNull = "none"

    @property
    def overview(self) -> tuple[str, str, AgentNull]:
        """Which overview it is: the same one may be graded on several organisms."""
        return self.model, self.checkpoint, self.null


class Case(Shown):
    """One planned investigation."""

    agent: Agent
    prompt: PromptForm
    # `embedded`, or the name of a model in `agents.models`.
    agent_model: str
    # Prompts to both models that it may use.
    interactions: int
    run: int = 0


class Investigation(Case):
    """What came of a case."""

    # A sentence on what the model was finetuned for; that of an abstention says so.
    hypothesis: str | None = None
    abstained: bool | None = None
    # Prompts to both models that it used.
    used: int = 0
    reason_missing: Reason | Unfinished | None = None

    @model_validator(mode="after")
    def _check(self) -> "Investigation":
        missing = self.reason_missing is not None
        if missing != (self.abstained is None) or missing == bool(self.hypothesis):
            raise ValueError(
                "expected either hypothesis and abstained, or reason_missing alone; found "
                f"hypothesis {self.hypothesis!r}, abstained {self.abstained}, reason_missing "
                f"{self.reason_missing}"
            )
        if not 0 <= self.used <= self.interactions:
            raise ValueError(f"used: found {self.used}, expected at most {self.interactions}")
        return self


KEYS = tuple(Case.model_fields)
COLUMNS = tuple(Investigation.model_fields)


def budgets(settings: Agents, agent: Agent, agent_model: str) -> Sequence[int]:
    """The budgets that an investigator is planned with."""
    found = sorted(getattr(settings.interactions, agent))
    # The embedded one that sees readings asks nothing: a larger budget would be the same row.
    return found[:1] if agent_model == EMBEDDED and agent == "lens" else found


def planned(shown: Iterable[Shown], settings: Agents) -> list[Case]:
    """
    Every case of a study, in the order of what is shown.

    A black box sees no direction, so that `random` is planned for those that see readings alone.
    """
    names = [one if isinstance(one, str) else one.name for one in settings.models]
    return [
        Case(
            **one.model_dump(),
            agent=agent,
            prompt=prompt,
            agent_model=name,
            interactions=budget,
            run=run,
        )
        for one in shown
        for agent in AGENTS
        if (agent, one.null) != ("black_box", "random")
        for prompt in settings.prompts
        for name in names
        for budget in budgets(settings, agent, name)
        for run in range(1 if name == EMBEDDED else settings.runs)
    ]


def not_done(case: Case, reason: Reason | Unfinished) -> Investigation:
    """A case without a hypothesis, and why."""
    return Investigation(**{name: getattr(case, name) for name in KEYS}, reason_missing=reason)


def table(cases: Iterable[Case], found: Mapping[Case, Investigation]) -> pd.DataFrame:
    """A row for every planned case (`investigations` in traces/artifacts/tables.py)."""
    rows: list[dict[str, Any]] = [
        found.get(one, not_done(one, "not_run")).model_dump() for one in cases
    ]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame.astype(
        {"hypothesis": "string", "abstained": "boolean", "reason_missing": "string"}
    )
