"""Draw every reader's AUC against each kind of null, and how often it names the domain."""

from pathlib import Path

from traces import job
from traces.artifacts import tables
from traces.report.figures import style
from traces.report.figures.readers import auc_figure


def main(made: list[Path], png: Path, pdf: Path) -> None:
    found = {path.stem: tables.read(path) for path in made}
    style.save(auc_figure(found["detection"], found["naming"]), png, pdf)


if __name__ == "__main__":
    job.run(main, snakemake)
