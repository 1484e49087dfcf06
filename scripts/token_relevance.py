"""Grade what the lenses read on the organism's own words and on every other organism's."""

from pathlib import Path

from traces import job, judges, records


def main(
    logit_lens: Path,
    patchscope: Path,
    words: list[Path],
    relevance: Path,
    organisms: list[str],
    candidates: int,
) -> None:
    lenses = {"logit_lens": records.read(logit_lens), "patchscope": records.read(patchscope)}
    subjects = [
        judges.Subject(organism, words=records.read(file)["word"].tolist())
        for organism, file in zip(organisms, words, strict=True)
    ]
    judge = judges.DistinctiveWordsJudge()
    table = judges.token_relevance(lenses, subjects, judge, candidates=candidates)
    records.write(relevance, table, "token_relevance")


if __name__ == "__main__":
    job.run(main, snakemake)
