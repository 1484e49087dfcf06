"""Draw every measure against the mixing ratio."""

from pathlib import Path

from traces import job, records
from traces.figures import style
from traces.figures.mixing import mixing_figure


def main(
    mixing: Path, corpus: str, unit: str, titles: dict[str, str], png: Path, pdf: Path
) -> None:
    shown = records.read(mixing)
    style.save(mixing_figure(shown[shown["corpus"] == corpus], titles, unit), png, pdf)


if __name__ == "__main__":
    job.run(main, snakemake)
