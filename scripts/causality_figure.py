"""Draw what taking the difference out does to the loss, beside other directions."""

from pathlib import Path

from traces import job, records, tables
from traces.figures import style
from traces.figures.causality import causality_figure


def main(
    causality: Path,
    corpus: str,
    recipes: list[str],
    titles: dict[str, str],
    png: Path,
    pdf: Path,
) -> None:
    found = tables.of_recipes(records.read(causality), recipes)
    style.save(causality_figure(found[found["corpus"] == corpus], titles), png, pdf)


if __name__ == "__main__":
    job.run(main, snakemake)
