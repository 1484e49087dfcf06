"""Ask one model how well hypotheses name what models were finetuned for."""

from pathlib import Path

import pandas as pd

from traces import job
from traces.artifacts import tables
from traces.config.files import local
from traces.config.registries import Described
from traces.config.schema import Grader, Patient
from traces.judges import hypotheses
from traces.judges.chat.costs import costs_table
from traces.judges.graders import LEDGER, asking_for


def main(
    investigations: list[Path],
    rubrics: list[Path],
    graded: Path,
    costs: Path,
    grader: Grader,
    patient: Patient,
    prices: dict[str, tuple[float, float] | None],
    organisms: list[dict[str, str]],
    about: list[Described],
    repeats: int,
    seed: int,
) -> None:
    described = {one["organism"]: found for one, found in zip(organisms, about, strict=True)}
    told = {"stage": "grade_hypotheses", "checkpoint": grader.name}
    said = pd.concat([tables.read(path) for path in investigations], ignore_index=True)
    with asking_for(patient, [grader], prices, told) as asking:
        found = hypotheses.graded_investigations(
            said,
            described,
            [grader],
            {one.stem: one.read_text(encoding="utf-8") for one in rubrics},
            asking,
            repeats=repeats,
            seed=seed,
        )
    tables.write(graded, found, "agents")
    tables.write(costs, costs_table(local(patient.folder) / LEDGER, **told), "costs")


if __name__ == "__main__":
    job.run(main, snakemake, network=True)
