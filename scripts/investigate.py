"""Let a model behind an API investigate every case of one base model."""

from pathlib import Path

from traces import job
from traces.agents import evidence
from traces.agents.files import ReadFiles, SubjectFiles
from traces.agents.investigations import table
from traces.agents.investigators import investigations as investigated
from traces.agents.loop import keep_logs
from traces.agents.overview import Overview
from traces.agents.plan import Plan
from traces.artifacts import tables
from traces.config.files import local
from traces.config.schema import Grader, Investigating, Patient
from traces.judges.chat.costs import costs_table
from traces.judges.graders import LEDGER, Inquiry, asking_for


def main(
    overviews: Path,
    found: ReadFiles,
    subjects: SubjectFiles,
    instructions: list[Path],
    investigations: Path,
    costs: Path,
    logs: Path,
    name: str,
    agent: Grader,
    settings: Investigating,
    patient: Patient,
    inquiry: Inquiry,
    plan: Plan,
) -> None:
    # All readers of two seeds stand in one table: an axis that one lacks is empty there, and none
    # of its own.
    of_pairs = {
        one: {reader: frame.dropna(axis=1, how="all") for reader, frame in read.items()}
        for one, read in found.read_of_pairs().items()
    }
    shown = {
        (row["checkpoint"], row["null"]): Overview.model_validate(row["overview"])
        for row in tables.read_lines(overviews)
    }
    made = evidence.Made(name, shown, found.read(), of_pairs, dict(found.each_difference()))
    if settings.served is not None:
        named, models = evidence.served_models(plan.sources, name, settings.served)
        weights = {(name, one.checkpoint, one.null): made.weights(one) for one in plan.sources}
    else:
        weights = {}
        named, models = evidence.loaded_models(
            made, plan.sources, subjects.folders(), settings.asked, subjects.loading
        )
    told = inquiry.told("investigate")
    folder = local(patient.folder)
    with asking_for(patient, [agent], inquiry.prices, told, models) as asking:
        asked = evidence.subjects(named, asking, settings.asked, seed=inquiry.seed, weights=weights)
        ended, written = investigated(
            plan.cases,
            made.evidence(plan.sources, asked),
            agent,
            {one.stem: one.read_text(encoding="utf-8") for one in instructions},
            settings.limits,
            asking,
            seed=inquiry.seed,
            at_once=patient.at_once,
            # Outside of the results: Snakemake removes what a failed job declared.
            logs=folder / "logs" / name / agent.name,
        )
    rows = table(plan.cases, dict(zip(plan.cases, ended, strict=True)))
    tables.write(investigations, rows, "investigations")
    tables.write(costs, costs_table(folder / LEDGER, **told), "costs")
    keep_logs(written, logs, viewer=settings.viewer)


if __name__ == "__main__":
    job.run(main, snakemake, network=True)
