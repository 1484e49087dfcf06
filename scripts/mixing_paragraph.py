"""Say in one paragraph what mixing did beyond longer training."""

from pathlib import Path

from traces import job
from traces.analysis import mixing
from traces.artifacts import tables
from traces.config.schema import Texts
from traces.report import mixing_text


def main(mixing_table: Path, texts: Texts, corpus: str, unit: str, text: Path, page: Path) -> None:
    shown = tables.read(mixing_table)
    found = mixing.contrasts(shown[shown["corpus"] == corpus])
    job.write_text(text, mixing_text.as_markdown(found, texts.titles, unit))
    job.write_text(page, mixing_text.as_page(found, texts.titles, unit))


if __name__ == "__main__":
    job.run(main, snakemake)
