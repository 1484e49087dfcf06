"""Score all readers on organisms whose truth is known: every table of the benchmark."""

from pathlib import Path

from traces import job
from traces.artifacts import tables
from traces.benchmark.scoring import TABLES, score_readers
from traces.config.schema import Scoring


def main(
    organisms: Path,
    domain_scores: Path,
    detector_scores: Path,
    token_lists: Path,
    scoring: Scoring,
    seed: int,
    made: list[Path],
) -> None:
    found = score_readers(
        *(tables.read(one) for one in (organisms, domain_scores, detector_scores, token_lists)),
        scoring=scoring,
        seed=seed,
    )
    by_name = {path.stem: path for path in made}
    for name in TABLES:
        tables.write(by_name[name], found[name], name)


if __name__ == "__main__":
    job.run(main, snakemake)
