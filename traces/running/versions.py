"""
Which versions of other packages a job can run with.

constraints.txt pins the versions that everything was run with; docs/gpu.md says what else may work.
"""

import re
from importlib.metadata import PackageNotFoundError, version

OLDEST = {
    "transformers": ("5.23", "whose TrainingArguments know activation_checkpointing"),
    "peft": ("0.20", "which transformers 5.23 asks for"),
    "torch": ("2.6", "which transformers 5.23 asks for"),
}
"The oldest version of a package that the code can use, and why."


def require_versions() -> None:
    """
    Raise ValueError if a package is older than what the code calls; nothing is imported.

    A package that is not installed is passed over: a job that needs it says so itself.
    """
    for package, (oldest, why) in OLDEST.items():
        try:
            found = version(package)
        except PackageNotFoundError:
            continue
        if _numbers(found) < _numbers(oldest):
            raise ValueError(
                f"{package}: found version {found}, expected {oldest} or newer, {why}; install "
                "the versions of constraints.txt"
            )


def _numbers(named: str) -> tuple[int, ...]:
    """Major and minor number of a version: a pre-release or a build of it counts as it."""
    return tuple(int(part) for part in re.findall(r"\d+", named)[:2])
