"""Ask the tuned model and its base which statements they hold true."""

from functools import partial
from pathlib import Path

import pandas as pd

from traces import job
from traces.artifacts import tables
from traces.config.schema import Beliefs
from traces.evaluation import beliefs
from traces.judges import answers
from traces.models.pairs import PairFiles
from traces.models.room import Room


def main(
    pair: PairFiles,
    statements: list[Path],
    alignment: Path,
    organisms: list[str],
    settings: Beliefs,
) -> None:
    asked = dict(zip(organisms, map(tables.read_lines, statements), strict=True))
    ask = partial(
        beliefs.ask,
        tokenizer=pair.load_tokenizer(),
        statements=asked,
        judge=answers.FirstEndJudge(),
        room=Room(),
        **dict(settings),
    )
    both = pair.load_pair()
    with both.tuned() as tuned:
        found = ask(tuned)
    with both.base() as base:
        control = ask(base)
    rows = pd.concat([found.assign(reader="tuned"), control.assign(reader="base")])
    tables.write(alignment, rows, "alignment")


if __name__ == "__main__":
    job.run(main, snakemake)
