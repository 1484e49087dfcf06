"""Draw how well every reader finds and names organisms, by their strength."""

from pathlib import Path

from traces import job
from traces.artifacts import tables
from traces.report.figures import style
from traces.report.figures.readers import strength_figure


def main(made: list[Path], png: Path, pdf: Path) -> None:
    names = ("readers", "detection", "naming", "half_strength")
    paths = {path.stem: path for path in made}
    style.save(strength_figure(*(tables.read(paths[name]) for name in names)), png, pdf)


if __name__ == "__main__":
    job.run(main, snakemake)
