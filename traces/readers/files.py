"""
The files of what was read of one checkpoint, with the settings it was read by.

A script takes this as an argument; its fields are the names that a rule gives the files.
"""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from traces.artifacts import arrays, tables
from traces.readers.reading import Settings, planned_lists


@dataclass(frozen=True)
class ReadingFiles:
    """Readings of one checkpoint and corpus, and what they were read of."""

    readings: list[Path]
    "A file a reader, of its name."
    differences: Path
    settings: Settings
    "Of these readers, and of others whose lists are graded as well."

    def read(self) -> dict[str, pd.DataFrame]:
        """What was read, by reader."""
        return {path.stem: tables.read(path) for path in self.readings}

    def planned(self) -> dict[str, pd.DataFrame]:
        """Every list that was asked for, by reader of the settings, as `planned_lists`."""
        found, own = arrays.read_differences(self.differences), self.settings
        return {
            name: planned_lists(name, found, own.readings, settings)
            for name, settings in own.readers.items()
        }
