"""
The files of a base and of its finetunes with how they are loaded: what a job needs to load a pair.

A script takes one of these as an argument; its fields are the names that a rule gives the files.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from traces.config.registries import Loading
from traces.config.vocabularies import Side
from traces.corpora.tokens import load_tokenizer
from traces.models import weights


@dataclass(frozen=True)
class BaseFiles:
    """A base whose finetunes are loaded one after another."""

    model: Path
    "Folder of the base."
    loading: Loading

    def load_pair(self, adapter: Path, reference: Path | None = None) -> weights.Pair:
        """
        Load a finetune with its base, as `weights.load_pair` does.

        adapter   : folder of the finetune: an adapter, or a whole model
        reference : folder of the model to subtract, if it replaces the base
        """
        # With the same options: in another number format a reference would differ by its rounding.
        options = self.loading.options
        return weights.load_pair(
            self.model, adapter, self.loading.dtype, reference=reference, **options
        )

    def load_readout(self, adapter: Path, head: Side) -> weights.Readout:
        """Load the readout of the base, or that of a finetune, in float32."""
        return weights.load_readout(self.model, checkpoint=adapter if head == "tuned" else None)

    def load_tokenizer(self) -> Any:
        """Load the tokenizer, which a base shares with its finetunes."""
        return load_tokenizer(self.model)


@dataclass(frozen=True)
class PairFiles:
    """A base and one finetune of it."""

    model: Path
    "Folder of the base."
    adapter: Path
    "Folder of the finetune: an adapter, or a whole model."
    loading: Loading

    @property
    def base(self) -> BaseFiles:
        return BaseFiles(self.model, self.loading)

    def load_pair(self, reference: Path | None = None) -> weights.Pair:
        """Load both, as `BaseFiles.load_pair` does."""
        return self.base.load_pair(self.adapter, reference)

    def load_readout(self, head: Side) -> weights.Readout:
        """Load the readout of either, in float32."""
        return self.base.load_readout(self.adapter, head)

    def load_tokenizer(self) -> Any:
        """Load the tokenizer that both share."""
        return self.base.load_tokenizer()
