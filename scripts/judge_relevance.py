"""Ask models which of the tokens that were read have to do with an organism."""

from pathlib import Path

from traces import job
from traces.analysis.selection import at_headline
from traces.artifacts import arrays, tables
from traces.config.schema import AskedTokens
from traces.judges.asked_relevance import asked_relevance
from traces.judges.graders import asking_for, spent
from traces.judges.relevance import Subject
from traces.readers.reading import Settings, planned_lists


def main(
    readings: list[Path],
    differences: Path,
    words: list[Path],
    instructions: Path,
    relevance: Path,
    costs: Path,
    organisms: list[str],
    about: list[str],
    judges: AskedTokens,
    prices: dict[str, tuple[float, float] | None],
    checkpoint: str,
    candidates: int,
    settings: Settings,
    seed: int,
) -> None:
    found = arrays.read_differences(differences)
    lenses, planned = {}, {}
    for path in readings:
        lists = planned_lists(path.stem, found, settings.readings, settings.readers[path.stem])
        # Of some readings, where each reader's metric is read.
        lists = at_headline(lists.assign(lens=path.stem)).drop(columns="lens")
        lists = lists[lists["reading"].isin(judges.tokens.readings)]
        planned[path.stem] = lists[lists["sign"] == 1] if "sign" in lists else lists
        lenses[path.stem] = tables.read(path).merge(planned[path.stem])
    subjects = [
        Subject(organism, tables.read(file)["word"].tolist(), text)
        for organism, file, text in zip(organisms, words, about, strict=True)
    ]
    told = {"stage": "judge_relevance", "checkpoint": checkpoint}
    with asking_for(judges, prices, told) as asking:
        table = asked_relevance(
            lenses,
            planned,
            subjects,
            instructions.read_text(encoding="utf-8"),
            judges,
            asking,
            candidates=candidates,
            seed=seed,
        )
    tables.write(relevance, table, "asked_relevance")
    tables.write(costs, spent(judges, **told), "costs")


if __name__ == "__main__":
    job.run(main, snakemake, network=True)
