"""Ask models which of the tokens that were read have to do with an organism."""

from pathlib import Path

from traces import job
from traces.analysis.selection import at_headline
from traces.artifacts import tables
from traces.config.schema import AskedTokens
from traces.judges.asked_relevance import asked_relevance
from traces.judges.graders import Inquiry, asking_for, spent
from traces.judges.relevance import DescribedFiles
from traces.readers.files import ReadingFiles


def main(
    found: ReadingFiles,
    known: DescribedFiles,
    instructions: Path,
    relevance: Path,
    costs: Path,
    judges: AskedTokens,
    inquiry: Inquiry,
    candidates: int,
) -> None:
    every, lenses, planned = found.planned(), {}, {}
    for name, tokens in found.read().items():
        # An answer costs money: only lists of some readings, where each reader's metric is read.
        lists = at_headline(every[name].assign(lens=name)).drop(columns="lens")
        lists = lists[lists["reading"].isin(judges.tokens.readings)]
        planned[name] = lists[lists["sign"] == 1] if "sign" in lists else lists
        lenses[name] = tokens.merge(planned[name])
    told = inquiry.told("judge_relevance")
    with asking_for(judges, judges.graders, inquiry.prices, told) as asking:
        table = asked_relevance(
            lenses,
            planned,
            known.subjects(),
            instructions.read_text(encoding="utf-8"),
            judges,
            asking,
            candidates=candidates,
            seed=inquiry.seed,
        )
    tables.write(relevance, table, "asked_relevance")
    tables.write(costs, spent(judges, **told), "costs")


if __name__ == "__main__":
    job.run(main, snakemake, network=True)
