"""Which models judge, as a study configures them, and how they are reached."""

import os
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from traces.config.files import local
from traces.config.schema import Asked, Grader
from traces.judges.chat.asking import Asking, Patience
from traces.judges.chat.cache import Cache
from traces.judges.chat.costs import Price, costs_table
from traces.judges.chat.ledger import Ledger
from traces.judges.chat.models import endpoint
from traces.judges.chat.questions import Settings

LEDGER = "ledger.jsonl"


def settings_of(grader: Grader) -> Settings:
    """How a grader answers."""
    return Settings(grader.max_tokens, grader.temperature, grader.reasoning_effort)


def asking_for(
    judges: Asked, prices: Mapping[str, tuple[float, float] | None], about: Mapping[str, str]
) -> Asking:
    """
    Make ready to ask a study's graders; a context manager.

    prices : of each grader's model, input and output in US dollars a million tokens; None where it
             is not known
    about  : what the ledger says of this job: its stage and checkpoint

    Raises ValueError for a grader whose key the environment does not hold.
    """
    models = {
        one.model: endpoint(one.model, os.path.expandvars(one.base_url) if one.base_url else None)
        for one in judges.graders
    }
    patience = Patience(judges.tries, judges.attempts, judges.timeout, judges.at_once)
    folder = local(judges.folder)
    ledger = Ledger(_ledger(judges), cap=judges.cap, about=about)
    known = {name: None if price is None else Price(*price) for name, price in prices.items()}
    return Asking(models, known, Cache(folder), ledger, patience)


def spent(judges: Asked, stage: str | None = None, checkpoint: str | None = None) -> pd.DataFrame:
    """What the ledger says was spent, as `costs_table` does."""
    return costs_table(_ledger(judges), stage, checkpoint)


def _ledger(judges: Asked) -> Path:
    return local(judges.folder) / LEDGER
