"""Draw what grades of hypotheses depend on, a forest of effects."""

from pathlib import Path

from traces import job
from traces.artifacts import tables
from traces.report.figures import style
from traces.report.figures.grade_effects import grade_effects_figure


def main(effects: Path, components: Path, png: Path, pdf: Path) -> None:
    style.save(grade_effects_figure(tables.read(effects), tables.read(components)), png, pdf)


if __name__ == "__main__":
    job.run(main, snakemake)
