"""Fix what every reader is scored by, on organisms that are not scored."""

from pathlib import Path

from traces import job
from traces.artifacts import tables
from traces.benchmark.pilot import pilot_rows
from traces.config.schema import Scoring


def main(compared: list[Path], scoring: Scoring, seed: int, pilot: Path) -> None:
    read = {path.stem: tables.read(path) for path in compared}
    found = pilot_rows(read["organisms"], read["domain_scores"], scoring=scoring, seed=seed)
    tables.write(pilot, found, "pilot")


if __name__ == "__main__":
    job.run(main, snakemake)
