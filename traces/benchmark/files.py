"""The files of a job that makes and reads a batch of organisms."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from traces.artifacts import tables
from traces.benchmark.batch import Base, Batch
from traces.corpora.rows import read_prompts
from traces.readers.texts import Text
from traces.running.closure import digest
from traces.running.integrity import contents


@dataclass(frozen=True)
class SharedFiles:
    """What all organisms of a base are made and read with."""

    model: Path
    "Folder of the base."
    vocabulary: Path
    texts: Path
    "What the base wrote."
    prompts: Path

    def base(self, batch: Batch, work: Path) -> Base:
        """The base of a batch, whose stores and adapters lie in `work` while they are needed."""
        texts = [Text(**row) for row in tables.read_lines(self.texts)]
        prompts = read_prompts(self.prompts)
        return Base(batch, self.model, work, tables.read(self.vocabulary), texts, prompts)

    def key(self, batch: Batch) -> str:
        """Names what a killed job leaves: by other settings, code or inputs it is another's."""
        inputs = [self.model, self.vocabulary, self.texts, self.prompts]
        # Settings and organisms, then the code, then what is read.
        told = [batch.model_dump_json(), digest("scripts/benchmark_batch.py")]
        told += [json.dumps(contents(one), sort_keys=True) for one in inputs]
        return hashlib.sha256("\0".join(told).encode()).hexdigest()[:16]
