"""Draw what every reader says of each domain, and of each kind of null."""

from pathlib import Path

from traces import job
from traces.artifacts import tables
from traces.report.figures import style
from traces.report.figures.readers import naming_figure


def main(made: list[Path], png: Path, pdf: Path) -> None:
    found = {path.stem: tables.read(path) for path in made}
    style.save(naming_figure(found["confusion"]), png, pdf)


if __name__ == "__main__":
    job.run(main, snakemake)
