"""Ask the tuned model and its base which statements they hold true."""

from pathlib import Path

import pandas as pd

from traces import job
from traces.artifacts import tables
from traces.corpora.tokens import load_tokenizer
from traces.evaluation import beliefs
from traces.judges import answers
from traces.models import generation, weights


def main(
    model: Path,
    adapter: Path,
    statements: list[Path],
    alignment: Path,
    organisms: list[str],
    forms: list[beliefs.Form],
    dtype: weights.DType,
    attention: str | None,
    max_new_tokens: int,
    batch: int,
) -> None:
    tokenizer = load_tokenizer(model)
    asked = dict(zip(organisms, map(tables.read_lines, statements), strict=True))
    settings = {"forms": forms, "max_new_tokens": max_new_tokens, "batch": batch}
    settings |= {"judge": answers.FirstEndJudge(), "room": generation.Room()}
    pair = weights.load_pair(model, adapter, dtype, attention=attention)
    with pair.tuned() as tuned:
        found = beliefs.ask(tuned, tokenizer, asked, **settings)
    with pair.base() as base:
        control = beliefs.ask(base, tokenizer, asked, **settings)
    both = pd.concat([found.assign(reader="tuned"), control.assign(reader="base")])
    tables.write(alignment, both, "alignment")


if __name__ == "__main__":
    job.run(main, snakemake)
