"""
What came of the planned cases: a hypothesis, an abstention, or the reason why there is neither.

`traces/agents/plan.py` says which cases there are.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd
from pydantic import model_validator

from traces.agents.plan import Case
from traces.config.vocabularies import Reason, Unfinished


class Investigation(Case):
    """What came of a case."""

    # A sentence on what the model was finetuned for; that of an abstention says so.
    hypothesis: str | None = None
    abstained: bool | None = None
    # Prompts to both models that it used.
    used: int = 0
    reason_missing: Reason | Unfinished | None = None

    @property
    def case(self) -> Case:
        """What was planned."""
        return Case(**{name: getattr(self, name) for name in KEYS})

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
