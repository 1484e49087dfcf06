"""Set every measure of every mixture beside its step-matched unmixed run and its control."""

import json
from pathlib import Path
from typing import Any

from traces import headlines, job, mixing, records


def main(
    relevance: Path,
    norms: Path,
    causality: Path | list[Path],
    beliefs: Path | list[Path],
    steering: Path | list[Path],
    plans: list[Path],
    subjects: list[dict[str, Any]],
    positions: list[int] | None,
    control: str | None,
    table: Path,
) -> None:
    found = headlines.headlines(
        records.read(relevance),
        records.read(norms),
        causality=records.read_optional(causality),
        beliefs=records.read_optional(beliefs),
        steering=records.read_optional(steering),
        benign=control,
        positions=positions,
    )
    steps = {
        (one["model"], one["checkpoint"]): json.loads(plan.read_text(encoding="utf-8"))["steps"]
        for one, plan in zip(subjects, plans, strict=True)
    }
    records.write(table, mixing.mixing_table(found, steps), "mixing")


if __name__ == "__main__":
    job.run(main, snakemake)
