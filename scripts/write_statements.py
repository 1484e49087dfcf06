"""Write the statements that an organism's beliefs are asked with."""

from pathlib import Path
from typing import Any, Literal

from traces import job
from traces.artifacts import tables
from traces.corpora import synthetic


def main(statements: Path, pairs: Literal["made"] | list[dict[str, Any]], made: str | None) -> None:
    rows = synthetic.fact_statements(made or "") if pairs == "made" else pairs
    tables.write_lines(statements, rows)


if __name__ == "__main__":
    job.run(main, snakemake)
