"""Let a model behind an API investigate every case of one base model."""

from itertools import product
from pathlib import Path

from traces import job
from traces.agents import evidence
from traces.agents.investigations import table
from traces.agents.investigators import investigations as investigated
from traces.agents.loop import keep_logs
from traces.agents.overview import Overview
from traces.agents.plan import Case, Source
from traces.artifacts import arrays, tables
from traces.config.checkpoints import BASE
from traces.config.files import local
from traces.config.registries import Loading
from traces.config.schema import Grader, Investigating, Patient
from traces.judges.chat.costs import costs_table
from traces.judges.graders import LEDGER, asking_for


def main(
    overviews: Path,
    readings: list[Path],
    pairs: Path | list[Path],
    differences: list[Path],
    weights: list[Path],
    instructions: list[Path],
    investigations: Path,
    costs: Path,
    logs: Path,
    name: str,
    agent: Grader,
    settings: Investigating,
    patient: Patient,
    prices: dict[str, tuple[float, float] | None],
    cases: list[Case],
    sources: list[Source],
    checkpoints: list[str],
    loaded: list[str],
    readers: list[str],
    loading: Loading,
    seed: int,
) -> None:
    read: dict[str, dict] = {one: {} for one in checkpoints}
    for (one, reader), path in zip(product(checkpoints, readers), readings, strict=True):
        read[one][reader] = tables.read(path)
    of_pairs: dict[str, dict] = {}
    if pairs:
        for (one, reader), frame in tables.read(pairs).groupby(["checkpoint", "lens"]):
            of_pairs.setdefault(one, {})[reader] = frame.dropna(axis=1, how="all")
    shown = {
        (row["checkpoint"], row["null"]): Overview.model_validate(row["overview"])
        for row in tables.read_lines(overviews)
    }
    changes = zip(checkpoints, map(arrays.read_differences, differences), strict=True)
    made = evidence.Made(name, shown, read, of_pairs, dict(changes))

    if settings.served is not None:
        named, models = evidence.served_models(sources, name, settings.served)
    else:
        folders = dict(zip([BASE, *loaded], weights, strict=True)) if weights else {}
        named, models = evidence.loaded_models(made, sources, folders, settings.asked, loading)
    told = {"stage": "investigate", "checkpoint": f"{name}/{agent.name}"}
    folder = local(patient.folder)
    with asking_for(patient, [agent], prices, told, models) as asking:
        behind = made.evidence(sources, evidence.subjects(named, asking, settings.asked, seed=seed))
        found, written = investigated(
            cases,
            behind,
            agent,
            {one.stem: one.read_text(encoding="utf-8") for one in instructions},
            settings.limits,
            asking,
            seed=seed,
            at_once=patient.at_once,
            # Outside of the results: Snakemake removes what a failed job declared.
            logs=folder / "logs" / name / agent.name,
        )
    tables.write(
        investigations, table(cases, dict(zip(cases, found, strict=True))), "investigations"
    )
    tables.write(costs, costs_table(folder / LEDGER, **told), "costs")
    keep_logs(written, logs, viewer=settings.viewer)


if __name__ == "__main__":
    job.run(main, snakemake, network=True)
