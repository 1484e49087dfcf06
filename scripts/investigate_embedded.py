"""Say by word statistics what each model was finetuned for, or that nothing was found."""

from pathlib import Path

from traces import job
from traces.agents.answers import Reply, texts
from traces.agents.embedded import gathered, investigate
from traces.agents.investigations import table
from traces.agents.overview import Overview
from traces.agents.plan import Plan
from traces.artifacts import tables


def main(
    overviews: Path,
    replies: Path | list[Path],
    investigations: Path,
    plan: Plan,
) -> None:
    shown = {
        (row["checkpoint"], row["null"]): Overview.model_validate(row["overview"])
        for row in tables.read_lines(overviews)
    }
    answers = texts(Reply(**row) for row in tables.read_lines(replies)) if replies else {}
    evidence = gathered(plan.cases, plan.sources, shown, answers)
    found = {one.case: one for one in investigate(plan.cases, plan.sources, evidence)}
    tables.write(investigations, table(plan.cases, found), "investigations")


if __name__ == "__main__":
    job.run(main, snakemake)
