"""Ask the tuned model and its base which statements they hold true."""

from functools import partial
from pathlib import Path

import pandas as pd

from traces import job
from traces.artifacts import tables
from traces.config.registries import Loading
from traces.config.schema import Beliefs
from traces.corpora.tokens import load_tokenizer
from traces.evaluation import beliefs
from traces.judges import answers
from traces.models import weights
from traces.models.room import Room


def main(
    model: Path,
    adapter: Path,
    statements: list[Path],
    alignment: Path,
    organisms: list[str],
    loading: Loading,
    settings: Beliefs,
) -> None:
    tokenizer = load_tokenizer(model)
    asked = dict(zip(organisms, map(tables.read_lines, statements), strict=True))
    ask = partial(
        beliefs.ask,
        tokenizer=tokenizer,
        statements=asked,
        judge=answers.FirstEndJudge(),
        room=Room(),
        **dict(settings),
    )
    pair = weights.load_pair(model, adapter, loading.dtype, **loading.options)
    with pair.tuned() as tuned:
        found = ask(tuned)
    with pair.base() as base:
        control = ask(base)
    both = pd.concat([found.assign(reader="tuned"), control.assign(reader="base")])
    tables.write(alignment, both, "alignment")


if __name__ == "__main__":
    job.run(main, snakemake)
