"""Grade what the readers read on the organism's own words and on every other organism's."""

from pathlib import Path

from traces import job
from traces.analysis.adjusted import of_checkpoint
from traces.artifacts import tables
from traces.judges.relevance import DistinctiveWordsJudge, WordFiles
from traces.judges.relevance import token_relevance as graded_relevance
from traces.readers.files import ReadingFiles


def main(
    found: ReadingFiles,
    adjusted: Path | list[Path],
    known: WordFiles,
    relevance: Path,
    checkpoint: str,
    candidates: int,
) -> None:
    lenses = found.read()
    lenses |= of_checkpoint(tables.read(adjusted), checkpoint) if adjusted else {}
    table = graded_relevance(
        lenses,
        found.planned(),
        known.subjects(),
        DistinctiveWordsJudge(),
        candidates=candidates,
    )
    tables.write(relevance, table, "token_relevance")


if __name__ == "__main__":
    job.run(main, snakemake)
