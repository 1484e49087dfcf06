"""Make the page to begin with: findings, organisms, and links to everything else."""

from pathlib import Path

from traces import job
from traces.analysis import selection
from traces.artifacts import tables
from traces.config.schema import Page
from traces.report import findings, index
from traces.report.index import Linked
from traces.report.pages import address, viewers


def main(
    made: list[Path],
    figures: list[Path],
    cards: list[Path],
    linked: Linked,
    template: Path,
    shown: Page,
    page: Path,
) -> None:
    paths = {path.stem: path for path in made}
    read = {name: tables.read(path) for name, path in paths.items()}
    subjects = read["norms"]
    readable = selection.of_recipes(read["readability"], shown.recipes)
    blocks = selection.headline_layers(readable, shown.corpus, shown.layers)
    readable = selection.headline_rows(readable, shown.corpus, blocks)
    headlines = selection.headline_rows(read["headlines"], shown.corpus, blocks)

    found = {
        name: findings.compared(
            name,
            headlines,
            recipes=shown.recipes,
            control=shown.control,
            seed=shown.seed,
            causality=read.get(name) if name == "causality" else None,
        )
        for name in findings.CLAIMS
    }
    # What no run of the study asks for has no table, and no picture on the page.
    if "forced_choice_summary" in read:
        found["forced_choice"] = findings.named(read["forced_choice_summary"])
    if "agents_summary" in read:
        found["agents"] = findings.investigated(read["agents_summary"])
    if "mixing" in read:
        mixing = read["mixing"]
        found["mixing"] = findings.mixed(
            mixing[mixing["corpus"] == shown.corpus], blocks, shown.unit
        )

    text = index.index_page(
        study=shown,
        subjects=subjects,
        readability=readable,
        findings=found,
        pictures=index.main_pictures(figures, page),
        cards={(one.parent.name, one.stem): address(one, page) for one in cards},
        links=index.links(page, linked.pages, made, figures, linked.folders),
        viewers=viewers(linked.investigated, page),
        provenance=job.read_provenance(paths["readability"]),
        written=index.day_written(paths["readability"]),
        template=template,
    )
    job.write_text(page, text)


if __name__ == "__main__":
    job.run(main, snakemake)
