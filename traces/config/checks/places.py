"""Name the file that holds a key: every message about a key begins with it."""

from pathlib import Path
from typing import NamedTuple

from traces.config.files import Source, holder_of


class Places(NamedTuple):
    """Hold the sources a study was merged from, in order, and the folder of its registries."""

    sources: list[Source]
    folder: Path

    @property
    def models(self) -> Path:
        return self.folder / "models.yaml"

    @property
    def corpora(self) -> Path:
        return self.folder / "corpora.yaml"

    @property
    def prices(self) -> Path:
        return self.folder / "prices.yaml"

    @property
    def organisms(self) -> Path:
        return self.folder / "organisms"

    def organism(self, name: str) -> Path:
        return self.organisms / f"{name}.yaml"

    def holder(self, key: str) -> Source:
        """Find the source that set a key of the study, its path written with dots."""
        # Indices of lists are numbers: runs.0.recipes.
        path = tuple(int(part) if part.isdigit() else part for part in key.split("."))
        return holder_of(self.sources, path)

    def at(self, key: str) -> str:
        """Format that source and the key as the beginning of a message."""
        return f"{self.holder(key)}: {key}"
