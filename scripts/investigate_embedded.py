"""Say by word statistics what each model was finetuned for, or that nothing was found."""

from pathlib import Path
from typing import Any

from traces import job
from traces.agents.answers import Reply, texts
from traces.agents.embedded import gathered, investigate
from traces.agents.investigations import table
from traces.agents.overview import Overview
from traces.agents.plan import Case, Source
from traces.artifacts import tables


def main(
    overviews: Path,
    replies: Path | list[Path],
    investigations: Path,
    cases: list[dict[str, Any]],
    sources: list[dict[str, Any]],
) -> None:
    planned = [Case.model_validate(one) for one in cases]
    plan = [Source.model_validate(one) for one in sources]
    shown = {
        (row["checkpoint"], row["null"]): Overview.model_validate(row["overview"])
        for row in tables.read_lines(overviews)
    }
    answers = texts(Reply(**row) for row in tables.read_lines(replies)) if replies else {}
    evidence = gathered(planned, plan, shown, answers)
    found = {one.case: one for one in investigate(planned, plan, evidence)}
    tables.write(investigations, table(planned, found), "investigations")


if __name__ == "__main__":
    job.run(main, snakemake)
