"""
The files that an organism's card is made of.

A script takes one of these as an argument; its fields are the names that a rule gives the files.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from traces.analysis.adjusted import of_checkpoint
from traces.artifacts import tables
from traces.report.cards import READ_IN, Reading


@dataclass(frozen=True)
class OrganismFiles:
    """What an organism was made of."""

    words: Path
    "Its distinctive words."
    data: Path
    "The rows it was trained on."
    plans: list[Path]
    "Of its trainings, a file a checkpoint."

    def read_words(self) -> list[str]:
        return list(tables.read(self.words)["word"])

    def read_plans(self) -> dict[str, dict[str, Any]]:
        """The plan of each training, by checkpoint."""
        return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in self.plans}


@dataclass(frozen=True)
class CardReadings:
    """What was read of an organism's checkpoints."""

    readings: list[Path]
    "A file of its name for every reader and subject, subjects in their order."
    adjusted: list[Path]
    "Those adjusted by other organisms', a file of its name for every corpus that has some."

    def read(self, subjects: Sequence[Mapping[str, Any]]) -> list[Reading]:
        """
        What each reader read of each subject, reader after reader; then what was adjusted.

        subjects : checkpoint, recipe, seed and corpus of what was read
        """
        found = []
        # A rule names the readers of one checkpoint together; a page shows a reader after another.
        for reader in dict.fromkeys(path.stem for path in self.readings):
            files = [path for path in self.readings if path.stem == reader]
            for path, subject in zip(files, subjects, strict=True):
                found.append(Reading(**_read_in(subject), lens=reader, tokens=tables.read(path)))
        adjusted = {path.stem: tables.read(path) for path in self.adjusted}
        for subject in subjects:
            # Not every corpus has organisms enough to adjust by.
            if subject["corpus"] in adjusted:
                lenses = of_checkpoint(adjusted[subject["corpus"]], subject["checkpoint"])
                found += [
                    Reading(**_read_in(subject), lens=lens, tokens=tokens)
                    for lens, tokens in lenses.items()
                ]
        return found


def _read_in(subject: Mapping[str, Any]) -> dict[str, Any]:
    return {name: subject[name] for name in READ_IN}
