"""Say in one paragraph what mixing did beyond longer training."""

from pathlib import Path

from traces import job
from traces.analysis import mixing
from traces.artifacts import tables
from traces.report import mixing_text


def main(
    mixing_table: Path, corpus: str, unit: str, titles: dict[str, str], text: Path, page: Path
) -> None:
    shown = tables.read(mixing_table)
    found = mixing.contrasts(shown[shown["corpus"] == corpus])
    paragraph = mixing_text.mixing_text(found, titles, unit)
    job.write_text(text, mixing_text.as_markdown(paragraph, found, titles))
    job.write_text(page, mixing_text.as_page(paragraph, found, titles))


if __name__ == "__main__":
    job.run(main, snakemake)
