"""Choose for every position the largest strength at which the text still holds together."""

import json
from dataclasses import asdict
from pathlib import Path

from traces import job
from traces.artifacts import tables
from traces.config.schema import Choosing
from traces.corpora.rows import read_prompts
from traces.interventions.steering.strength import by_bisection, on_grid


def main(
    grades: Path,
    prompts: Path,
    strength: Path,
    settings: Choosing,
) -> None:
    graded = tables.read(grades)
    if settings.strategy == "grid":
        chosen = on_grid(graded, settings.coherent_share)
    else:
        chosen = by_bisection(
            graded,
            read_prompts(prompts),
            highest=settings.bisection.highest,
            steps=settings.bisection.steps,
            coherent_share=settings.coherent_share,
        )
    facts = {"strategy": settings.strategy, "judge": graded["judge"].iloc[0]}
    facts |= {"chosen": [asdict(one) for one in chosen]}
    job.write_text(strength, json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    job.run(main, snakemake)
