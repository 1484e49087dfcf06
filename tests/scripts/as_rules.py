"""Call a script's `main` as a rule does: with files and params by the rule's names."""

from collections.abc import Callable
from typing import Any

from traces import job


def as_rule(main: Callable[..., None], **named: Any) -> None:
    """Group what belongs together, as a job does, and call `main`."""
    main(**job.arguments(main, named))
