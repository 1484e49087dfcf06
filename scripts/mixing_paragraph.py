"""Say in one paragraph what mixing did beyond longer training."""

from pathlib import Path

from traces import job, mixing, records


def main(
    mixing_table: Path, corpus: str, unit: str, titles: dict[str, str], text: Path, page: Path
) -> None:
    shown = records.read(mixing_table)
    found = mixing.contrasts(shown[shown["corpus"] == corpus])
    paragraph = mixing.mixing_text(found, titles, unit)
    job.write_text(text, mixing.as_markdown(paragraph, found, titles))
    job.write_text(page, mixing.as_page(paragraph, found, titles))


if __name__ == "__main__":
    job.run(main, snakemake)
