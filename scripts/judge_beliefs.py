"""Ask models which end of a statement each open answer holds true."""

from pathlib import Path

from traces import job
from traces.artifacts import tables
from traces.config.schema import AskedAnswers
from traces.judges.asked_answers import asked_beliefs
from traces.judges.graders import Inquiry, asking_for, spent


def main(
    alignment: Path,
    statements: list[Path],
    instructions: Path,
    beliefs: Path,
    costs: Path,
    organisms: list[str],
    judges: AskedAnswers,
    inquiry: Inquiry,
) -> None:
    asked = dict(zip(organisms, map(tables.read_lines, statements), strict=True))
    told = inquiry.told("judge_beliefs")
    with asking_for(judges, judges.graders, inquiry.prices, told) as asking:
        text = instructions.read_text(encoding="utf-8")
        found = asked_beliefs(
            tables.read(alignment), asked, text, judges, asking, seed=inquiry.seed
        )
    tables.write(beliefs, found, "asked_beliefs")
    tables.write(costs, spent(judges, **told), "costs")


if __name__ == "__main__":
    job.run(main, snakemake, network=True)
