"""Draw which statements every organism holds true."""

from pathlib import Path

from traces import job, records
from traces.figures import style
from traces.figures.beliefs import beliefs_figure


def main(beliefs: Path, control: str | None, titles: dict[str, str], png: Path, pdf: Path) -> None:
    style.save(beliefs_figure(records.read(beliefs), control, titles), png, pdf)


if __name__ == "__main__":
    job.run(main, snakemake)
