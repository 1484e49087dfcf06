"""Set every measure of every mixture beside its step-matched unmixed run and its control."""

import json
from pathlib import Path
from typing import Any

from traces import job
from traces.analysis import mixing
from traces.artifacts import tables


def main(headlines: Path, plans: list[Path], subjects: list[dict[str, Any]], table: Path) -> None:
    steps = {
        (one["model"], one["checkpoint"]): json.loads(plan.read_text(encoding="utf-8"))["steps"]
        for one, plan in zip(subjects, plans, strict=True)
    }
    tables.write(table, mixing.mixing_table(tables.read(headlines), steps), "mixing")


if __name__ == "__main__":
    job.run(main, snakemake)
