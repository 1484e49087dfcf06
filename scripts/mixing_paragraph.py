"""Say in one paragraph what mixing did beyond longer training."""

from pathlib import Path

from traces import job
from traces.analysis import mixing
from traces.artifacts import tables
from traces.report import mixing_text
from traces.report.names import described


def main(
    mixing_table: Path, descriptions: Path, corpus: str, unit: str, text: Path, page: Path
) -> None:
    titles = described(descriptions).titles
    shown = tables.read(mixing_table)
    found = mixing.contrasts(shown[shown["corpus"] == corpus])
    job.write_text(text, mixing_text.as_markdown(found, titles, unit))
    job.write_text(page, mixing_text.as_page(found, titles, unit))


if __name__ == "__main__":
    job.run(main, snakemake)
