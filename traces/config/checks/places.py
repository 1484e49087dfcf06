"""Where the keys of a configuration stand: what every message about one begins with."""

from pathlib import Path
from typing import NamedTuple

from traces.config.files import Source, holder_of


class Places(NamedTuple):
    """The sources a study was merged from, in order, and the folder of its registries."""

    sources: list[Source]
    folder: Path

    @property
    def models(self) -> Path:
        return self.folder / "models.yaml"

    @property
    def corpora(self) -> Path:
        return self.folder / "corpora.yaml"

    @property
    def organisms(self) -> Path:
        return self.folder / "organisms"

    def organism(self, name: str) -> Path:
        return self.organisms / f"{name}.yaml"

    def holder(self, key: str) -> Source:
        """The source that a key of the study comes from, its path written with dots."""
        path = tuple(int(part) if part.isdigit() else part for part in key.split("."))
        return holder_of(self.sources, path)

    def at(self, key: str) -> str:
        """That source and the key, as a message begins with them."""
        return f"{self.holder(key)}: {key}"
