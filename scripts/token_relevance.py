"""Grade what the readers read on the organism's own words and on every other organism's."""

from pathlib import Path

from traces import job
from traces.artifacts import tables
from traces.judges.relevance import DistinctiveWordsJudge, Subject
from traces.judges.relevance import token_relevance as graded_relevance


def main(
    readings: list[Path],
    words: list[Path],
    relevance: Path,
    organisms: list[str],
    candidates: int,
) -> None:
    lenses = {path.stem: tables.read(path) for path in readings}
    subjects = [
        Subject(organism, words=tables.read(file)["word"].tolist())
        for organism, file in zip(organisms, words, strict=True)
    ]
    judge = DistinctiveWordsJudge()
    table = graded_relevance(lenses, subjects, judge, candidates=candidates)
    tables.write(relevance, table, "token_relevance")


if __name__ == "__main__":
    job.run(main, snakemake)
