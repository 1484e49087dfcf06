"""Draw how often investigators assert and name a finetune, for organisms and for nulls."""

from pathlib import Path

from traces import job
from traces.artifacts import tables
from traces.report.figures import style
from traces.report.figures.agents import agents_figure


def main(summary: Path, png: Path, pdf: Path) -> None:
    style.save(agents_figure(tables.read(summary)), png, pdf)


if __name__ == "__main__":
    job.run(main, snakemake)
