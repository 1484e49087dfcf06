"""Score all readers on organisms whose truth is known: every table of the benchmark."""

from pathlib import Path

from traces import job
from traces.artifacts import tables
from traces.benchmark.pilot import fixed_way
from traces.benchmark.scoring import TABLES, score_readers
from traces.config.schema import Scoring
from traces.config.vocabularies import COMPARED


def main(
    compared: list[Path],
    pilot: Path,
    scoring: Scoring,
    seed: int,
    made: list[Path],
) -> None:
    read = {path.stem: tables.read(path) for path in compared}
    found = score_readers(
        *(read[name] for name in COMPARED),
        scoring=fixed_way(tables.read(pilot), scoring),
        seed=seed,
    )
    by_name = {path.stem: path for path in made}
    for name in TABLES:
        tables.write(by_name[name], found[name], name)


if __name__ == "__main__":
    job.run(main, snakemake)
