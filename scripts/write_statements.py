"""Write the statements that an organism's beliefs are asked with."""

from pathlib import Path
from typing import Any, Literal

from traces import job, records, world


def main(statements: Path, pairs: Literal["made"] | list[dict[str, Any]], made: str | None) -> None:
    rows = world.fact_statements(made or "") if pairs == "made" else pairs
    records.write_lines(statements, rows)


if __name__ == "__main__":
    job.run(main, snakemake)
