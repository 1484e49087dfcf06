"""Ask models which of the tokens that were read have to do with an organism."""

from pathlib import Path

from traces import job
from traces.analysis.selection import at_headline
from traces.artifacts import arrays, tables
from traces.config.files import local
from traces.config.schema import Judges
from traces.judges.asked_relevance import asked_relevance
from traces.judges.chat.costs import costs_table
from traces.judges.graders import LEDGER, asking_for
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
    judges: Judges,
    prices: dict[str, tuple[float, float] | None],
    checkpoint: str,
    candidates: int,
    settings: Settings,
    seed: int,
) -> None:
    found = arrays.read_differences(differences)
    lenses = {path.stem: tables.read(path) for path in readings}
    planned = {
        name: planned_lists(name, found, settings.readings, settings.readers[name])
        for name in lenses
    }
    subjects = [
        Subject(organism, tables.read(file)["word"].tolist(), text)
        for organism, file, text in zip(organisms, words, about, strict=True)
    ]
    told = {"stage": "judge_relevance", "checkpoint": checkpoint}

    def judged(frames):
        """The lists that are judged: of some readings, where each reader's metric is read."""
        for name, frame in frames.items():
            kept = at_headline(frame.assign(lens=name)).drop(columns="lens")
            kept = kept[kept["reading"].isin(judges.tokens.readings)]
            yield name, kept[kept["sign"] == 1] if "sign" in kept else kept

    with asking_for(judges, prices, told) as asking:
        table = asked_relevance(
            dict(judged(lenses)),
            dict(judged(planned)),
            subjects,
            instructions.read_text(encoding="utf-8"),
            judges,
            asking,
            candidates=candidates,
            seed=seed,
        )
    tables.write(relevance, table, "asked_relevance")
    spent = costs_table(local(judges.folder) / LEDGER, **told)
    tables.write(costs, spent, "costs")


if __name__ == "__main__":
    job.run(main, snakemake, network=True)
