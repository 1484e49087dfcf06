"""Count the grades of hypotheses by what came of them, and say how far graders agree."""

from pathlib import Path

from traces import job
from traces.analysis import grades
from traces.artifacts import tables


def main(agents: Path, counts: Path, agreement: Path, seed: int) -> None:
    rows = tables.read(agents)
    tables.write(counts, grades.grade_counts(rows), "grade_counts")
    tables.write(agreement, grades.agreement(rows, seed=seed), "grade_agreement")


if __name__ == "__main__":
    job.run(main, snakemake)
