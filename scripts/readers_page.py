"""Make the page of the benchmark of readers, and the same tables in Markdown."""

from pathlib import Path

from traces import job
from traces.artifacts import tables
from traces.benchmark.pilot import fixed_way
from traces.config.schema import Scoring, Texts
from traces.report import index, readers
from traces.report.pages import address


def main(
    made: list[Path],
    pilot: Path,
    figures: list[Path],
    template: Path,
    text_template: Path,
    summary_template: Path,
    scoring: Scoring,
    texts: Texts,
    page: Path,
    text: Path,
) -> None:
    assert summary_template.parent == template.parent, "the other two include it by its name"
    every = [*made, pilot]
    found = {path.stem: tables.read(path) for path in every}
    scoring = fixed_way(found["pilot"], scoring)
    provenance = job.read_provenance(made[0])
    told = readers.readers_page(
        found,
        scoring=scoring,
        title=texts.title,
        pictures=index.main_pictures(figures, page),
        links={path.stem: address(path, page) for path in every},
        provenance=index.made_of(provenance, index.day_written(made[0])),
        template=template,
    )
    job.write_text(page, told)
    brief = readers.readers_text(found, scoring=scoring, title=texts.title, template=text_template)
    job.write_text(text, brief)


if __name__ == "__main__":
    job.run(main, snakemake)
