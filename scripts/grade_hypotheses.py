"""Ask one model how well hypotheses name what models were finetuned for."""

from pathlib import Path

import pandas as pd

from traces import job
from traces.artifacts import tables
from traces.config.registries import Described
from traces.config.schema import Asked
from traces.judges import hypotheses
from traces.judges.graders import Inquiry, asking_for, spent


def main(
    investigations: list[Path],
    rubrics: list[Path],
    graded: Path,
    costs: Path,
    judges: Asked,
    inquiry: Inquiry,
    about: dict[str, Described],
) -> None:
    told = inquiry.told("grade_hypotheses")
    said = pd.concat([tables.read(path) for path in investigations], ignore_index=True)
    with asking_for(judges, judges.graders, inquiry.prices, told) as asking:
        found = hypotheses.graded_investigations(
            said,
            about,
            judges.graders,
            {one.stem: one.read_text(encoding="utf-8") for one in rubrics},
            asking,
            repeats=judges.repeats,
            seed=inquiry.seed,
        )
    tables.write(graded, found, "agents")
    tables.write(costs, spent(judges, **told), "costs")


if __name__ == "__main__":
    job.run(main, snakemake, network=True)
