"""Set every measure of every mixture beside its step-matched unmixed run and its control."""

import json
from pathlib import Path
from typing import Any

from traces import job
from traces.analysis import mixing, summary
from traces.artifacts import tables


def main(
    measures: list[Path],
    plans: list[Path],
    subjects: list[dict[str, Any]],
    positions: list[int] | None,
    control: str | None,
    table: Path,
) -> None:
    found = summary.headlines(
        **{file.stem: tables.read(file) for file in measures},
        control=control,
        positions=positions,
    )
    steps = {
        (one["model"], one["checkpoint"]): json.loads(plan.read_text(encoding="utf-8"))["steps"]
        for one, plan in zip(subjects, plans, strict=True)
    }
    tables.write(table, mixing.mixing_table(found, steps), "mixing")


if __name__ == "__main__":
    job.run(main, snakemake)
