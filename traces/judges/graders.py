"""Which models judge, as a study configures them, and how they are reached."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pandas as pd

from traces.config.files import local
from traces.config.schema import Grader, Patient
from traces.judges.chat.asking import Asking, Patience
from traces.judges.chat.cache import Cache
from traces.judges.chat.costs import Price, costs_table
from traces.judges.chat.ledger import Ledger
from traces.judges.chat.models import Endpoint, endpoint
from traces.judges.chat.questions import Settings

LEDGER = "ledger.jsonl"


@dataclass(frozen=True)
class Inquiry:
    """What a job that asks is told beside whom it asks; an argument of a script."""

    checkpoint: str
    "What it asks about, as the ledger has it: model, checkpoint and corpus, or who grades."
    prices: dict[str, tuple[float, float] | None]
    "Of each model that is asked, as `asking_for` takes them."
    seed: int
    "Of the orders in which things are put to models."

    def told(self, stage: str) -> dict[str, str]:
        """What the ledger says of this job, whose rule is `stage`."""
        return {"stage": stage, "checkpoint": self.checkpoint}


def settings_of(grader: Grader) -> Settings:
    """How a grader answers."""
    return Settings(grader.max_tokens, grader.temperature, grader.reasoning_effort)


def asking_for(
    patient: Patient,
    graders: Sequence[Grader],
    prices: Mapping[str, tuple[float, float] | None],
    about: Mapping[str, str],
    others: Mapping[str, Endpoint] = MappingProxyType({}),
) -> Asking:
    """
    Make ready to ask models; a context manager.

    graders : models behind an API
    prices  : of each one's model, input and output in US dollars a million tokens; None where it is
              not known
    about   : what the ledger says of this job: its stage and checkpoint
    others  : models that have no price, by their names, such as those that are examined

    Raises ValueError for a model whose key the environment does not hold.
    """
    models = {
        one.model: endpoint(one.model, os.path.expandvars(one.base_url) if one.base_url else None)
        for one in graders
    }
    patience = Patience(patient.tries, patient.attempts, patient.timeout, patient.at_once)
    folder = local(patient.folder)
    ledger = Ledger(_ledger(patient), cap=patient.cap, about=about)
    known = {name: None if price is None else Price(*price) for name, price in prices.items()}
    known |= dict.fromkeys(others)
    return Asking({**models, **others}, known, Cache(folder), ledger, patience)


def spent(
    patient: Patient, stage: str | None = None, checkpoint: str | None = None
) -> pd.DataFrame:
    """What the ledger says was spent, as `costs_table` does."""
    return costs_table(_ledger(patient), stage, checkpoint)


def _ledger(patient: Patient) -> Path:
    return local(patient.folder) / LEDGER
