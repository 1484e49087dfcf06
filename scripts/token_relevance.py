"""Grade what the readers read on the organism's own words and on every other organism's."""

from pathlib import Path

from traces import job
from traces.analysis.adjusted import of_checkpoint
from traces.artifacts import arrays, tables
from traces.judges.relevance import DistinctiveWordsJudge, Subject
from traces.judges.relevance import token_relevance as graded_relevance
from traces.readers.reading import Settings, planned_lists


def main(
    readings: list[Path],
    adjusted: Path | list[Path],
    differences: Path,
    words: list[Path],
    relevance: Path,
    organisms: list[str],
    checkpoint: str,
    candidates: int,
    settings: Settings,
) -> None:
    lenses = {path.stem: tables.read(path) for path in readings}
    lenses |= of_checkpoint(tables.read(adjusted), checkpoint) if adjusted else {}
    found = arrays.read_differences(differences)
    planned = {
        name: planned_lists(name, found, settings.readings, own)
        for name, own in settings.readers.items()
    }
    subjects = [
        Subject(organism, words=tables.read(file)["word"].tolist())
        for organism, file in zip(organisms, words, strict=True)
    ]
    judge = DistinctiveWordsJudge()
    table = graded_relevance(lenses, planned, subjects, judge, candidates=candidates)
    tables.write(relevance, table, "token_relevance")


if __name__ == "__main__":
    job.run(main, snakemake)
