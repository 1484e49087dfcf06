"""Fit what grades of hypotheses depend on, and what makes their variance."""

from pathlib import Path

from traces import job
from traces.analysis import ordinal
from traces.analysis.grades import of_organisms
from traces.artifacts import tables


def main(
    agents: Path, effects: Path, components: Path, families: dict[str, str], seed: int
) -> None:
    ordinal.require_numpyro()
    graded = of_organisms(tables.read(agents), families)
    found = ordinal.fit(graded, seed=seed)
    tables.write(effects, ordinal.effects_table(graded, found), "grade_effects")
    varied = ordinal.fit(graded, (), ordinal.COMPONENTS, seed=seed)
    tables.write(components, ordinal.components_table(varied), "grade_components")


if __name__ == "__main__":
    job.run(main, snakemake)
