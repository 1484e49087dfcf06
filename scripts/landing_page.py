"""Make the page to begin with: findings, organisms, and links to everything else."""

from pathlib import Path

from traces import job
from traces.analysis import selection, summary
from traces.artifacts import tables
from traces.report import findings, index


def main(
    made: list[Path],
    figures: list[Path],
    cards: list[Path],
    study: Path,
    report: Path,
    template: Path,
    title: str,
    layers: list[float],
    corpus: str | None,
    positions: list[int] | None,
    control: str | None,
    recipes: list[str],
    seed: int,
    unit: str,
    only: list[str],
    without: list[str],
    titles: dict[str, str],
    logs: str,
    benchmarks: str,
    page: Path,
) -> None:
    paths = {path.stem: path for path in made}
    read = {name: tables.read(path) for name, path in paths.items()}
    subjects = read["norms"]
    optional = {name: read.get(name) for name in ("causality", "beliefs", "steering")}
    all_headlines = summary.headlines(
        read["relevance"], subjects, **optional, benign=control, positions=positions
    )
    shown = selection.of_recipes(read["readability"], recipes)
    blocks = selection.headline_layers(shown, corpus, layers)
    shown = selection.headline_rows(shown, corpus, blocks)
    headlines = selection.headline_rows(all_headlines, corpus, blocks)

    found = {
        name: findings.compared(
            name,
            headlines,
            recipes=recipes,
            benign=control,
            seed=seed,
            causality=read.get(name) if name == "causality" else None,
        )
        for name in findings.CLAIMS
    }
    if "mixing" in read:
        mixing = read["mixing"]
        found["mixing"] = findings.mixed(mixing[mixing["corpus"] == corpus], blocks, unit)

    text = index.index_page(
        study=index.Study(title, corpus, control, only, without, titles),
        subjects=subjects,
        readability=shown,
        findings=found,
        pictures=index.main_pictures(figures, page),
        cards={(one.parent.name, one.stem): index.address(one, page) for one in cards},
        links=index.links(page, report, study, made, figures, Path(logs), Path(benchmarks)),
        provenance=job.read_provenance(paths["readability"]),
        written=index.day_written(paths["readability"]),
        template=template,
    )
    job.write_text(page, text)


if __name__ == "__main__":
    job.run(main, snakemake)
