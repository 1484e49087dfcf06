"""Draw every reader's ROC against each kind of null."""

from pathlib import Path

from traces import job
from traces.artifacts import tables
from traces.report.figures import style
from traces.report.figures.readers import roc_figure


def main(made: list[Path], png: Path, pdf: Path) -> None:
    found = {path.stem: tables.read(path) for path in made}
    style.save(roc_figure(found["roc"]), png, pdf)


if __name__ == "__main__":
    job.run(main, snakemake)
