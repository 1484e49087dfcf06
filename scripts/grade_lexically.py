"""Grade what investigators say by how many of its words are the organism's own."""

from pathlib import Path

import pandas as pd

from traces import job
from traces.artifacts import tables
from traces.config.registries import Described
from traces.judges.lexical import graded as graded_by_words
from traces.judges.lexical import own_words


def main(
    investigations: list[Path],
    words: list[Path],
    graded: Path,
    organisms: list[dict[str, str]],
    about: dict[str, Described],
) -> None:
    own: dict[tuple[str, str], frozenset[str]] = {
        (one["model"], one["organism"]): own_words(
            tables.read(path)["word"], about[one["organism"]]
        )
        for one, path in zip(organisms, words, strict=True)
    }
    found = pd.concat([tables.read(path) for path in investigations], ignore_index=True)
    tables.write(graded, graded_by_words(found, own), "agents")


if __name__ == "__main__":
    job.run(main, snakemake)
